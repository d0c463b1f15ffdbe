"""What tests stand on: people who speak GraphQL over HTTP, a clock that stands still, and the real sandbox."""

import io
import json
import logging as stdlib_logging
import multiprocessing
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg
from joserfc import jwt
from joserfc.jwk import ECKey
from keeping import Walk, Ways
from peewee import Value
from werkzeug.serving import BaseWSGIServer, make_server

import models
import settings as configuration
from app import assemble, create_app
from models.base import db, from_ms, is_sqlite, to_ms
from sandbox.app import Sandbox
from services import jobs, logging, tokens
from services.providers.base import ProviderSettings
from services.providers.calcom.provider import CalcomSettings
from services.providers.calendly.provider import CalendlySettings
from services.providers.zoom.provider import ZoomSettings
from services.vault import new_key

MONDAY = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
CLIENT_ID, CLIENT_SECRET = "convene-tests", "only-for-tests"
LEGACY_SECRET = "shared-by-hand"
SEALING_KEY = new_key("test")
SIGNING_KEY, ZOOM_SECRET, ZOOM_ACCOUNT = "calendly-signs-with-this", "zoom-signs-with-this", "zoom-account"


class StandingClock:
    """Stands still until it is moved; the database's time is the same, and so is that of other processes with its cell."""

    def __init__(self, at: datetime, cell: Any = None) -> None:
        self.cell = cell if cell is not None else multiprocessing.RawValue("q")
        self.at = at

    @property
    def at(self) -> datetime:
        return from_ms(self.cell.value)

    @at.setter
    def at(self, moment: datetime) -> None:
        self.cell.value = to_ms(moment)

    def now(self) -> datetime:
        return self.at

    def database_now(self, plus: timedelta = timedelta(0)) -> Any:
        return Value(to_ms(self.at + plus), converter=False)


class Issuer:
    """An identity provider: signs tokens, serves its key set over HTTP, rotates its key on demand."""

    audience = "convene-tests"

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "first"}, private=True)
        self.asked = 0

    def __enter__(self) -> Self:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                found = {
                    "/.well-known/openid-configuration": {"jwks_uri": f"{issuer.url}/keys"},
                    "/keys": {"keys": [issuer.key.as_dict(private=False)]},
                }.get(self.path)
                body = json.dumps(found or {}).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def rotate(self, kid: str) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": kid}, private=True)

    def token(self, now: datetime, subject: str, **claims: Any) -> str:
        at = int(now.timestamp())
        payload = {"iss": self.url, "aud": self.audience, "sub": subject, "iat": at, "exp": at + 3600, **claims}
        return jwt.encode({"alg": "ES256", "kid": self.key.kid}, {k: v for k, v in payload.items() if v is not None}, self.key)


class Caller:
    """One person with a browser: signs in, queries, consents."""

    def __init__(self, world: "World", name: str, email: str, time_zone: str, claims: dict[str, Any]) -> None:
        self.world, self.name, self.email, self.time_zone, self.claims = world, name, email, time_zone, claims

    @property
    def token(self) -> str:
        identity = {"email": self.email, "email_verified": True, "name": self.name, "zoneinfo": self.time_zone}
        return self.world.issuer.token(self.world.clock.now(), f"test|{self.email}", **{**identity, **self.claims})

    def post(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        return self.world.http.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {self.token}", **headers},
        )

    def gql(self, query: str, **variables: Any) -> Any:
        """The data of an operation that must not have errors."""
        answer = self.post(query, variables).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def errors(self, query: str, **variables: Any) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.post(query, variables).json()["errors"]
        return answer

    def one(self, query: str, **variables: Any) -> Any:
        """The only field of an operation's data."""
        (value,) = self.gql(query, **variables).values()
        return value

    # ---- linking -------------------------------------------------------------------------------------------------

    def begin(self, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.one(CONNECT, input={"provider": "CAL_COM", **more})
        return found

    def consent(
        self, begun: dict[str, Any], *, user: str | None = None, decision: str = "approve", granted: list[str] | None = None
    ) -> str:
        """Decide on the sandbox's consent page and follow the browser back; answers where it ends up."""
        asked = urlsplit(begun["authorizationUrl"])
        fields: dict[str, Any] = {k: v[0] for k, v in parse_qs(asked.query).items()}
        fields |= {"user": user or self.email, "decision": decision}
        if granted is not None:
            fields["granted"] = granted
        back = self.world.control.post(f"{asked.scheme}://{asked.netloc}{asked.path}", data=fields)
        assert back.status_code == 302, back.text
        landed = self.world.http.get(back.headers["location"])
        assert landed.status_code == 303, landed.text
        return landed.headers["location"]

    def complete(self, state: str) -> dict[str, Any]:
        found: dict[str, Any] = self.one(COMPLETE, input={"state": state})
        return found

    def link(self, *, user: str | None = None, **more: Any) -> Self:
        """Link the account of that address (at Cal.com unless `provider` says otherwise), and do what is due then."""

        def act() -> None:
            begun = self.begin(**more)
            self.consent(begun, user=user)
            done = self.complete(begun["state"])
            assert done["__typename"] == "ProviderLinked", done
            self.world.jobs()

        self.world.step("link", act, self.email, self.name, self.time_zone, self.claims, user, more)
        return self

    # ---- what most tests ask ---------------------------------------------------------------------------------------

    def bookings(self, **arguments: Any) -> list[dict[str, Any]]:
        found = self.one(BOOKINGS, **arguments)
        return [edge["node"] for edge in found["edges"]]

    def notifications(self) -> list[dict[str, Any]]:
        return [edge["node"] for edge in self.one(NOTIFICATIONS)["edges"]]

    def move(self, booking_id: str, new_start: datetime | str, key: str = "k1", **more: Any) -> dict[str, Any]:
        start = new_start if isinstance(new_start, str) else iso(new_start)
        found: dict[str, Any] = self.one(MOVE, input={"bookingId": booking_id, "newStart": start, "idempotencyKey": key, **more})
        return found

    def cancel(self, booking_id: str, key: str = "c1", **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.one(CANCEL, input={"bookingId": booking_id, "idempotencyKey": key, **more})
        return found


def closed(_environ: Any, start_response: Any) -> list[bytes]:
    """What answers behind a port while there is no Convene."""
    start_response("503 Service Unavailable", [])
    return []


@contextmanager
def serving() -> Iterator[BaseWSGIServer]:
    """A port on which one Convene after the other can be reached."""
    server = make_server("127.0.0.1", 0, closed, threaded=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@cache
def provider_settings(sandbox_url: str) -> dict[str, ProviderSettings]:
    """Our apps at the sandbox."""
    credentials = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    calcom, calendly, zoom = (f"{sandbox_url}/{name}" for name in ("calcom", "calendly", "zoom"))
    return {
        "calcom": CalcomSettings(api_url=calcom, app_url=calcom, webhook_secret=LEGACY_SECRET, **credentials),
        "calendly": CalendlySettings(
            api_url=f"{calendly}/api",
            auth_url=f"{calendly}/auth",
            app_url=f"{calendly}/web",
            webhook_signing_keys=(SIGNING_KEY,),
            **credentials,
        ),
        "zoom": ZoomSettings(
            api_url=f"{zoom}/api",
            auth_url=f"{zoom}/web",
            account_id=ZOOM_ACCOUNT,
            account_client_id="convene-account",
            account_client_secret=CLIENT_SECRET,
            webhook_secrets=(ZOOM_SECRET,),
            **credentials,
        ),
    }


class World:
    """Convene and the sandbox, each behind its own port, at one moment that stands still.

    `ways`: what its beginning may be taken from (keeping.py); the database is emptied first. Without them it has a port of
    its own.
    """

    def __init__(
        self,
        database_url: str,
        issuer: Issuer,
        sandbox: Sandbox,
        *,
        ways: Ways | None = None,
        **settings: Any,
    ) -> None:
        self.issuer, self.sandbox = issuer, sandbox
        self._ways, self._walk = ways, None
        self.clock = StandingClock(MONDAY)
        sandbox.world.clock.freeze(MONDAY)
        self.database_url, self._settings = database_url, settings
        self.logged = io.StringIO()

    def __enter__(self) -> Self:
        self._open = ExitStack()
        self._server = self._ways.door if self._ways else self._open.enter_context(serving())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        loaded = configuration.Settings(
            database_url=self.database_url,
            public_url=self.url,
            sealing_keys=(SEALING_KEY,),
            identity_issuer=self.issuer.url,
            identity_audience=(Issuer.audience,),
            identity_algorithms=("ES256",),
            **self._settings,
        )
        logging.configure("DEBUG")
        stdlib_logging.getLogger("werkzeug").setLevel("ERROR")
        handler = stdlib_logging.getLogger().handlers[0]
        assert isinstance(handler, stdlib_logging.StreamHandler)
        handler.setStream(self.logged)
        self.providers = self._provider_settings()
        tokens._flights = tokens._Flights()  # a process that has just begun knows of no exchange
        self.convene = assemble(loaded, self.providers, clock=self.clock)
        self.rt = self.convene.rt
        self._server.app = create_app(convene=self.convene)
        # no certificates are needed on loopback, and reading them costs 25 ms
        self.http = httpx.Client(base_url=self.url, timeout=30, verify=False)
        self.control = httpx.Client(base_url=f"{self.sandbox.url}/_sandbox", timeout=30, verify=False)
        if self._ways is not None:
            db.obj.query_hooks.append(self._left)
            for client in (self.http, self.control):
                client.event_hooks["request"].append(self._left)
        self.begin()
        return self

    def begin(self) -> None:
        """Nobody and nothing but our apps at the three providers."""
        if self._ways is not None:
            clean()
            self._walk = Walk(
                self._ways, f"{self.database_url} {self._settings}", self.sandbox, self.logged, self._unchanged(vars(self.rt).copy())
            )
        self.step("register", self.register_client)

    def _left(self, *_: object) -> None:
        if self._walk:
            self._walk.leave()

    def __exit__(self, *_: object) -> None:
        self.sandbox.settle()  # a delivery that is still on its way must not find the database closed
        self.http.close()
        self.control.close()
        self._server.app = closed
        self._open.close()
        self.rt.transport.close()
        db.close_all()

    def _unchanged(self, parts: dict[str, Any]) -> Callable[[], bool]:
        """Whether no test has put the clock or a part of Convene in another's place."""
        parts.pop("taken_in_at", None)
        return lambda: self.clock.at == MONDAY and all(getattr(self.rt, name) is part for name, part in parts.items())

    def _provider_settings(self) -> dict[str, ProviderSettings]:
        return dict(provider_settings(self.sandbox.url))

    def register_client(self) -> None:
        """Our apps at the three providers."""
        ours = {"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET}

        def back(slug: str) -> dict[str, list[str]]:
            return {"redirectUris": [f"{self.url}/oauth/{slug}/callback"]}

        self.sandbox_call("calcom/oauth-clients", **ours, **back("calcom"))
        self.sandbox_call("calendly/apps", **ours, **back("calendly"), webhookSigningKey=SIGNING_KEY)
        hook = {"webhookUrl": f"{self.url}/webhooks/zoom", "secretToken": ZOOM_SECRET}
        self.sandbox_call("zoom/apps", **ours, **back("zoom"), **hook)
        self.sandbox_call("zoom/apps", clientId="convene-account", clientSecret=CLIENT_SECRET, accountId=ZOOM_ACCOUNT, **hook)
        # Zoom has asked whether our address knows the secret
        self.sandbox.world.deliveries.clear()

    # ---- people and time -------------------------------------------------------------------------------------------

    def caller(self, name: str, email: str | None = None, time_zone: str = "UTC", **claims: Any) -> Caller:
        return Caller(self, name, email or f"{name.lower()}@example.test", time_zone, claims)

    def coach(self, name: str = "Clara", time_zone: str = "Europe/Berlin", **more: Any) -> Caller:
        """Somebody with a Cal.com account, a 30-minute event type and a link."""
        person = self.caller(name, time_zone=time_zone)
        event_types = more.pop("eventTypes", [{"title": "Session", "slug": "session", "lengthInMinutes": 30}])
        self.account(person, eventTypes=event_types, **more)
        return person.link()

    def account(self, person: Caller, **more: Any) -> dict[str, Any]:
        """A Cal.com account in the sandbox."""
        return self.sandbox_call("calcom/users", email=person.email, name=person.name, timeZone=person.time_zone, **more)

    def move_clock(self, **span: float) -> None:
        self.clock.at += timedelta(**span)
        self.sandbox.world.clock.freeze(self.clock.at)

    def jobs(self) -> int:
        """Do all that is due, as the scheduler would."""
        done: int = self.step("jobs", lambda: jobs.run_until_quiet(self.rt))
        return done

    def step(self, name: str, act: Callable[[], Any], *arguments: Any) -> Any:
        """Do something with which tests begin, or stand where it led before."""
        return self._walk.step(name, act, *arguments) if self._walk else act()

    # ---- the sandbox ----------------------------------------------------------------------------------------------

    def sandbox_call(self, path: str, method: str = "POST", **body: Any) -> Any:

        def act() -> Any:
            answer = self.control.request(method, f"/{path}", json=body)
            assert answer.is_success, answer.text
            return answer.json()

        return self.step("sandbox", act, method, path, body)

    def event_type(self, person: Caller, slug: str = "session") -> int:
        users = {u.email: u for u in self.sandbox.world.calcom.users.values()}
        mine = self.sandbox.world.calcom.owned_event_types(users[person.email].id)
        return next(e.id for e in mine if e.data["slug"] == slug)

    def book(
        self, coach: Caller, start: datetime, *, name: str = "Otto", email: str | None = None, slug: str = "session", **more: Any
    ) -> str:
        """Somebody books at Cal.com, not through Convene; answers the uid."""
        attendee = {"name": name, "email": email or f"{name.lower()}@example.test", "timeZone": "Europe/London"}
        answer = self.sandbox_call("calcom/bookings", eventTypeId=self.event_type(coach, slug), start=iso(start), attendee=attendee, **more)
        return str(answer["data"]["uid"])

    def live_uids(self) -> list[str]:
        """The uids that are pending or accepted at Cal.com."""
        return [b.uid for b in self.sandbox.world.calcom.bookings.values() if b.status in {"accepted", "pending"}]

    def calls(self, method: str, pattern: str) -> int:
        """How many requests of that kind the sandbox answered."""
        return sum(1 for r in self.sandbox.requests if r.method == method and pattern in r.path)


def clean() -> None:
    """Empty every table, children first, in one string."""
    statements = "; ".join(f'DELETE FROM "{model._meta.table_name}"' for model in reversed(models.ALL))
    if is_sqlite():
        # its execute takes one statement at a time
        db.connection().executescript(statements)
    else:
        db.execute_sql(statements)
    db.close()


def remove(database_url: str) -> None:
    """Take a database away from under the running process."""
    db.close_all()
    if database_url.startswith("sqlite"):
        path = Path(database_url.removeprefix("sqlite:///"))
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        path.mkdir()
        return
    name = urlsplit(database_url).path[1:]
    with psycopg.connect(urlsplit(database_url)._replace(path="/postgres").geturl(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """The database itself refuses a kind of statement, as in `UPDATE OF person_id ON participant`."""
    body = "BEGIN SELECT RAISE(ABORT, 'refused'); END" if is_sqlite() else "FOR EACH ROW EXECUTE FUNCTION refuse()"
    if not is_sqlite():
        db.execute_sql("CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$")
    db.execute_sql(f"CREATE TRIGGER refuse BEFORE {what} {body}")
    try:
        yield
    finally:
        table = what.rsplit(" ", 1)[1]
        db.execute_sql("DROP TRIGGER refuse" + ("" if is_sqlite() else f" ON {table}"))
        db.close()


def stored(database_url: str) -> bytes:
    """Everything that the database holds: the files of SQLite, each row of PostgreSQL."""
    if database_url.startswith("sqlite"):
        path = Path(database_url.removeprefix("sqlite:///"))
        # by another process: closing such a file here would drop the locks that SQLite holds on it, and it would be damaged
        return subprocess.check_output(["cat", *sorted(path.parent.glob(f"{path.name}*"))])
    rows = (row for model in models.ALL for row in db.execute_sql(f'SELECT t::text FROM "{model._meta.table_name}" t'))
    return "\n".join(str(row) for row in rows).encode()


def iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A moment in March 2027, UTC. The 1st is the Monday on which the clock stands at 08:00."""
    return datetime(2027, 3, day, hour, minute, tzinfo=UTC)


__all__ = ["MONDAY", "Caller", "Issuer", "World", "at", "clean", "from_ms", "iso", "refusing", "remove", "stored"]

PROBLEM = "... on Problem { code message }"
STATUS = """
fragment S on ConnectionStatus {
  id provider state sandbox message problem { code message missingScopes retryAt }
  linkedAccount { id provider kind state scopes accessTokenExpiresAt lastRefreshedAt failedRefreshCount linkedAt
    account { externalId name email schedulingUrl organization timeZone }
    sync { lastSyncedAt lastError webhooks bookings } }
}
"""
CONNECT = """mutation($input: ConnectProviderInput!) { connectProvider(input: $input) { __typename
  ... on AuthorizationRedirect { authorizationUrl state expiresAt }
  ... on InvalidInput { fields { path message } } ... on Problem { code message } } }"""
COMPLETE = (
    """mutation($input: CompleteConnectionInput!) { completeConnection(input: $input) { __typename
  ... on ProviderLinked { status { ...S } } ... on DifferentAccount { expected got } ... on Problem { code message } } }"""
    + STATUS
)
CONNECTION = "query($provider: Provider! = CAL_COM) { connectionStatus(provider: $provider) { ...S } }" + STATUS
DISCONNECT = (
    """mutation($provider: Provider! = CAL_COM) { disconnectProvider(input: {provider: $provider}) { __typename
  ... on ProviderUnlinked { message revokedUpstream status { ...S } } ... on Problem { code message } } }"""
    + STATUS
)
REFRESH = (
    """mutation($force: Boolean, $provider: Provider! = CAL_COM) { refreshConnection(input: {provider: $provider, force: $force}) { __typename
  ... on ConnectionRefreshed { refreshed status { ...S } } ... on ConnectionUnusable { isViewers provider problem { code } }
  ... on ProviderFailure { retryable retryAt } ... on Problem { code message } } }"""
    + STATUS
)
SYNC = """mutation($provider: Provider! = CAL_COM) { syncBookings(input: {provider: $provider}) { __typename
  ... on BookingsSynced { synced added changed status { state } } ... on ProviderFailure { retryable retryAt }
  ... on Problem { code message } } }"""
BOOKING = """
fragment B on Booking {
  id version provider title status start end viewerRole location meetingUrl externalId cancellationReason createdAt
  participants { id role name email timeZone isViewer noShow }
  eventType { id title durationMinutes host { id name } }
  answers { question answer }
  rescheduling { mode blockedBy providerPageUrl closesAt movesLeft reasonRequired }
  history { edges { node { kind at by source previousStart newStart reason } } pageInfo { hasNextPage } }
}
"""
BOOKINGS = (
    """query($first: Int, $after: String, $filter: BookingFilter, $order: BookingOrder) {
  bookings(first: $first, after: $after, filter: $filter, order: $order) {
    edges { cursor node { ...B } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
    + BOOKING
)
ONE_BOOKING = "query($id: ID!) { booking(id: $id) { ...B } }" + BOOKING
NOTIFICATIONS = """query { notifications { unreadCount edges { node {
  id kind title body previousStart newStart by readAt createdAt booking { id start } } } } }"""
MOVE = (
    """mutation($input: RescheduleBookingInput!) { rescheduleBooking(input: $input) { __typename
  ... on BookingRescheduled { booking { ...B } previousStart previousEnd checked { name role }
    warnings { code message connectProvider } notificationsQueuedFor { name } }
  ... on RescheduleAwaitingConfirmation { booking { ...B } previousStart warnings { code message } }
  ... on RescheduleInProgress { operation { id kind state startedAt settledAt booking { id } } }
  ... on RescheduleOnProviderPage { url message }
  ... on SlotUnavailable { canAccept alternatives { start end } conflicts { participant { name } role reason start end } }
  ... on SourceUnverified { role canAccept }
  ... on StaleBooking { booking { id version } }
  ... on BookingNotReschedulable { blockedBy }
  ... on PolicyViolation { rule }
  ... on InvalidInput { fields { path message } }
  ... on ConnectionUnusable { isViewers provider problem { code } }
  ... on ProviderFailure { retryable retryAt }
  ... on Problem { code message } } }"""
    + BOOKING
)
CANCEL = (
    """mutation($input: CancelBookingInput!) { cancelBooking(input: $input) { __typename
  ... on BookingCancelled { booking { ...B } notificationsQueuedFor { name } }
  ... on CancelInProgress { operation { id state } } ... on CancelOnProviderPage { url }
  ... on StaleBooking { booking { id version } } ... on BookingNotCancellable { blockedBy }
  ... on InvalidInput { fields { path message } } ... on ProviderFailure { retryable retryAt }
  ... on Problem { code message } } }"""
    + BOOKING
)
OPERATION = "query($id: ID!) { bookingOperation(id: $id) { id kind state startedAt settledAt booking { id start } } }"
AVAILABILITY = """query($input: AvailabilityInput!) { availability(input: $input) { __typename
  ... on Availability { starts durationMinutes timeZone computedAt slots { start end } days { date starts }
    sources { participant { id name } role provider state asOf } warnings { code message connectProvider } }
  ... on InvalidInput { fields { path message } } ... on ConnectionUnusable { isViewers problem { code } }
  ... on ProviderFailure { retryable retryAt } ... on Problem { code message } } }"""
EVENT_TYPES = """query($hostId: ID, $first: Int, $after: String) { eventTypes(hostId: $hostId, first: $first, after: $after) {
  edges { cursor node { id title slug durationMinutes durationOptions active hidden requiresConfirmation group schedulingUrl isDefault provider
    createsZoomMeeting recordsMeeting
    host { id name } } } pageInfo { hasNextPage endCursor } } }"""
DEFAULTS = """mutation($provider: Provider! = CAL_COM) { createDefaultEventTypes(input: {provider: $provider}) { __typename
  ... on DefaultEventTypes { totalCreated createdEventTypes { id durationMinutes } existingEventTypes { id durationMinutes } }
  ... on ConnectionUnusable { isViewers } ... on ProviderFailure { retryable retryAt } ... on Problem { code message } } }"""
INBOX = """query($state: WebhookEventState, $first: Int) { webhookEvents(state: $state, first: $first) { edges { node {
  id provider kind state receivedAt appliedAt attempts nextAttemptAt lastError bookingId } } } }"""
