"""From where a request comes, for whoever writes down what it changes."""

from flask import Request

from services import origins
from services.origins import LONGEST_AGENT, Origin
from services.request_limits import address_of

FACES = {"graphql": origins.GRAPHQL, "oauth": origins.OAUTH, "webhooks": origins.WEBHOOK}


def of_request(request: Request, trusted_proxies: int, request_id: str) -> Origin:
    agent = request.headers.get("User-Agent", "")
    if not agent.isprintable():
        agent = "".join(c for c in agent if c.isprintable())
    face = FACES.get(request.path.split("/")[1], origins.REST)
    address = address_of(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), trusted_proxies)
    return Origin(face, request_id=request_id, address=address or None, agent=agent[:LONGEST_AGENT] or None)
