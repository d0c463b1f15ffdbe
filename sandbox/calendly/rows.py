"""The rows of the sandbox's Calendly: plain data."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Json = dict[str, Any]


@dataclass
class Organization:
    id: str
    name: str
    number: int
    plan: str  # basic, essentials, professional, teams, enterprise
    stage: str  # trial, free, paid
    created_at: datetime
    updated_at: datetime

    @property
    def tier(self) -> str:
        """What rate limits go by: trial and free by the stage, enterprise by the plan, anything else is paid."""
        if self.stage in {"trial", "free"}:
            return self.stage
        return "enterprise" if self.plan == "enterprise" else "paid"


@dataclass
class User:
    id: str
    email: str
    name: str
    slug: str
    time_zone: str
    organization_id: str
    created_at: datetime
    updated_at: datetime
    locale: str = "en"
    time_notation: str = "12h"


@dataclass
class Membership:
    id: str
    user_id: str
    organization_id: str
    role: str  # owner, admin, user
    created_at: datetime
    updated_at: datetime


@dataclass
class Schedule:
    id: str
    user_id: str
    name: str
    time_zone: str
    default: bool
    rules: list[Json]


@dataclass
class Busy:
    """A row of an external calendar."""

    id: str
    user_id: str
    start: datetime
    end: datetime


@dataclass
class EventType:
    id: str
    owner_id: str
    name: str
    slug: str | None
    duration: int
    position: int
    created_at: datetime
    updated_at: datetime
    active: bool = False
    kind: str = "solo"  # solo, group
    limit: int = 1  # invitees per event
    description: str | None = None
    duration_options: list[int] | None = None
    locations: list[Json] | None = None
    questions: list[Json] = field(default_factory=list)
    color: str = "#8247f5"
    locale: str = "en"
    secret: bool = False
    paid: bool = False
    buffer_before: int = 0
    buffer_after: int = 0
    notice: int = 0  # minutes
    interval: int = 30  # minutes from one start to the next
    own_rule: Json | None = None  # {timezone, rules}: instead of the host's schedule
    split_name: bool = False  # the form asks for first and last name

    @property
    def length(self) -> timedelta:
        return timedelta(minutes=self.duration)


@dataclass
class Event:
    id: str
    type_id: str
    owner_id: str
    name: str
    start: datetime
    end: datetime
    limit: int
    location: Json | None
    created_at: datetime
    updated_at: datetime
    buffer_before: int = 0
    buffer_after: int = 0
    status: str = "active"
    cancellation: Json | None = None
    guests: list[Json] = field(default_factory=list)
    conference_at: datetime | None = None  # when its conference is ready; None: it never will be

    @property
    def buffered(self) -> tuple[datetime, datetime]:
        return self.start - timedelta(minutes=self.buffer_before), self.end + timedelta(minutes=self.buffer_after)


@dataclass
class Invitee:
    """One person in one event. Whoever moves becomes another invitee of another event."""

    id: str
    event_id: str
    email: str
    name: str
    time_zone: str | None
    created_at: datetime
    updated_at: datetime
    first_name: str | None = None
    last_name: str | None = None
    status: str = "active"
    answers: list[Json] = field(default_factory=list)
    tracking: Json = field(default_factory=dict)
    rescheduled: bool = False
    old_id: str | None = None
    new_id: str | None = None
    cancellation: Json | None = None
    text_reminder_number: str | None = None
    method: str | None = None  # api, or None for the page
    scheduled_by: str | None = None
    payment: Json | None = None


@dataclass
class NoShow:
    id: str
    invitee_id: str
    created_at: datetime


@dataclass
class Link:
    """A single-use scheduling link."""

    id: str
    type_id: str
    used: bool = False


@dataclass
class App:
    """`secret` None: a native app, which has none and must use PKCE."""

    id: str
    secret: str | None
    name: str
    redirect_uris: list[str]
    scopes: list[str]
    signing_key: str


@dataclass
class Code:
    code: str
    app_id: str
    user_id: str
    redirect_uri: str
    scopes: list[str] | None
    challenge: str | None
    challenge_method: str
    expires_at: datetime


@dataclass
class Token:
    """An access token with the refresh token that was given out beside it; a personal access token has no app and no end."""

    access: str
    user_id: str
    created_at: datetime
    app_id: str | None = None
    refresh: str | None = None
    scopes: list[str] | None = None  # None: full access, as before scopes existed
    expires_at: datetime | None = None
    previous: str | None = None  # the access token this one was refreshed from
    refreshed: bool = False
    revoked: bool = False
    used: bool = False


@dataclass
class Subscription:
    id: str
    url: str
    events: list[str]
    organization_id: str
    scope: str
    user_id: str | None
    creator_id: str
    created_at: datetime
    updated_at: datetime
    app_id: str | None = None
    key: str | None = None  # given with a personal access token
    state: str = "active"
    retry_started_at: datetime | None = None
