"""POST /dev/token: in development Convene is its own identity issuer. Registered only then."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Blueprint, Response, request

from routes.common import MAX_SMALL_BODY, error, json_response, read_body
from routes.loopback import from_loopback
from services.runtime import Runtime

Issue = Callable[[str], tuple[str, float] | None]


def blueprint(rt: Runtime, issue: Issue) -> Blueprint:
    routes = Blueprint("development", __name__)

    @routes.post("/dev/token")
    def token() -> Response:
        if not from_loopback(request):
            return error(403, "FORBIDDEN", "Development tokens are given on this machine only.")
        if request.mimetype != "application/json":
            return error(415, "BAD_USER_INPUT", 'Send application/json: {"email": "coach@demo.test"}.')
        email = _email(read_body(MAX_SMALL_BODY))
        issued = issue(email) if email else None
        if issued is None:
            people = ", ".join(person.email for person in rt.demo_people)
            return error(400, "BAD_USER_INPUT", f"There are tokens for these people: {people}.")
        value, expires = issued
        return json_response({"accessToken": value, "expiresAt": datetime.fromtimestamp(expires, UTC).isoformat().replace("+00:00", "Z")})

    return routes


def _email(body: bytes | None) -> str | None:
    try:
        parsed: Any = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None
    email = parsed.get("email") if isinstance(parsed, dict) else None
    return email.strip().lower() if isinstance(email, str) else None
