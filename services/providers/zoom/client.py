"""Zoom's API over the transport: one method per call.

Meeting ids are int64 numbers; here they are texts. A meeting's `start_url` lets anybody be the host: it is never read
out of an answer.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from services.errors import BadAnswer, InvalidClient, PlanRequired, Refused
from services.providers.base import Auth
from services.providers.oauth2 import ClientSecrets
from services.providers.transport import WRITE_LIMIT, Limits, TokenAuth, Transport

GONE, UNAUTHORIZED, BAD_REQUEST = 404, 401, 400
PAGE = 300
MOST_PAGES = 50
MISSING_SCOPE = (4711, 4700)
HOSTING_NOT_ALLOWED = 3161
SCOPES = re.compile(r"\[([^\]]*)\]")


class ZoomDialect:
    """How Zoom says no: `{code, message}` in the API, `{reason, error}` at the token endpoint."""

    slug = "zoom"
    token_limit_by_address = False
    token_auth: TokenAuth = "client_secret_basic"  # noqa: S105 - the name of a method

    def grant_refused(self, error: str, grant_type: str) -> bool:
        """A spent refresh token is `invalid_request`; what we send is never incomplete."""
        return error in {"invalid_grant", "invalid_request"} and grant_type != "account_credentials"

    def all_spent(self, headers: Mapping[str, str]) -> bool:
        """A daily limit is one of several: of creating and changing for this host, or of one kind of call."""
        return headers.get("x-ratelimit-type", "QPS").lower() != "daily-limit"

    def token_refused(self, status: int, body: Any) -> bool:
        return status == UNAUTHORIZED and self.missing_scopes(status, body) is None

    def missing_scopes(self, status: int, body: Any) -> list[str] | None:
        """400 with 4711, or 401 with 4700; the message lists them in brackets."""
        if status not in {BAD_REQUEST, UNAUTHORIZED} or not isinstance(body, dict) or body.get("code") not in MISSING_SCOPE:
            return None
        named = SCOPES.search(str(body.get("message", "")))
        return [scope.strip() for scope in named[1].split(",") if scope.strip()] if named else []

    def limits(self, headers: Mapping[str, str]) -> Limits | None:  # noqa: ARG002
        """What is left is not told on ordinary answers, and is shared with every other app of the account."""
        return None

    def says(self, body: Any) -> str:
        return str(body.get("message") or body.get("reason") or "refused")[:200] if isinstance(body, dict) else "refused"


class ZoomClient:
    def __init__(self, transport: Transport, api_url: str, auth_url: str) -> None:
        self._transport, self._api, self._auth_url = transport, f"{api_url.rstrip('/')}/v2", auth_url.rstrip("/")
        self._dialect = ZoomDialect()

    # ---- OAuth ---------------------------------------------------------------------------------------------------

    def token(self, operation: str, *, client_id: str, secrets: ClientSecrets, **grant: str) -> dict[str, Any]:
        ask, url = self._transport.token_request, f"{self._auth_url}/oauth/token"
        return secrets.send(lambda secret: ask(self._dialect, operation, url, client_id=client_id, client_secret=secret, **grant))

    def installation_token(self, *, client_id: str, secrets: ClientSecrets, account_id: str) -> dict[str, Any]:
        """What is wrong with it is wrong with our own credentials."""
        try:
            return self.token(
                "installation_grant",
                client_id=client_id,
                secrets=secrets,
                grant_type="account_credentials",
                account_id=account_id,
            )
        except Refused as error:
            if isinstance(error, InvalidClient):
                raise
            raise InvalidClient("zoom", "the account or its app is refused") from error

    def revoke(self, *, client_id: str, secrets: ClientSecrets, token: str) -> None:
        def send(secret: str) -> None:
            headers = {"Authorization": f"Basic {b64encode(f'{client_id}:{secret}'.encode()).decode()}"}
            url = f"{self._auth_url}/oauth/revoke"
            self._transport.call(self._dialect, "revoke", "POST", url, headers=headers, form={"token": token}, counts=False)

        secrets.send(send, limit=WRITE_LIMIT, refusal=Refused)

    # ---- users and meetings --------------------------------------------------------------------------------------

    def user(self, auth: Auth, user_id: str) -> Any | None:
        return self._find("user", auth, f"/users/{quote(user_id, safe='')}")

    def create_meeting(self, auth: Auth, user_id: str, body: dict[str, Any]) -> Any:
        """Raises PlanRequired for a user who may not host."""
        try:
            return self._call("create_meeting", "POST", f"/users/{quote(user_id, safe='')}/meetings", auth, json=body)
        except Refused as error:
            if isinstance(error.body, dict) and error.body.get("code") == HOSTING_NOT_ALLOWED:
                raise PlanRequired("zoom", "this user may not host meetings", status=error.status) from error
            raise

    def meeting(self, auth: Auth, meeting_id: str) -> Any | None:
        return self._find("meeting", auth, f"/meetings/{quote(meeting_id, safe='')}")

    def update_meeting(self, auth: Auth, meeting_id: str, body: dict[str, Any]) -> None:
        self._call("update_meeting", "PATCH", f"/meetings/{quote(meeting_id, safe='')}", auth, json=body)

    def delete_meeting(self, auth: Auth, meeting_id: str) -> None:
        try:
            self._call("delete_meeting", "DELETE", f"/meetings/{quote(meeting_id, safe='')}", auth)
        except Refused as error:
            if error.status != GONE:
                raise

    def meetings(self, auth: Auth, user_id: str) -> Iterator[Any]:
        """The host's scheduled meetings; short items."""
        asked = {"type": "scheduled", "page_size": str(PAGE)}
        for _ in range(MOST_PAGES):
            answer = self._call("meetings", "GET", f"/users/{quote(user_id, safe='')}/meetings", auth, params=asked)
            found = answer.get("meetings") if isinstance(answer, dict) else None
            if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
                raise BadAnswer("zoom", "a list that is none")
            yield from found
            token = answer.get("next_page_token")
            if not token:
                return
            asked["next_page_token"] = str(token)

    def _find(self, operation: str, auth: Auth, path: str) -> Any | None:
        try:
            found = self._call(operation, "GET", path, auth)
        except Refused as error:
            if error.status == GONE:
                return None
            raise
        if found is not None and not isinstance(found, dict):
            raise BadAnswer("zoom", "an answer that is no object")
        return found

    def _call(self, operation: str, method: str, path: str, auth: Auth, **rest: Any) -> Any:
        return self._transport.call(self._dialect, operation, method, self._api + path, auth=auth, **rest)
