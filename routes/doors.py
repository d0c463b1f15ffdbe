"""Who may ask how often, and what browsers may do with the answers: before and after every route.

Before a caller is known the address counts, after that the user. Providers send in bursts from few addresses: a
delivery is never refused for their number, but each one that is refused for what it is counts for its address.
"""

from collections.abc import Callable
from math import ceil
from typing import Any

from flask import Flask, Response, request

from routes.common import error
from services.errors import ConveneError
from services.origins import current
from services.request_limits import Buckets
from services.runtime import Runtime

COUNTED = {
    "oauth.callback",
    "oauth.returned",
    "tokens.refresh",
    "tokens.managed_user",
    "development.token",
    "events.events",
}
WEBHOOKS = "webhooks."
REFUSED = {400, 401, 404, 413}

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    # for answers that are no page: nothing in them is ever run or shown as one
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    # frontends of other origins read by CORS, to which this does not apply
    "Cross-Origin-Resource-Policy": "same-origin",
}
HSTS = "max-age=31536000"


class TooMany(ConveneError):
    """A caller has used up what they may ask for now; `retry_after` is in whole seconds."""

    code = "TOO_MANY_REQUESTS"

    def __init__(self, seconds: float) -> None:
        self.retry_after = max(ceil(seconds), 1)
        super().__init__(f"There were too many requests. Try again in {self.retry_after} s.")


class Doors:
    """The limits of one process."""

    def __init__(self, rt: Runtime) -> None:
        self._addresses = Buckets(rt.clock, rt.settings.requests_per_address)
        self._users = Buckets(rt.clock, rt.settings.requests_per_user)

    @property
    def address(self) -> str:
        """Whom the request counts for as long as nobody is known to have sent it."""
        return current().address or ""

    def count_address(self) -> None:
        """Raises TooMany."""
        if wait := self._addresses.take(self.address):
            raise TooMany(wait)

    def count_user(self, subject: str) -> None:
        """The request is this user's and no longer its address's. Raises TooMany."""
        self._addresses.give_back(self.address)
        if wait := self._users.take(subject):
            raise TooMany(wait)


def install(app: Flask, rt: Runtime) -> Doors:
    """Limits on the routes that answer before anybody is known, and headers on every answer."""
    doors = Doors(rt)
    _protect(app, hsts=rt.settings.public_url.startswith("https:"))

    @app.errorhandler(TooMany)
    def too_many(problem: TooMany) -> Response:
        response = error(429, problem.code, problem.message)
        response.headers["Retry-After"] = str(problem.retry_after)
        return response

    @app.before_request
    def count() -> None:
        if request.endpoint in COUNTED:
            doors.count_address()

    @app.after_request
    def count_refused_deliveries(response: Response) -> Response:
        if response.status_code in REFUSED and (request.endpoint or "").startswith(WEBHOOKS):
            try:
                doors.count_address()
            except TooMany as problem:
                return too_many(problem)
        return response

    return doors


def _protect(app: Flask, *, hsts: bool) -> None:
    """Around the whole application: Werkzeug's headers take ten times as long for it."""
    always = [*HEADERS.items(), *([("Strict-Transport-Security", HSTS)] if hsts else [])]
    inner = app.wsgi_app

    def outer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            present = dict(headers)
            headers.extend(item for item in always if item[0] not in present)
            if status.startswith("200") and present.get("Content-Type", "").startswith("text/html"):
                # not on redirects, which are HTML too: a frontend may follow the way to a provider and back in a window that it opened
                headers.append(("Cross-Origin-Opener-Policy", "same-origin"))
            return start_response(status, headers, exc_info)

        return inner(environ, start)

    app.wsgi_app = outer  # type: ignore[method-assign]
