"""Calendly API v2 over the transport: one method per call.

Every resource is named by its address. Only the last part of it is kept here, and the address made of it again.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import structlog

from services.errors import BadAnswer, Refused
from services.providers.base import AccountAuth, Auth
from services.providers.calendly.payloads import last
from services.providers.oauth2 import ClientSecrets
from services.providers.transport import WRITE_LIMIT, Limits, TokenAuth, Transport

GONE, FORBIDDEN, UNAUTHORIZED = 404, 403, 401
PAGE = 100
MOST_PAGES = 200

log = structlog.get_logger("calendly")


class CalendlyDialect:
    """How Calendly says no. Branches on the status: the texts are not to be relied on."""

    slug = "calendly"
    token_limit_by_address = False
    token_auth: TokenAuth = "client_secret_basic"  # noqa: S105 - the name of a method

    def grant_refused(self, error: str, grant_type: str) -> bool:  # noqa: ARG002
        return error == "invalid_grant"

    def all_spent(self, headers: Mapping[str, str]) -> bool:
        """A cap on bookings alone, per minute, hour or day, leaves something of the general limit."""
        return headers.get("x-ratelimit-remaining", "0").strip() == "0"

    def token_refused(self, status: int, body: Any) -> bool:  # noqa: ARG002
        return status == UNAUTHORIZED

    def missing_scopes(self, status: int, body: Any) -> list[str] | None:
        named = body.get("required_scopes") if isinstance(body, dict) else None
        return [str(scope) for scope in named] if status == FORBIDDEN and isinstance(named, list) else None

    def limits(self, headers: Mapping[str, str]) -> Limits | None:
        """`X-RateLimit-Reset` is seconds left, not an epoch."""
        try:
            return Limits(int(headers["x-ratelimit-remaining"]), timedelta(seconds=float(headers["x-ratelimit-reset"])))
        except (KeyError, ValueError, OverflowError):
            return None

    def says(self, body: Any) -> str:
        return str(body.get("message") or body.get("title") or "refused")[:200] if isinstance(body, dict) else "refused"


class CalendlyClient:
    """Calls; answers are `resource` or `collection`, refusals are ProviderError."""

    def __init__(self, transport: Transport, api_url: str, auth_url: str) -> None:
        self._transport, self.api, self._auth_url = transport, api_url.rstrip("/"), auth_url.rstrip("/")
        self._dialect = CalendlyDialect()

    # ---- OAuth ---------------------------------------------------------------------------------------------------

    def token(self, operation: str, *, client_id: str, secrets: ClientSecrets, **grant: str) -> dict[str, Any]:
        ask, url = self._transport.token_request, f"{self._auth_url}/oauth/token"
        return secrets.send(lambda secret: ask(self._dialect, operation, url, client_id=client_id, client_secret=secret, **grant))

    def revoke(self, *, client_id: str, secrets: ClientSecrets, token: str) -> None:
        """Here the credentials go into the body, unlike at the token endpoint, and a wrong secret is a 403."""

        def send(secret: str) -> None:
            form = {"client_id": client_id, "client_secret": secret, "token": token}
            self._transport.call(self._dialect, "revoke", "POST", f"{self._auth_url}/oauth/revoke", form=form, counts=False)

        secrets.send(send, limit=WRITE_LIMIT, refusal=Refused)

    # ---- the API -------------------------------------------------------------------------------------------------

    def uri(self, kind: str, resource_id: str) -> str:
        return f"{self.api}/{kind}/{resource_id}"

    def get(self, operation: str, auth: Auth, path: str, **params: str) -> Any:
        return _resource(self._call(operation, "GET", path, auth, params=params or None))

    def find(self, operation: str, auth: Auth, path: str) -> Any | None:
        try:
            return self.get(operation, auth, path)
        except Refused as error:
            if error.status == GONE:
                return None
            raise

    def post(self, operation: str, auth: Auth, path: str, body: dict[str, Any]) -> Any:
        return _resource(self._call(operation, "POST", path, auth, json=body))

    def book(self, auth: Auth, body: Mapping[str, Any]) -> Any:
        """The new invitee. It has limits of its own: a 429 here says nothing of other calls. Some answers are as in 2025."""
        answer = self._call("book", "POST", "/invitees", auth, json=dict(body), counts=False)
        found = answer.get("resource") if isinstance(answer, dict) else None
        found = answer.get("invitee") if isinstance(found, str) else found
        if not isinstance(found, dict):
            raise BadAnswer("calendly", "a booking without its invitee")
        return found

    def patch(self, operation: str, auth: Auth, path: str, body: dict[str, Any]) -> Any:
        return _resource(self._call(operation, "PATCH", path, auth, json=body))

    def delete(self, operation: str, auth: Auth, path: str) -> None:
        self._call(operation, "DELETE", path, auth)

    def one_list(self, operation: str, auth: Auth, path: str, **params: str) -> list[Any]:
        """A list that Calendly does not cut into pages."""
        return _collection(self._call(operation, "GET", path, auth, params=params))

    def pages(self, operation: str, auth: Auth, path: str, **params: str) -> Iterator[Any]:
        """All items; pages are drained at once, since their tokens go stale.

        The next page is asked for with the same parameters and its token. Its address is not followed: it is the
        provider's word, and our token would go wherever it says.
        """
        asked = {**params, "count": str(PAGE)}
        for _ in range(MOST_PAGES):
            answer = self._call(operation, "GET", path, auth, params=asked)
            yield from _collection(answer)
            pagination = answer.get("pagination") or {}
            if not isinstance(pagination, dict):
                raise BadAnswer("calendly", "a page that does not say whether it is the last")
            token = pagination.get("next_page_token")
            if not token:
                return
            asked["page_token"] = str(token)
        log.warning("a list has more pages than are read", provider="calendly", operation=operation)

    def _call(self, operation: str, method: str, path: str, auth: Auth, **rest: Any) -> Any:
        return self._transport.call(self._dialect, operation, method, self.api + path, auth=auth, **rest)

    def me(self, auth: Auth) -> Any:
        return self.get("me", auth, "/users/me")

    def owner(self, auth: Auth) -> tuple[str, str]:
        """The addresses of the token's user and of their organization."""
        if isinstance(auth, AccountAuth) and auth.user_id and auth.organization_id:
            return self.uri("users", auth.user_id), self.uri("organizations", auth.organization_id)
        raw = self.me(auth)
        try:
            return self.uri("users", last(raw["uri"])), self.uri("organizations", last(raw["current_organization"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadAnswer("calendly", "a user without an address") from error


def path_of(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _resource(answer: Any) -> Any:
    if answer is None:
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("resource"), dict):
        raise BadAnswer("calendly", "an answer without its resource")
    return answer["resource"]


def _collection(answer: Any) -> list[Any]:
    found = answer.get("collection") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise BadAnswer("calendly", "a list that is none")
    return found
