"""What every provider is to Convene: a Protocol, its capabilities, and provider-neutral data.

Nothing here knows models or decides anything. Times are aware and in UTC.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

from pydantic_settings import BaseSettings


class ProviderSettings(BaseSettings):
    """The settings of one provider; the variables' prefix is CONVENE_<SLUG>_."""

    api_url: str
    client_id: str
    client_secret: str


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do at all, so that services ask this and never its name."""

    revocation: bool
    """OAuth tokens can be revoked by a call."""
    reschedules: bool
    """A booking can be moved through the API."""
    webhooks: bool
    processing_limit: timedelta
    """Longest time the provider may still be working on a request whose answer was lost."""
    slots_window: timedelta
    """Longest window of one availability call; longer ones are asked for in pieces."""


class Headers(Protocol):
    """Request headers, looked up without regard to case."""

    def get(self, name: str, default: str, /) -> str: ...


@dataclass(frozen=True)
class AccountAuth:
    """Call with the linked account's token; the transport gets, renews and never shows it."""

    account_id: str


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

    def lacks_scopes(self, account_id: str, scopes: Sequence[str]) -> None:
        """The provider answered that the account's token lacks these scopes. Raises ConnectionUnusable."""


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

    `previous_id` and `next_id` link the bookings that a provider makes of one meeting when it is moved.
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


@dataclass(frozen=True)
class Delivery:
    """What a webhook says, as far as it is believed without reading back.

    `booking_ids` are to be read back; `requested_id` was pending at the time of the event; empty ids: nothing to do.
    `sent_at`: when the provider says it made it, where it is part of what is signed.
    """

    kind: str
    booking_ids: tuple[str, ...] = field(default=(), repr=False)
    requested_id: str | None = field(default=None, repr=False)
    sent_at: datetime | None = None


class Provider(Protocol):
    """One scheduling provider. Every call may raise services.errors.ProviderError and, with AccountAuth, Problems."""

    slug: ClassVar[str]
    enum_name: ClassVar[str]
    label: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    required_scopes: ClassVar[tuple[str, ...]]
    settings: ClassVar[Any]
    """The subclass of ProviderSettings that says what can be set."""
    managed_users: bool
    """Accounts can be made, and their tokens got, with our own platform credentials."""

    # OAuth
    def authorization_url(self, *, redirect_uri: str, state: str, verifier: str) -> str: ...
    def exchange_code(self, *, code: str, redirect_uri: str, verifier: str) -> Grant: ...
    def refresh(self, refresh_token: str) -> Grant: ...

    # managed users, and components in the browser
    def managed_user(self, *, email: str, name: str, time_zone: str | None) -> RemoteAccount:
        """Make the managed user of this address, or find the one that is there."""

    def refresh_managed_user(self, refresh_token: str) -> Grant: ...
    def force_refresh(self, external_id: str) -> Grant:
        """A new pair for a managed user, with our client credentials instead of a refresh token; every older one dies.

        Raises InvalidGrant when there is no such user.
        """

    def browser_client(self, kind: str) -> BrowserClient | None:
        """For accounts linked in this way; None: the provider has no such components."""

    # reading
    def account(self, auth: Auth) -> RemoteAccount: ...
    def event_types(self, auth: Auth) -> list[RemoteEventType]: ...
    def free_starts(
        self, auth: Auth, event_type_id: str, *, start: datetime, end: datetime, minutes: int | None, moving: str | None
    ) -> list[datetime]:
        """Bookable starts in [start, end), ascending.

        `minutes` None: the event type's own length. `moving`: that booking does not block itself.
        """

    def bookings(self, auth: Auth, *, updated_since: datetime | None, starts_after: datetime | None) -> Iterator[RemoteBooking]: ...
    def booking(self, auth: Auth, external_id: str) -> RemoteBooking | None: ...
    def booking_page(self, external_id: str) -> str | None: ...

    # writing
    def create_event_type(self, auth: Auth, *, title: str, slug: str, minutes: int) -> RemoteEventType: ...
    def reschedule(self, auth: Auth, external_id: str, *, start: datetime, by_email: str | None, reason: str | None) -> RemoteBooking: ...
    def cancel(self, auth: Auth, external_id: str, *, reason: str | None) -> RemoteBooking: ...

    # webhooks
    def subscribe(self, auth: Auth, *, url: str, secret: str) -> str:
        """Make the subscription, or adopt the one that already has this address; returns its id."""

    def subscriptions(self, auth: Auth) -> list[tuple[str, str]]:
        """(id, address) of every subscription of the account, whoever made it."""

    def unsubscribe(self, auth: Auth, external_id: str) -> None: ...
    def subscription_alive(self, auth: Auth, external_id: str, url: str) -> bool: ...
    def genuine(self, secrets: Iterable[str], headers: Headers, body: bytes) -> bool: ...
    def read_delivery(self, payload: Any) -> Delivery: ...
