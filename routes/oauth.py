"""GET /oauth/<provider>/callback keeps the code; nothing is exchanged until the same user completes it."""

import re
import secrets

from flask import Blueprint, Response, redirect, render_template, request

from routes.common import error
from services import linking
from services.runtime import Runtime

LONGEST = 4096
STATE = re.compile(r"[A-Za-z0-9_-]{20,64}")


def blueprint(rt: Runtime) -> Blueprint:
    routes = Blueprint("oauth", __name__, template_folder=".")

    @routes.get("/oauth/<provider>/callback")
    def callback(provider: str) -> Response:
        state, code = request.args.get("state", ""), request.args.get("code")
        if provider not in rt.providers or not state or len(state) > LONGEST or len(code or "") > LONGEST:
            return error(400, "BAD_USER_INPUT", "This is not the answer to an authorization that was begun here.")
        address = linking.receive_callback(rt, provider, state=state, code=code, error=request.args.get("error"))
        if address is None:
            return error(400, "AUTHORIZATION_EXPIRED", "This authorization is unknown or too old. Begin again with connectProvider.")
        return redirect(address, 303)  # type: ignore[return-value]

    @routes.get("/oauth/<provider>/return")
    def returned(provider: str) -> Response:
        """Our own page for set-ups without a frontend: says what to run."""
        if provider not in rt.providers:
            return error(404, "NOT_FOUND", "There is nothing at this address.")
        nonce = secrets.token_urlsafe(16)
        text = render_template(
            "return_page.html",
            label=rt.providers[provider].label,
            nonce=nonce,
            # nothing but a state of ours gets into the operation that the page tells people to run
            state=state if STATE.fullmatch(state := request.args.get("state", "")) else "",
            refused=request.args.get("error", "")[:100],
        )
        response = Response(text, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
        return response

    return routes
