"""Everything the sandbox's Calendly remembers. Ids are stored; the addresses that Calendly calls URIs are made when shown."""

import uuid
from typing import Any, ClassVar

from sandbox.calendly.rows import (
    App,
    Busy,
    Code,
    Event,
    EventType,
    Invitee,
    Link,
    Membership,
    NoShow,
    Organization,
    Schedule,
    Subscription,
    Token,
    User,
)
from sandbox.snapshot import State, Table

Json = dict[str, Any]

SCOPES = (
    "users:read",
    *(f"{area}:{kind}" for area in ("organizations", "event_types", "availability", "scheduled_events") for kind in ("read", "write")),
    *("scheduling_links:write", "shares:write", "webhooks:read", "webhooks:write", "locations:read", "groups:read"),
    *("routing_forms:read", "activity_log:read", "outgoing_communications:read", "data_compliance:write"),
    *("contacts:read", "contacts:write", "meeting_recaps:read", "meeting_recaps:write"),
)
SWITCHES: Json = {
    "oldGrace": False,
    "invalidGrantAs401": False,
    "legacyFullAccess": False,
    "noHeaders": False,
    "limitBody": "title",
    "pageTokenSeconds": 300,
    "windowDays": 31,
    "brokenCalendars": [],
    "noTimes": False,
    "takenSlotStatus": 404,
    "legacyInviteeAnswer": False,
    "pairOrder": "canceled-first",
    "conferenceSeconds": 5,
    "conferenceFails": False,
    "retryKeepsTimestamp": False,
    "twoSignatures": False,
    "oddWhitespace": False,
}
LIMITS: dict[str, int] = {
    "general": 500,
    "generalFree": 50,
    "token": 8,
    "trialPerDay": 5,
    "freePerDay": 5,
    "paidPerMinute": 10,
    "paidPerHour": 50,
    "paidPerDay": 100,
    "enterprisePerMinute": 500,
}


def new_id() -> str:
    return str(uuid.uuid4())


class CalendlyState(State):
    """Rows are looked through in copies: whoever only reads does not hold the world's lock."""

    scalars: ClassVar[tuple[str, ...]] = ("switches", "limits", "organization_number")

    def __init__(self) -> None:
        self.organization_number = 40_000_000
        self.organizations: Table[str, Organization] = Table(Organization, lambda row: row.id)
        self.users: Table[str, User] = Table(User, lambda row: row.id)
        self.memberships: Table[str, Membership] = Table(Membership, lambda row: row.id)
        self.schedules: Table[str, Schedule] = Table(Schedule, lambda row: row.id)
        self.busy: Table[str, Busy] = Table(Busy, lambda row: row.id)
        self.event_types: Table[str, EventType] = Table(EventType, lambda row: row.id)
        self.events: Table[str, Event] = Table(Event, lambda row: row.id)
        self.invitees: Table[str, Invitee] = Table(Invitee, lambda row: row.id)
        self.no_shows: Table[str, NoShow] = Table(NoShow, lambda row: row.id)
        self.links: Table[str, Link] = Table(Link, lambda row: row.id)
        self.apps: Table[str, App] = Table(App, lambda row: row.id)
        self.codes: Table[str, Code] = Table(Code, lambda row: row.code)
        self.tokens: Table[str, Token] = Table(Token, lambda row: row.access)
        self.subscriptions: Table[str, Subscription] = Table(Subscription, lambda row: row.id)
        self.switches: Json = dict(SWITCHES)
        self.limits: dict[str, int] = dict(LIMITS)
        self.windows: dict[str, Any] = {}
        self.pages: dict[str, Any] = {}

    def load(self, saved: dict[str, Any]) -> None:
        """A switch or limit that the file does not know yet keeps its default."""
        super().load(saved)
        self.switches, self.limits = SWITCHES | self.switches, LIMITS | self.limits

    def user_by_email(self, email: str) -> User | None:
        return next((user for user in list(self.users.values()) if user.email.lower() == email.lower()), None)

    def user_by_slug(self, slug: str) -> User | None:
        return next((user for user in list(self.users.values()) if user.slug == slug), None)

    def membership_of(self, user: User) -> Membership:
        """Of the organization the user is in now; everybody is in exactly one."""
        return next(
            row for row in list(self.memberships.values()) if row.user_id == user.id and row.organization_id == user.organization_id
        )

    def types_of(self, user_id: str) -> list[EventType]:
        return sorted((row for row in list(self.event_types.values()) if row.owner_id == user_id), key=lambda row: row.position)

    def default_schedule(self, user_id: str) -> Schedule | None:
        return next((row for row in list(self.schedules.values()) if row.user_id == user_id and row.default), None)

    def invitees_of(self, event: Event) -> list[Invitee]:
        return [row for row in list(self.invitees.values()) if row.event_id == event.id]

    def active_invitees(self, event: Event) -> list[Invitee]:
        return [row for row in self.invitees_of(event) if row.status == "active"]

    def no_show_of(self, invitee: Invitee) -> NoShow | None:
        return next((row for row in list(self.no_shows.values()) if row.invitee_id == invitee.id), None)
