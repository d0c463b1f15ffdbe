"""Cal.com API v2 over the transport: one method per call, and one version constant per family.

Without its `cal-api-version` an endpoint answers in another shape or not at all, so each call sends its own.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import structlog

from services.errors import BadAnswer, InvalidClient, InvalidGrant, Refused, TokenRefused
from services.providers.base import Auth, RemoteBooking
from services.providers.calcom import payloads
from services.providers.oauth2 import ClientSecrets
from services.providers.transport import EXCHANGE_LIMIT, WRITE_LIMIT, Limits, TokenAuth, Transport

GONE, CONFLICT, BAD_REQUEST = 404, 409, 400
BOOKINGS = "2026-02-25"
BOOKINGS_LIST = "2026-05-01"
EVENT_TYPES = "2024-06-14"
SLOTS = "2024-09-04"
SCHEDULES = "2024-06-11"
PAGE = 100
MOST_PAGES = 200


log = structlog.get_logger("calcom")


class CalcomDialect:
    """How Cal.com says no (two error shapes) and what is left of its limits."""

    slug = "calcom"
    token_limit_by_address = True
    token_auth: TokenAuth = "client_secret_post"  # noqa: S105 - the name of a method

    def grant_refused(self, error: str, grant_type: str) -> bool:  # noqa: ARG002
        return error == "invalid_grant"

    def all_spent(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002
        return True

    def token_refused(self, status: int, body: Any) -> bool:
        """401 or 498. A tRPC 401 means "not yours to do", and no new token would change that."""
        code = _error(body).get("code")
        return status == 498 or (status == 401 and code != "TRPCError")  # noqa: PLR2004

    def missing_scopes(self, status: int, body: Any) -> list[str] | None:
        message = str(_error(body).get("message", ""))
        if status != 403 or not message.startswith("insufficient_scope"):  # noqa: PLR2004
            return None
        named = re.search(r"Required: ([A-Z_, ]+)\.", message)
        return re.split(r"[ ,]+", named.group(1).strip()) if named else []

    def limits(self, headers: Mapping[str, str]) -> Limits | None:
        """`X-RateLimit-*-<name of the limit>`; Reset is seconds left, not an epoch. The tightest one counts."""
        found = []
        for name, value in headers.items():
            prefix = "x-ratelimit-remaining-"
            if name.lower().startswith(prefix):
                try:
                    reset = float(headers.get(f"x-ratelimit-reset-{name[len(prefix) :]}", "60"))
                    found.append(Limits(int(value), timedelta(seconds=reset)))
                except (ValueError, OverflowError):
                    continue
        return min(found, key=lambda limit: limit.remaining, default=None)

    def says(self, body: Any) -> str:
        return str(_error(body).get("message") or (body.get("message") if isinstance(body, dict) else "") or "refused")[:200]


def _error(body: Any) -> dict[str, Any]:
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


class CalcomClient:
    """Calls; answers are ours, refusals are ProviderError."""

    def __init__(self, transport: Transport, api_url: str, platform_client_id: str) -> None:
        self._transport, self._api, self._mark = transport, f"{api_url.rstrip('/')}/v2", platform_client_id
        self._dialect = CalcomDialect()

    def _call(self, operation: str, method: str, path: str, *, auth: Auth, version: str | None = None, **rest: Any) -> Any:
        headers = {"cal-api-version": version} if version else {}
        return self._transport.call(self._dialect, operation, method, self._api + path, auth=auth, headers=headers, **rest)

    def token(self, operation: str, *, client_id: str, secrets: ClientSecrets, **grant: str) -> dict[str, Any]:
        ask, url = self._transport.token_request, f"{self._api}/auth/oauth2/token"
        return secrets.send(lambda secret: ask(self._dialect, operation, url, client_id=client_id, client_secret=secret, **grant))

    def me(self, auth: Auth) -> Any:
        return self._unmarked(self._call("me", "GET", "/me", auth=auth))

    def _unmarked(self, answer: Any) -> Any:
        return payloads.unmarked(payloads.data(answer), self._mark)

    # ---- event types and slots -----------------------------------------------------------------------------------

    def event_types(self, auth: Auth) -> list[Any]:
        return _list(payloads.data(self._call("event_types", "GET", "/event-types", auth=auth, version=EVENT_TYPES)))

    def create_event_type(self, auth: Auth, body: dict[str, Any]) -> Any:
        answer = self._call("create_event_type", "POST", "/event-types", auth=auth, version=EVENT_TYPES, json=body)
        return payloads.data(answer)

    def update_event_type(self, auth: Auth, event_type_id: str, body: dict[str, Any]) -> Any:
        path = f"/event-types/{quote(event_type_id, safe='')}"
        return payloads.data(self._call("update_event_type", "PATCH", path, auth=auth, version=EVENT_TYPES, json=body))

    def schedules(self, auth: Auth) -> list[Any]:
        return _list(payloads.data(self._call("schedules", "GET", "/schedules", auth=auth, version=SCHEDULES)))

    def update_schedule(self, auth: Auth, schedule_id: str, body: dict[str, Any]) -> Any:
        path = f"/schedules/{quote(schedule_id, safe='')}"
        return payloads.data(self._call("update_schedule", "PATCH", path, auth=auth, version=SCHEDULES, json=body))

    def busy(self, auth: Auth, start: str, end: str) -> list[tuple[datetime, datetime]]:
        """Of the calendars that the person lets Cal.com check, which have to be named one by one."""
        calendars = payloads.data(self._call("calendars", "GET", "/calendars", auth=auth))
        try:
            connected = calendars.get("connectedCalendars") or ()
            checked = [c for one in connected for c in one.get("calendars") or () if c.get("isSelected")]
        except payloads.UNREADABLE as error:
            raise BadAnswer("calcom", "calendars that cannot be read") from error
        # both names of the zone: older servers know one of them only
        query = {"dateFrom": start, "dateTo": end, "timeZone": "UTC", "loggedInUsersTz": "UTC"}
        for number, calendar in enumerate(checked):
            query[f"calendarsToLoad[{number}][credentialId]"] = str(calendar.get("credentialId"))
            query[f"calendarsToLoad[{number}][externalId]"] = str(calendar.get("externalId"))
        rows = _list(payloads.data(self._call("busy", "GET", "/calendars/busy-times", auth=auth, params=query)))
        try:
            return sorted((payloads.moment(row["start"]), payloads.moment(row["end"])) for row in rows)
        except payloads.UNREADABLE as error:
            raise BadAnswer("calcom", "busy times that cannot be read") from error

    def slots(self, auth: Auth, query: dict[str, Any]) -> list[datetime]:
        """A map by local day; without `timeZone` the days and times are UTC. `end` is exclusive."""
        days = payloads.data(self._call("slots", "GET", "/slots", auth=auth, version=SLOTS, params=query))
        if not isinstance(days, dict):
            raise BadAnswer("calcom", "slots that are not a map by day")
        try:
            return sorted(payloads.moment(slot["start"]) for slots in days.values() for slot in slots)
        except payloads.UNREADABLE as error:
            raise BadAnswer("calcom", "a slot that cannot be read") from error

    # ---- bookings ------------------------------------------------------------------------------------------------

    def bookings(self, auth: Auth, query: dict[str, Any]) -> Iterator[RemoteBooking]:
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            params = {**query, "limit": PAGE, **({"cursor": cursor} if cursor else {})}
            answer = self._call("bookings", "GET", "/bookings", auth=auth, version=BOOKINGS_LIST, params=params)
            for raw in _list(self._unmarked(answer)):
                try:
                    yield payloads.booking(raw)
                except BadAnswer:
                    # one booking that cannot be read must not keep the others away
                    log.warning("a listed booking cannot be read", provider="calcom")
            pagination = answer.get("pagination") or {}
            if not isinstance(pagination, dict):
                raise BadAnswer("calcom", "a page that does not say whether it is the last")
            cursor = pagination.get("nextCursor")
            if not pagination.get("hasMore") or not cursor:
                return

    def booking(self, auth: Auth, uid: str) -> RemoteBooking | None:
        """Anybody who knows the uid reads it. A recurring uid answers a list, which has no single state: None."""
        try:
            answer = self._unmarked(self._call("booking", "GET", f"/bookings/{quote(uid, safe='')}", auth=auth, version=BOOKINGS))
        except Refused as error:
            if error.status == GONE:
                return None
            raise
        return payloads.booking(answer) if isinstance(answer, dict) else None

    def book(self, auth: Auth, body: Mapping[str, Any]) -> RemoteBooking:
        return payloads.booking(self._unmarked(self._call("book", "POST", "/bookings", auth=auth, version=BOOKINGS, json=dict(body))))

    def act(self, auth: Auth, uid: str, action: str, body: dict[str, Any]) -> RemoteBooking:
        """POST /bookings/{uid}/{action}. Not idempotent: reschedule answers a *new* uid each time."""
        path = f"/bookings/{quote(uid, safe='')}/{action}"
        return payloads.booking(self._unmarked(self._call(action, "POST", path, auth=auth, version=BOOKINGS, json=body)))

    # ---- webhooks ------------------------------------------------------------------------------------------------

    def webhooks(self, auth: Auth) -> list[payloads.Subscription]:
        rows = _list(payloads.data(self._call("webhooks", "GET", "/webhooks", auth=auth, params={"take": 250})))
        return [payloads.subscription(raw) for raw in rows]

    def create_webhook(self, auth: Auth, body: dict[str, Any]) -> payloads.Subscription:
        return payloads.subscription(payloads.data(self._call("create_webhook", "POST", "/webhooks", auth=auth, json=body)))

    def update_webhook(self, auth: Auth, webhook_id: str, body: dict[str, Any]) -> Any:
        return payloads.data(self._call("update_webhook", "PATCH", f"/webhooks/{quote(webhook_id, safe='')}", auth=auth, json=body))

    def delete_webhook(self, auth: Auth, webhook_id: str) -> None:
        self._call("delete_webhook", "DELETE", f"/webhooks/{quote(webhook_id, safe='')}", auth=auth)


class PlatformClient:
    """Managed users (deprecated at Cal.com), with the platform client's own credentials."""

    def __init__(self, transport: Transport, api_url: str, client_id: str, secrets: ClientSecrets) -> None:
        self._transport, self._id, self._secrets = transport, client_id, secrets
        self._api = f"{api_url.rstrip('/')}/v2"
        self._users = f"{self._api}/oauth-clients/{quote(client_id, safe='')}/users"
        self._dialect = CalcomDialect()

    def create(self, body: dict[str, Any]) -> Any | None:
        """The new user; None when the address has one already. The pair that comes with it is not looked at."""
        try:
            answer = payloads.data(self._call("create_managed_user", "POST", self._users, json=body))
        except Refused as error:
            if error.status == CONFLICT:
                return None
            raise
        return payloads.unmarked(answer.get("user"), self._id) if isinstance(answer, dict) else None

    def find(self, email: str) -> Any | None:
        users = _list(payloads.unmarked(payloads.data(self._call("managed_users", "GET", self._users, params={"emails": email})), self._id))
        try:
            # compared by ourselves: whose account this is must not hang on how a filter is read
            return next((user for user in users if str(user.get("email", "")).lower() == email.lower()), None)
        except payloads.UNREADABLE as error:
            raise BadAnswer("calcom", "managed users that cannot be read") from error

    def refresh(self, refresh_token: str) -> Any:
        """400 for a spent token, 404 for the loser of a race. The old access token lives on until its end."""
        url = f"{self._api}/oauth/{quote(self._id, safe='')}/refresh"
        return self._exchange("refresh_managed_user", url, {"refreshToken": refresh_token}, {BAD_REQUEST, GONE})

    def force_refresh(self, user_id: str) -> Any:
        """404 when the user is gone. All tokens of the user die, the access tokens too."""
        return self._exchange("force_refresh", f"{self._users}/{quote(user_id, safe='')}/force-refresh", None, {GONE})

    def _exchange(self, operation: str, url: str, body: Any, over: set[int]) -> Any:
        try:
            return payloads.data(self._call(operation, "POST", url, json=body, limit=EXCHANGE_LIMIT))
        except Refused as error:
            if error.status in over:
                raise InvalidGrant("calcom", f"{operation}: {error.status}") from error
            raise

    def _call(self, operation: str, method: str, url: str, *, limit: timedelta = WRITE_LIMIT, **rest: Any) -> Any:
        return self._secrets.send(lambda secret: self._call_with(secret, operation, method, url, limit=limit, **rest), limit=limit)

    def _call_with(self, secret: str, operation: str, method: str, url: str, **rest: Any) -> Any:
        try:
            return self._transport.call(self._dialect, operation, method, url, headers={"x-cal-secret-key": secret}, **rest)
        except TokenRefused as error:
            raise InvalidClient("calcom", "the platform client's secret is refused") from error


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadAnswer("calcom", "a list that is none")
    return value
