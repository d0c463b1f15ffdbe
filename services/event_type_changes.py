"""Making and changing an event type of one's own: what a provider cannot set is told, and what is not known is looked up."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_args

from models import EventType, LinkedAccount
from models.base import transactional
from services import availability_cache, event_types, linked_accounts, meetings, tokens
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
    account = event_types.account_of(rt, viewer, slug)
    wanted = wish.fields()
    if "slug" in rt.providers[slug].capabilities.event_type_fields:
        wanted.setdefault("slug", _slug_of(wish.title or ""))
    _check(rt, viewer, slug, wish, wanted, present=None)
    try:
        with event_types.alone(rt, account) as turn:
            event_type_id = event_types.make(rt, account, wanted, turn, **wish.own())
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
        _keep_own(rt, account, row, wish.own())
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
        availability_cache.forget(rt, [account.id])
    _keep(rt, account, row, remote, own)


@transactional
def _keep(rt: Runtime, account: LinkedAccount, row: EventType, remote: RemoteEventType, own: dict[str, bool]) -> None:
    event_types.upsert(rt, account, row.host_id, remote, **own)
    event_types.note(rt, "event_type.updated", account, row.id, event_types.facts(row))


@transactional
def _keep_own(rt: Runtime, account: LinkedAccount, row: EventType, own: dict[str, bool]) -> None:
    EventType.update(**own).where(EventType.id == row.id).execute()
    event_types.note(rt, "event_type.updated", account, row.id, event_types.facts(row))


def _changed(rt: Runtime, account: LinkedAccount, row: EventType, wanted: dict[EventTypeField, Any]) -> RemoteEventType:
    """One call. After a lost answer the list tells whether it was done."""
    try:
        return rt.scheduling(row.provider).update_event_type(tokens.auth_of(account), row.external_id, wanted)
    except OutcomeUnknown:
        found = next((r for r in event_types.sync(rt, account.id) if r.external_id == row.external_id), None)
        if found is None or not event_types.is_as(found, wanted):
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
        remotes = event_types.sync(rt, account.id)
    except (ProviderError, Problem):
        return False
    return any(remote.slug == slug and (row is None or remote.external_id != row.external_id) for remote in remotes)
