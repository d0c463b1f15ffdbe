"""Everything the sandbox's Cal.com remembers."""

import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.snapshot import State, Table

Json = dict[str, Any]

SCOPE_AREAS = ("EVENT_TYPE", "BOOKING", "SCHEDULE", "APPS", "PROFILE", "WEBHOOK", "VERIFIED_RESOURCES", "CREDITS")
TEAM_AREAS = (
    "EVENT_TYPE",
    "BOOKING",
    "SCHEDULE",
    "PROFILE",
    "MEMBERSHIP",
    "APPS",
    "ROUTING_FORM",
    "WORKFLOW",
    "VERIFIED_RESOURCES",
)
ORG_AREAS = ("EVENT_TYPE", "BOOKING", "SCHEDULE", "PROFILE", "MEMBERSHIP", "ROUTING_FORM", "WEBHOOK", "ATTRIBUTES")
PERSONAL_SCOPES = [f"{area}_{kind}" for area in SCOPE_AREAS for kind in ("READ", "WRITE")]
ALL_SCOPES = [
    *PERSONAL_SCOPES,
    *(f"TEAM_{area}_{kind}" for area in TEAM_AREAS for kind in ("READ", "WRITE")),
    *(f"ORG_{area}_{kind}" for area in ORG_AREAS for kind in ("READ", "WRITE")),
]
_LETTERS = "".join(letter for letter in string.ascii_letters + string.digits if letter not in "0OIl")


def new_uid() -> str:
    """22 characters like Cal.com's short uuids."""
    return "".join(secrets.choice(_LETTERS) for _ in range(22))


@dataclass
class User:
    id: int
    email: str
    name: str
    username: str
    time_zone: str
    created_at: datetime
    default_schedule_id: int | None = None
    time_format: int = 12
    week_start: str = "Sunday"
    locale: str = "en"
    avatar_url: str | None = None
    bio: str | None = None
    metadata: Json | None = None
    managed_by: str | None = None  # platform client


@dataclass
class Schedule:
    id: int
    owner_id: int
    name: str
    time_zone: str
    availability: list[Json]
    overrides: list[Json]


@dataclass
class EventType:
    """`data` is the answer's shape without id, ownerId, users and bookingUrl, which are made when asked."""

    id: int
    owner_id: int
    data: Json
    created_at: datetime

    @property
    def length(self) -> int:
        return int(self.data["lengthInMinutes"])

    @property
    def lengths(self) -> list[int]:
        """Every length one may book."""
        return [self.length, *self.data.get("lengthInMinutesOptions", [])]

    @property
    def notice(self) -> timedelta:
        return timedelta(minutes=self.data["minimumBookingNotice"])

    @property
    def buffers(self) -> tuple[timedelta, timedelta]:
        before, after = self.data["beforeEventBuffer"], self.data["afterEventBuffer"]
        return timedelta(minutes=before), timedelta(minutes=after)

    def needs_confirmation(self, start: datetime, now: datetime) -> bool:
        """`always`, or `time`: only when the start is nearer than the threshold."""
        policy = self.data["confirmationPolicy"]
        if policy.get("type") != "time":
            return bool(policy.get("type") == "always")
        threshold = policy["noticeThreshold"]
        return start - now < timedelta(**{threshold["unit"]: threshold["count"]})


@dataclass
class Booking:
    """One link of a chain: a reschedule makes a new one and cancels this."""

    id: int
    uid: str
    event_type_id: int
    owner_id: int
    title: str
    status: str
    start: datetime
    end: datetime
    location: str  # as stored: a link, an address or integrations:x
    meeting_url: str  # as shown
    attendees: list[Json]
    metadata: Json
    responses: Json
    ics_uid: str
    created_at: datetime
    updated_at: datetime
    committed: int  # the world's count of commits when it came into being
    ics_sequence: int = 0
    description: str = ""
    guests: list[str] = field(default_factory=list)
    from_uid: str | None = None
    to_uid: str | None = None
    moved: int | None = None  # the count when it was rescheduled away
    rescheduling_reason: str | None = None
    rescheduled_by: str | None = None
    cancellation_reason: str = ""
    cancelled_by: str = ""
    rejection_reason: str | None = None
    absent_host: bool = False
    rating: int | None = None

    @property
    def takes_time(self) -> bool:
        return self.status in {"accepted", "pending"}

    @property
    def minutes(self) -> int:
        return int((self.end - self.start).total_seconds() // 60)


@dataclass
class Busy:
    id: int
    user_id: int
    start: datetime
    end: datetime


@dataclass
class Reservation:
    uid: str
    event_type_id: int
    start: datetime
    end: datetime
    minutes: int
    until: datetime


@dataclass
class Webhook:
    id: str
    url: str
    triggers: list[str]
    active: bool
    secret: str | None
    payload_template: str | None
    version: str
    user_id: int | None = None
    event_type_id: int | None = None
    client_id: str | None = None  # platform client
    time: int | None = None
    time_unit: str | None = None

    @property
    def owner(self) -> tuple[int | None, int | None, str | None]:
        return self.user_id, self.event_type_id, self.client_id


@dataclass
class OAuthClient:
    id: str
    secret: str
    name: str
    type: str
    redirect_uris: list[str]
    scopes: list[str]
    approval: str = "APPROVED"


@dataclass
class OAuthCode:
    code: str
    client_id: str
    user_id: int
    redirect_uri: str
    scopes: list[str]
    challenge: str | None
    expires_at: datetime


@dataclass
class OAuthToken:
    """Kept so that a test can revoke or expire what a real server would only sign."""

    jti: str
    kind: str  # access or refresh
    client_id: str
    user_id: int
    scopes: list[str] | None  # None: a legacy token, full access
    expires_at: datetime


@dataclass
class ApiKey:
    key: str
    user_id: int


@dataclass
class PlatformClient:
    id: str
    secret: str
    name: str
    redirect_uris: list[str]
    default_event_types: bool
    organization_id: int


@dataclass
class ManagedToken:
    token: str
    kind: str  # access or refresh
    client_id: str
    user_id: int
    expires_at: datetime


class CalcomState(State):
    scalars = ("last_id", "signing_secret", "switches", "limits")

    def __init__(self) -> None:
        self.users: Table[int, User] = Table(User, lambda row: row.id)
        self.schedules: Table[int, Schedule] = Table(Schedule, lambda row: row.id)
        self.event_types: Table[int, EventType] = Table(EventType, lambda row: row.id)
        self.bookings: Table[str, Booking] = Table(Booking, lambda row: row.uid)
        self.busy: Table[int, Busy] = Table(Busy, lambda row: row.id)
        self.reservations: Table[str, Reservation] = Table(Reservation, lambda row: row.uid)
        self.webhooks: Table[str, Webhook] = Table(Webhook, lambda row: row.id)
        self.clients: Table[str, OAuthClient] = Table(OAuthClient, lambda row: row.id)
        self.codes: Table[str, OAuthCode] = Table(OAuthCode, lambda row: row.code)
        self.tokens: Table[str, OAuthToken] = Table(OAuthToken, lambda row: row.jti)
        self.api_keys: Table[str, ApiKey] = Table(ApiKey, lambda row: row.key)
        self.platform_clients: Table[str, PlatformClient] = Table(PlatformClient, lambda row: row.id)
        self.managed_tokens: Table[str, ManagedToken] = Table(ManagedToken, lambda row: row.token)
        self.last_id = 1000
        self.signing_secret = secrets.token_hex(32)
        self.switches = {"staleSlots": False, "forkReschedule": True}
        self.limits = {"token": 500, "anonymous": 120}
        # Not saved: the count of commits at which a managed refresh token went, counters of the running minute, and the
        # two-second cache of slots.
        self.rotated: dict[str, int] = {}
        self.windows: dict[str, Any] = {}
        self.slot_cache: dict[str, Any] = {}

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def user_by_email(self, email: str) -> User | None:
        return next((user for user in self.users.values() if user.email.lower() == email.lower()), None)

    def user_by_name(self, username: str) -> User | None:
        return next((user for user in self.users.values() if user.username == username), None)

    def owned_event_types(self, user_id: int) -> list[EventType]:
        return [row for row in self.event_types.values() if row.owner_id == user_id]
