"""What every provider is to Convene: Protocols, capabilities, and provider-neutral data.

Nothing here knows models or decides anything. Times are aware and in UTC.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode


def split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


List = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]
"""A setting with several values, comma-separated."""


class ProviderSettings(BaseSettings):
    """The settings of one provider; the variables' prefix is CONVENE_<SLUG>_. A provider without credentials is off."""

    api_url: str
    client_id: str = ""
    client_secret: str = ""

    def lacking(self) -> list[str]:
        """What is missing although the rest is there, by field; empty for a provider that is off or complete."""
        return [name for name in ("client_id", "client_secret") if not getattr(self, name)] if self.on else []

    @property
    def on(self) -> bool:
        return bool(self.client_id or self.client_secret)


EventTypeField = Literal[
    "title", "slug", "description", "duration_minutes", "duration_options", "hidden", "requires_confirmation", "active"
]


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do at all, so that services ask this and never its name."""

    processing_limit: timedelta
    """Longest time the provider may still be working on a request whose answer was lost."""
    revocation: bool = False
    """OAuth tokens can be revoked by a call: it is a `Revoking`."""
    subscriptions: bool = False
    """It calls addresses that are registered through its API, one per linked account."""
    app_webhooks: bool = False
    """It calls one address of the installation, which its operator has registered by hand."""
    scheduling: bool = False
    """It has event types, availability and bookings: it is a `Scheduling`."""
    meetings: bool = False
    """It makes video meetings for bookings: it is a `Meetings`."""
    managed_users: bool = False
    """It can make accounts for people: it is a `ManagedUsers`."""

    # of scheduling providers
    invites: frozenset[str] = frozenset()
    """Kinds of the host's link for which it sends calendar invitations itself; for the others Convene does."""
    books: bool = False
    """A booking can be made through the API: it is a `Bookable`."""
    reschedules: bool = False
    """A booking can be moved through the API: it is a `Rescheduling`."""
    replaces: bool = False
    """It has no move, but a new booking can take an old one's place: it is a `Replacing`."""
    decides: bool = False
    """Bookings can wait for the host's decision: it is a `Deciding`."""
    anonymous: bool = False
    """A booking can be read and changed by whoever knows its id, without a token."""
    places: bool = False
    """Each invitee of a group event is a booking of its own; otherwise a group's booking has several mentees."""
    slots_window: timedelta = timedelta(days=31)
    """Longest window of one availability call; longer ones are asked for in pieces."""
    busy_window: timedelta = timedelta(days=31)
    """The same for busy times."""
    slots_by_length: bool = False
    """Slots can be asked for in another length than the event type's own."""
    event_type_fields: frozenset[EventTypeField] = frozenset()
    """What can be set of an event type."""
    longest_minutes: int = 1440
    most_durations: int = 20
    """Lengths that an event type may offer to choose from."""
    schedule_changes: bool = False
    """Schedules can be changed through the API: it is a `ScheduleChanging`."""


class Headers(Protocol):
    """Request headers, looked up without regard to case."""

    def get(self, name: str, default: str, /) -> str: ...


@dataclass(frozen=True)
class AccountAuth:
    """Call with the linked account's token; the transport gets, renews and never shows it.

    `user_id` and `organization_id` are the provider's own, for calls that must name them.
    """

    account_id: str
    user_id: str | None = None
    organization_id: str | None = None


@dataclass(frozen=True)
class BearerAuth:
    """Call with this token: only while a link is being made and there is no account yet."""

    token: str = field(repr=False)


Auth = AccountAuth | BearerAuth | None


@dataclass(frozen=True)
class AccessToken:
    """An account's token of one version. `expires_at` None: not known."""

    value: str = field(repr=False)
    version: int
    received_at: datetime
    expires_at: datetime | None


class TokenSource(Protocol):
    """Where the transport gets tokens. Raises the Problems ConnectionUnusable and ProviderFailure."""

    def current(self, account_id: str) -> AccessToken: ...

    def renew(self, account_id: str, refused: AccessToken) -> AccessToken:
        """Another token than the one that was refused; at most one exchange per token version."""

    def served(self, account_id: str, token: AccessToken) -> None:
        """The provider took this token."""

    def lacks_scopes(self, account_id: str, token: AccessToken, scopes: Sequence[str]) -> None:
        """The provider answered that this token lacks these scopes. Raises ConnectionUnusable, unless there is a newer one."""


class Budget(Protocol):
    """What is left of a provider's rate limit, per key (provider and account)."""

    def check(self, provider: str, key: str) -> None:
        """Raise RateLimited when the provider said that nothing is left."""

    def observe(self, key: str, remaining: int, reset_after: timedelta) -> None: ...


@dataclass(frozen=True)
class Grant:
    """A token endpoint's answer. `refresh_token` None: keep the old one. `scopes` None: not said."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: timedelta | None
    scopes: tuple[str, ...] | None


def sendable(token: Any) -> bool:
    """Whether it can stand in an Authorization header: visible ASCII without spaces (RFC 6750 section 2.1)."""
    return isinstance(token, str) and re.fullmatch(r"[!-~]+", token) is not None


@dataclass(frozen=True)
class RemoteAccount:
    external_id: str
    name: str | None = None
    email: str | None = None
    username: str | None = None
    time_zone: str | None = None
    organization: str | None = None
    scheduling_url: str | None = None
    bookable: bool = True
    """False when nobody can ever book it as it is: a managed user that was made without a time zone has no schedule."""


@dataclass(frozen=True)
class BrowserClient:
    """What the provider's own browser components are started with; nothing of it is secret."""

    client_id: str
    api_url: str


@dataclass(frozen=True)
class RemoteEventType:
    external_id: str
    title: str
    slug: str | None
    description: str | None
    duration_minutes: int
    duration_options: tuple[int, ...]
    hidden: bool
    requires_confirmation: bool
    is_group: bool
    scheduling_url: str | None
    active: bool = True
    """False: it is there, but nobody can book it."""
    questions: tuple["Question", ...] = ()
    buffer_before: int = 0
    buffer_after: int = 0
    """Minutes around a booking that must be free as well, as far as the provider tells them; likewise the notice."""
    notice_minutes: int = 0


@dataclass(frozen=True)
class Question:
    """One question of the booking form, by the key under which it is answered. No choices: any text will do."""

    key: str
    text: str
    required: bool
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class BookingWish:
    """A booking as it is to be made. `minutes` None: the event type's own length. Answers by the question's key.

    `mark` finds it again; it goes where the provider keeps a caller's own data.
    """

    event_type_id: str
    start: datetime
    minutes: int | None
    name: str
    email: str
    time_zone: str
    answers: tuple[tuple[str, str], ...]
    mark: str


@dataclass(frozen=True)
class Draft:
    """A booking ready to be sent, `body` in the provider's words; the rest finds it again."""

    event_type_id: str
    start: datetime
    email: str = field(repr=False)
    mark: str
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Quota:
    """At most so many bookings may be made through the API of one account within the span."""

    most: int
    span: timedelta


@dataclass(frozen=True)
class Hours:
    """Open from `start` to `end`, both `HH:MM` in the schedule's zone; `24:00` is the end of the day."""

    start: str
    end: str


@dataclass(frozen=True)
class RemoteSchedule:
    """Working hours. `weekly` by ISO weekday (1 Monday); `overrides` by date: those hours instead, none: closed."""

    external_id: str
    name: str
    time_zone: str
    is_default: bool
    weekly: tuple[tuple[int, tuple[Hours, ...]], ...]
    overrides: tuple[tuple[date, tuple[Hours, ...]], ...] = ()


@dataclass(frozen=True)
class RemotePerson:
    """role: COACH (hosts), MENTEE (who booked, or each invitee of a group) or GUEST."""

    role: str
    name: str
    email: str | None
    time_zone: str | None = None
    external_id: str | None = None
    no_show: bool = False


@dataclass(frozen=True)
class RemoteBooking:
    """One booking as the provider tells it now. status: PENDING, CONFIRMED, DECLINED or CANCELLED.

    `previous_id` and `next_id` link the bookings that a provider makes of one meeting when it is moved. `occasion_id`
    names the provider's one event in which several bookings are places.
    """

    external_id: str = field(repr=False)
    title: str
    status: str
    start: datetime
    end: datetime
    people: tuple[RemotePerson, ...]
    created_at: datetime
    updated_at: datetime
    event_type_id: str | None = None
    previous_id: str | None = field(default=None, repr=False)
    next_id: str | None = field(default=None, repr=False)
    is_group: bool = False
    location: str | None = None
    meeting_url: str | None = None
    answers: tuple[tuple[str, str], ...] = ()
    cancellation_reason: str | None = None
    reschedule_reason: str | None = None
    changed_by_email: str | None = None
    changed_by: str | None = field(default=None, repr=False)
    """Who cancelled or moved it, by name, where no address is told."""
    occasion_id: str | None = field(default=None, repr=False)
    conference: "Conference | None" = None
    forked_from: str | None = field(default=None, repr=False)
    """Found while reading: that booking was its predecessor, and went on as another one."""
    incomplete: bool = False
    """The provider is still preparing a part of it (its conference): read it again soon."""
    mark: str | None = None
    """Of the wish that it was made from. Anybody who books could write one there: it proves nothing by itself."""
    movable: bool = True
    """False: something about it keeps it from being moved through the API."""


@dataclass(frozen=True)
class Conference:
    """A video meeting that the scheduling provider makes itself, perhaps still in work.

    `provider` is the slug of the meeting provider where that is one of ours, and `external_id` its id of the meeting.
    """

    provider: str | None = None
    external_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Occasion:
    """What a list tells of an event before its places are read."""

    id: str = field(repr=False)
    start: datetime
    updated_at: datetime
    places: int
    taken: int


@dataclass(frozen=True)
class RemoteMeeting:
    """A video meeting as its provider has it. `start` None: it has no fixed time."""

    external_id: str = field(repr=False)
    join_url: str = field(repr=False)
    start: datetime | None
    minutes: int
    created_at: datetime


@dataclass(frozen=True)
class MeetingWish:
    """A meeting as it should be. `mark` finds it again; it is shown in the meeting's description."""

    topic: str
    start: datetime
    minutes: int
    time_zone: str
    mark: str
    record: bool


@dataclass(frozen=True)
class RemoteRecording:
    """One file of a recording; `kind` in the provider's words."""

    external_id: str = field(repr=False)
    kind: str
    url: str = field(repr=False)
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Recorded:
    """The files of one session of a meeting; `session` tells sessions of the same meeting apart."""

    meeting_id: str = field(repr=False)
    host_id: str = field(repr=False)
    """Whose meeting it was, by the provider's id of the account."""
    session: str
    files: tuple[RemoteRecording, ...] = field(repr=False)
    complete: bool
    """The recording itself, and not what is made of it later."""


@dataclass(frozen=True)
class Delivery:
    """What a webhook says, as far as it is believed without reading back.

    `booking_ids` are to be read back; `requested_id` was pending at the time of the event. `told`: the booking as the
    delivery itself has it, for when it cannot be read back. `sent_at`: when the provider says it made it, where it is
    part of what is signed. Nothing of it: nothing to do.
    """

    kind: str
    booking_ids: tuple[str, ...] = field(default=(), repr=False)
    requested_id: str | None = field(default=None, repr=False)
    sent_at: datetime | None = None
    told: RemoteBooking | None = field(default=None, repr=False)
    event_types: bool = False
    """The account's event types changed."""
    meeting_id: str | None = field(default=None, repr=False)
    """This meeting was changed or deleted by somebody."""
    recorded: Recorded | None = None
    withdrawn: str | None = field(default=None, repr=False)
    """This account took its permission back: unlink it and delete what came from it."""


class Provider(Protocol):
    """One provider. Every call may raise services.errors.ProviderError and, with AccountAuth, Problems."""

    slug: ClassVar[str]
    enum_name: ClassVar[str]
    label: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    required_scopes: ClassVar[tuple[str, ...]]
    settings: ClassVar[Any]
    """The subclass of ProviderSettings that says what can be set."""
    link_kinds: frozenset[str]
    """How accounts can be linked in this installation, as LinkKind names; empty: the provider is off."""
    webhook_keys: tuple[str, ...]
    """Keys of the app that sign every delivery; empty: each subscription has a secret of its own."""

    # OAuth
    def authorization_url(self, *, redirect_uri: str, state: str, verifier: str) -> str: ...
    def exchange_code(self, *, code: str, redirect_uri: str, verifier: str) -> Grant: ...
    def refresh(self, refresh_token: str) -> Grant: ...
    def account(self, auth: Auth) -> RemoteAccount: ...

    # webhooks
    def genuine(self, secrets: Iterable[str], headers: Headers, body: bytes) -> bool: ...
    def read_delivery(self, payload: Any) -> Delivery: ...
    def challenge(self, secrets: Sequence[str], payload: Any) -> dict[str, str] | None:
        """The answer to a question by which the provider tests the address; None: it is a delivery."""


class Scheduling(Provider, Protocol):
    """A provider with event types, availability and bookings."""

    def event_types(self, auth: Auth) -> list[RemoteEventType]: ...
    def create_event_type(self, auth: Auth, wanted: Mapping[EventTypeField, Any]) -> RemoteEventType: ...
    def update_event_type(self, auth: Auth, external_id: str, wanted: Mapping[EventTypeField, Any]) -> RemoteEventType: ...
    def event_types_page(self) -> str:
        """Where a person changes what the API cannot."""

    def schedules(self, auth: Auth) -> list[RemoteSchedule]: ...
    def schedules_page(self) -> str: ...

    def free_starts(
        self, auth: Auth, event_type_id: str, *, start: datetime, end: datetime, minutes: int | None, moving: str | None
    ) -> list[datetime]:
        """Bookable starts in [start, end), ascending.

        `minutes` None: the event type's own length. `moving`: that booking does not block itself, where it can be said.
        """

    def busy(self, auth: Auth, *, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """When the account's person is taken between now or `start` and `end`, in its calendars as well, ascending."""

    def bookings(
        self, auth: Auth, *, updated_since: datetime | None, starts_after: datetime, unchanged: Callable[[Occasion], bool]
    ) -> Iterator[RemoteBooking]:
        """At least those updated since then, and all that start later than `starts_after` where that is None.

        What is `unchanged` need not be read; only a provider that reads places one by one asks.
        """

    def booking(self, auth: Auth, external_id: str) -> RemoteBooking | None: ...
    def booking_page(self, external_id: str, action: Literal["move", "cancel"]) -> str | None: ...
    def cancel(self, auth: Auth, external_id: str, *, reason: str | None) -> RemoteBooking: ...

    def subscribe(self, auth: Auth, *, url: str, secret: str) -> str:
        """Make the subscription, or adopt the one that already has this address; returns its id."""

    def subscriptions(self, auth: Auth) -> list[tuple[str, str]]:
        """(id, address) of every subscription of the account, whoever made it."""

    def unsubscribe(self, auth: Auth, external_id: str) -> None: ...
    def subscription_state(self, auth: Auth, external_id: str, url: str) -> Literal["active", "retrying", "disabled", "gone"]: ...


class Bookable(Scheduling, Protocol):
    """One with whom bookings can be made through the API."""

    def draft(self, auth: Auth, wish: BookingWish) -> Draft:
        """Reads what has to be known to word it. Raises Unbookable where the API has no way to book this at all."""

    def book(self, auth: Auth, draft: Draft) -> RemoteBooking:
        """One call; a repeat would book again. A slot that is taken is refused with 400, 404 or 409."""

    def marked(self, auth: Auth, draft: Draft) -> RemoteBooking | None:
        """The booking that bears the draft's mark, whatever became of it."""

    def quotas(self, auth: Auth) -> tuple[Quota, ...]:
        """How many bookings the account may make through the API, as far as that is published."""


class Rescheduling(Scheduling, Protocol):
    """One that can move a booking through its API."""

    def reschedule(self, auth: Auth, external_id: str, *, start: datetime, by_email: str | None, reason: str | None) -> RemoteBooking: ...


class Replacing(Bookable, Protocol):
    """One where a move is a new booking in the place of the old one."""

    def replacement(self, auth: Auth, external_id: str, *, start: datetime, mark: str) -> Draft | None:
        """The same booking at another time; None where a part of it could not be carried over."""


class Deciding(Scheduling, Protocol):
    """One where the host decides on a booking that is PENDING."""

    def confirm(self, auth: Auth, external_id: str) -> RemoteBooking: ...
    def decline(self, auth: Auth, external_id: str, *, reason: str | None) -> RemoteBooking: ...


class ScheduleChanging(Scheduling, Protocol):
    """One that can change schedules through its API."""

    def update_schedule(self, auth: Auth, wanted: RemoteSchedule) -> RemoteSchedule: ...


class Revoking(Provider, Protocol):
    """A provider that can be told to forget a token."""

    def revoke(self, token: str) -> None: ...


class ManagedUsers(Provider, Protocol):
    """A provider whose accounts can be made, and their tokens got, with our own platform credentials."""

    def managed_user(self, *, email: str, name: str, time_zone: str | None) -> RemoteAccount:
        """Make the managed user of this address, or find the one that is there."""

    def refresh_managed_user(self, refresh_token: str) -> Grant: ...
    def force_refresh(self, external_id: str) -> Grant:
        """A new pair for a managed user, with our client credentials instead of a refresh token; every older one dies.

        Raises InvalidGrant when there is no such user.
        """

    def browser_client(self, kind: str) -> BrowserClient | None:
        """What the provider's components are started with, for accounts linked in this way."""


class Meetings(Provider, Protocol):
    """A provider that makes video meetings."""

    def installation_grant(self) -> Grant:
        """A token of the whole account from our own credentials (SERVER_TO_SERVER); no refresh token."""

    def installation_user(self, auth: Auth, email: str) -> RemoteAccount | None:
        """The user of our account who has this address."""

    def create_meeting(self, auth: Auth, host_id: str | None, wanted: MeetingWish) -> RemoteMeeting:
        """`host_id` None: the token's own user."""

    def meeting(self, auth: Auth, external_id: str) -> RemoteMeeting | None: ...
    def update_meeting(self, auth: Auth, external_id: str, wanted: MeetingWish) -> None: ...
    def delete_meeting(self, auth: Auth, external_id: str) -> None:
        """What is gone already counts as deleted."""

    def marked_meetings(self, auth: Auth, host_id: str | None) -> list[tuple[str, RemoteMeeting]]:
        """(mark, meeting) of the host's meetings to come that bear a mark of ours."""
