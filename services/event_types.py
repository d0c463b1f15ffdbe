"""Event types: kept in step with the provider, listed, and the default set made once."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from models import Booking, EventType, LinkedAccount, User
from models.base import new_id, transactional
from services import availability, claims, linked_accounts, meetings, tokens
from services.errors import (
    FieldProblem,
    InvalidInput,
    NotConnected,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    Problem,
    ProviderError,
    ProviderFailure,
    Refused,
)
from services.identity import Viewer
from services.providers.base import Capabilities, EventTypeField, RemoteEventType
from services.runtime import Runtime

LONGEST_TITLE, LONGEST_DESCRIPTION = 200, 5000
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,78}[a-z0-9])?")
BAD_REQUEST, GONE, CONFLICT = 400, 404, 409


@dataclass(frozen=True)
class DefaultSet:
    """Ids, in the order of the lengths that the setting names."""

    created: list[str]
    existing: list[str]


def sync(rt: Runtime, account_id: str) -> list[RemoteEventType]:
    """Read the account's event types; what is gone there becomes inactive here. Raises ProviderError and Problems."""
    account, asked_at = LinkedAccount.get_by_id(account_id), rt.clock.now()
    remotes = rt.scheduling(account.provider).event_types(tokens.auth_of(account))
    _store(rt, account, remotes, asked_at)
    return remotes


@transactional
def _store(rt: Runtime, account: LinkedAccount, remotes: list[RemoteEventType], asked_at: datetime) -> None:
    host = _host(account)
    for remote in remotes:
        _upsert(rt, account, host, remote)
    seen = [remote.external_id for remote in remotes]
    # what was made after the list was asked for is not on it
    gone = (EventType.linked_account == account.id) & EventType.external_id.not_in(seen) & (EventType.updated_at <= asked_at)
    EventType.update(active=False, linked_account=None).where(gone).execute()


def _upsert(rt: Runtime, account: LinkedAccount, host: str, remote: RemoteEventType, **more: Any) -> str:
    values: dict[str, Any] = {
        "linked_account": account.id,
        "host": host,
        "title": remote.title,
        "slug": remote.slug,
        "description": remote.description,
        "duration_minutes": remote.duration_minutes,
        "duration_options": list(remote.duration_options),
        "active": remote.active,
        "hidden": remote.hidden,
        "requires_confirmation": remote.requires_confirmation,
        "is_group": remote.is_group,
        "scheduling_url": remote.scheduling_url,
        **more,
    }
    rows = list(
        EventType.insert(id=new_id(), provider=account.provider, external_id=remote.external_id, **values)
        .on_conflict(
            conflict_target=[EventType.provider, EventType.external_id],
            update={getattr(EventType, k): v for k, v in values.items()},
        )
        .returning(EventType.id)
        .tuples()
        .execute()
    )
    event_type_id: str = rows[0][0]
    # bookings that were read before their event type was
    unnamed = Booking.event_type.is_null() & (Booking.provider == account.provider)
    if Booking.update(event_type=event_type_id).where(unnamed & (Booking.event_type_external_id == remote.external_id)).execute():
        meetings.plan_for_event_type(rt, event_type_id)
    return event_type_id


def create_defaults(rt: Runtime, viewer: Viewer, slug: str) -> DefaultSet:
    """The default set (CONVENE_DEFAULT_EVENT_TYPE_MINUTES), made once, however often and concurrently this is called.

    A length counts as there when we made a type of it (by its recorded id) or a visible type has it. The provider is
    asked first, and again after an answer that was lost. Raises NotConnected, ConnectionUnusable and ProviderFailure.
    """
    account = _account(rt, viewer, slug)
    claims.schedule("event_types", account.id, rt.clock.now())
    created: list[str] = []
    existing: list[str] = []
    try:
        with _alone(rt, account) as turn:
            sync(rt, account.id)
            for minutes in rt.settings.default_event_type_minutes:
                found = _present(account.id, minutes)
                if found:
                    existing.append(found)
                else:
                    event_type_id, made = _create_default(rt, account, minutes, turn)
                    (created if made else existing).append(event_type_id)
    except ProviderError as error:
        raise linked_accounts.failure(rt, slug, error) from error
    return DefaultSet(created, existing)


def _account(rt: Runtime, viewer: Viewer, slug: str) -> LinkedAccount:
    if not rt.providers[slug].capabilities.scheduling:
        raise linked_accounts.not_scheduling(rt, slug)
    return linked_accounts.find(viewer, slug)


def _alone(rt: Runtime, account: LinkedAccount) -> AbstractContextManager[claims.Exclusive]:
    """One maker of event types per account: not every provider refuses a second one of the same name."""
    return claims.exclusive(rt, "making_event_types", account.id)


def _present(account_id: str, minutes: int) -> str | None:
    visible = EventType.is_default | ~EventType.hidden
    row = (
        EventType.select(EventType.id)
        .where((EventType.linked_account == account_id) & EventType.active & (EventType.duration_minutes == minutes) & visible)
        .order_by(EventType.is_default.desc(), EventType.id)
        .tuples()
        .first()
    )
    return row[0] if row else None


def _create_default(rt: Runtime, account: LinkedAccount, minutes: int, turn: claims.Exclusive) -> tuple[str, bool]:
    """(id, was it made now). Where there are slugs, ours tells it; a lost answer or a refusal: it may be there."""
    slug, title = f"{minutes}-minute-meeting", f"{minutes}-minute meeting"
    wanted: dict[EventTypeField, Any] = {"title": title, "slug": slug, "duration_minutes": minutes}
    if "slug" not in rt.providers[account.provider].capabilities.event_type_fields:
        del wanted["slug"]
    try:
        return _make(rt, account, wanted, turn, is_default=True), True
    except Refused:
        found = next((r for r in sync(rt, account.id) if r.slug == slug and r.duration_minutes == minutes), None)
        if found is None:
            raise
        # somebody else's is in the way and counts as there
        return _upsert(rt, account, _host(account), found, is_default=True), False


def _host(account: LinkedAccount) -> str:
    return str(User.get_by_id(account.user_id).person_id)


def _make(rt: Runtime, account: LinkedAccount, wanted: dict[EventTypeField, Any], turn: claims.Exclusive, **more: Any) -> str:
    """One call. After a lost answer the list tells: what is new there and as we wished it is ours."""
    provider, auth = rt.scheduling(account.provider), tokens.auth_of(account)
    before = {row[0] for row in EventType.select(EventType.external_id).where(EventType.linked_account == account.id).tuples()}
    try:
        remote = provider.create_event_type(auth, wanted)
    except OutcomeUnknown:
        if "slug" not in wanted:  # else a second one would be refused
            turn.hold = provider.capabilities.processing_limit
        found = next((r for r in sync(rt, account.id) if r.external_id not in before and _is_as(r, wanted)), None)
        if found is None:
            raise
        turn.hold, remote = None, found
    return _upsert(rt, account, _host(account), remote, **more)


def _is_as(remote: RemoteEventType, wanted: Mapping[EventTypeField, Any]) -> bool:
    """Whether everything that was asked for is so there; lengths to choose from may have been added to."""
    options = set(wanted.get("duration_options") or ())
    rest = {name: value for name, value in wanted.items() if name != "duration_options"}
    return options <= set(remote.duration_options) and all(
        (getattr(remote, name) or None) == (value or None) for name, value in rest.items()
    )


# ---- one of the viewer's own ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wish:
    """What an event type is to be; None: as it is, or the provider's default. The last two are Convene's own."""

    title: str | None = None
    slug: str | None = None
    description: str | None = None
    duration_minutes: int | None = None
    duration_options: tuple[int, ...] | None = None
    hidden: bool | None = None
    requires_confirmation: bool | None = None
    active: bool | None = None
    creates_meeting: bool | None = None
    records_meeting: bool | None = None

    def fields(self) -> dict[EventTypeField, Any]:
        found = {name: value for name in get_args(EventTypeField) if (value := getattr(self, name)) is not None}
        if self.title is not None:
            found["title"] = self.title.strip()
        return found

    def own(self) -> dict[str, bool]:
        names = ("creates_meeting", "records_meeting")
        found = {name: value for name in names if (value := getattr(self, name)) is not None}
        # what is not made is not recorded either
        return found | ({"records_meeting": False} if self.creates_meeting is False else {})


def create(rt: Runtime, viewer: Viewer, slug: str, wish: Wish) -> str:
    """Make an event type that can be booked at once; answers its id.

    Raises NotConnected, NotSupported, InvalidInput, ConnectionUnusable and ProviderFailure.
    """
    account = _account(rt, viewer, slug)
    wanted = wish.fields()
    if "slug" in rt.providers[slug].capabilities.event_type_fields:
        wanted.setdefault("slug", _slug_of(wish.title or ""))
    _check(rt, viewer, slug, wish, wanted, present=None)
    try:
        with _alone(rt, account) as turn:
            event_type_id = _make(rt, account, wanted, turn, **wish.own())
    except ProviderError as error:
        raise _refusal(rt, account, None, wanted, error) from error
    return event_type_id


def update(rt: Runtime, viewer: Viewer, event_type_id: str, wish: Wish) -> str:
    """Change one of the viewer's own; what is not named stays. Raises like `create`, and NotFound."""
    row = EventType.get_or_none((EventType.id == event_type_id) & (EventType.host == viewer.person_id))
    account = LinkedAccount.get_or_none((LinkedAccount.id == row.linked_account_id) & LinkedAccount.connected) if row else None
    if row is None or account is None or account.user_id != viewer.user_id:
        raise NotFound("There is no such event type of yours.")
    wanted = wish.fields()
    _check(rt, viewer, row.provider, wish, wanted, present=row)
    if wanted:
        _change(rt, account, row, wanted, wish.own())
    elif wish.own():
        EventType.update(**wish.own()).where(EventType.id == row.id).execute()
    if wish.own():
        meetings.plan_for_event_type(rt, row.id)
        rt.wake("work")
    return event_type_id


def _change(rt: Runtime, account: LinkedAccount, row: EventType, wanted: dict[EventTypeField, Any], own: dict[str, bool]) -> None:
    if {"duration_minutes", "duration_options"} & set(wanted):
        # a provider may want to be told all lengths at once, the own one among them
        wanted.setdefault("duration_minutes", row.duration_minutes)
        if row.duration_options:
            wanted.setdefault("duration_options", tuple(row.duration_options))
    try:
        remote = _changed(rt, account, row, wanted)
    except ProviderError as error:
        raise _refusal(rt, account, row, wanted, error) from error
    finally:
        availability.forget(rt, [account.id])
    _upsert(rt, account, row.host_id, remote, **own)


def _changed(rt: Runtime, account: LinkedAccount, row: EventType, wanted: dict[EventTypeField, Any]) -> RemoteEventType:
    """One call. After a lost answer the list tells whether it was done."""
    try:
        return rt.scheduling(row.provider).update_event_type(tokens.auth_of(account), row.external_id, wanted)
    except OutcomeUnknown:
        found = next((r for r in sync(rt, account.id) if r.external_id == row.external_id), None)
        if found is None or not _is_as(found, wanted):
            raise
        return found


def _slug_of(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80] or "meeting"


def _check(rt: Runtime, viewer: Viewer, slug: str, wish: Wish, wanted: dict[EventTypeField, Any], *, present: EventType | None) -> None:
    provider = rt.scheduling(slug)
    can = provider.capabilities
    impossible = sorted(set(wanted) - can.event_type_fields)
    if impossible:
        names = ", ".join(_camel(name) for name in impossible)
        raise NotSupported(
            f"{provider.label} does not let {names} be set from outside. Set it there: {provider.event_types_page()}",
            *(_camel(name) for name in impossible),
        )
    if problems := list(_problems(wish, can, present)):
        raise InvalidInput(*problems)
    if wish.creates_meeting and not any(rt.providers[a.provider].capabilities.meetings for a in linked_accounts.mine(viewer)):
        makers = " or ".join(p.label for p in rt.providers.values() if p.capabilities.meetings)
        raise NotConnected(f"Connect {makers} first (connectProvider): the meetings are made in your account.")


def _problems(wish: Wish, can: Capabilities, present: EventType | None) -> Iterator[FieldProblem]:
    if wish.title is not None and not 1 <= len(wish.title.strip()) <= LONGEST_TITLE:
        yield FieldProblem(("title",), f"The title must have 1 to {LONGEST_TITLE} characters.")
    if wish.slug is not None and not SLUG.fullmatch(wish.slug):
        yield FieldProblem(("slug",), "A slug has 1 to 80 small letters, digits and hyphens.")
    if wish.description is not None and len(wish.description) > LONGEST_DESCRIPTION:
        yield FieldProblem(("description",), f"The description may have at most {LONGEST_DESCRIPTION} characters.")
    if wish.duration_minutes is not None and not 1 <= wish.duration_minutes <= can.longest_minutes:
        yield FieldProblem(("durationMinutes",), f"A length is 1 to {can.longest_minutes} minutes here.")
    options = wish.duration_options or ()
    if len(options) > can.most_durations or len(set(options)) != len(options):
        yield FieldProblem(("durationOptions",), f"At most {can.most_durations} different lengths can be offered here.")
    if not all(1 <= minutes <= can.longest_minutes for minutes in options):
        yield FieldProblem(("durationOptions",), f"A length is 1 to {can.longest_minutes} minutes here.")
    makes = present.creates_meeting if wish.creates_meeting is None and present else wish.creates_meeting
    if wish.records_meeting and not makes:
        yield FieldProblem(("recordsMeeting",), "Only meetings that Convene makes can be recorded: set createsZoomMeeting as well.")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.title() for part in others)


def _refusal(
    rt: Runtime, account: LinkedAccount, row: EventType | None, wanted: Mapping[EventTypeField, Any], error: ProviderError
) -> Problem:
    """The provider's 400 and 409 are about what was asked for, which the person can change; a 404 about what is gone."""
    label = rt.providers[account.provider].label
    if isinstance(error, Refused) and error.status == GONE and row is not None:
        EventType.update(active=False, linked_account=None).where(EventType.id == row.id).execute()
        return NotFound(f"{label} no longer has this event type.")
    if isinstance(error, Refused) and error.status in {BAD_REQUEST, CONFLICT}:
        if "slug" in wanted and (error.status == CONFLICT or _slug_is_taken(rt, account, row, wanted["slug"])):
            return InvalidInput.of("slug", f"{label} has an event type with this slug already. Choose another one.")
        return InvalidInput.of("title", f"{label} does not accept this event type as it is. Look at its values once more.")
    if isinstance(error, OutcomeUnknown):
        return ProviderFailure(
            f"{label} did not answer, so it is not known whether this was done. Look at the list before you try again.",
            retry_at=rt.clock.now() + timedelta(seconds=30),
        )
    return linked_accounts.failure(rt, account.provider, error)


def _slug_is_taken(rt: Runtime, account: LinkedAccount, row: EventType | None, slug: str) -> bool:
    """By another one of the account, as the provider has them now: its own text is not relied on."""
    try:
        remotes = sync(rt, account.id)
    except (ProviderError, Problem):
        return False
    return any(remote.slug == slug and (row is None or remote.external_id != row.external_id) for remote in remotes)


def visible_to(viewer: Viewer, host_id: str) -> Any:
    """The condition under which event types of a host are listed: bookable public ones for anybody, all for oneself."""
    condition = (EventType.host == host_id) & EventType.linked_account.in_(connected_accounts())
    return condition if host_id == viewer.person_id else condition & EventType.active & ~EventType.hidden


def connected_accounts() -> Any:
    return LinkedAccount.select(LinkedAccount.id).where(LinkedAccount.connected)
