"""From where a request comes, for whoever writes down what it changes."""

from flask import Request, g

from services import origins
from services.origins import LONGEST_AGENT, Origin
from services.request_limits import address_of

FACES = {"graphql": origins.GRAPHQL, "oauth": origins.OAUTH, "webhooks": origins.WEBHOOK}


def of_request(request: Request, trusted_proxies: int) -> Origin:
    agent = "".join(c for c in request.headers.get("User-Agent", "") if c.isprintable())[:LONGEST_AGENT]
    face = FACES.get(request.path.split("/")[1], origins.REST)
    address = address_of(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), trusted_proxies)
    return Origin(face, request_id=g.request_id, address=address or None, agent=agent or None)
