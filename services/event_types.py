"""Event types: kept in step with the provider, listed, and the default set made once."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import Booking, EventType, LinkedAccount, User
from models.base import new_id, transactional
from services import audit, claims, linked_accounts, meetings, tokens
from services.errors import (
    OutcomeUnknown,
    ProviderError,
    Refused,
)
from services.identity import Viewer
from services.providers.base import EventTypeField, RemoteEventType
from services.runtime import Runtime

AUDITED = (
    "title",
    "slug",
    "description",
    "duration_minutes",
    "duration_options",
    "active",
    "hidden",
    "requires_confirmation",
    "creates_meeting",
    "records_meeting",
)


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
        upsert(rt, account, host, remote)
    seen = [remote.external_id for remote in remotes]
    # what was made after the list was asked for is not on it
    gone = (EventType.linked_account == account.id) & EventType.external_id.not_in(seen) & (EventType.updated_at <= asked_at)
    EventType.update(active=False, linked_account=None).where(gone).execute()


def upsert(rt: Runtime, account: LinkedAccount, host: str, remote: RemoteEventType, **more: Any) -> str:
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
        "questions": [[one.key, one.text, one.required, list(one.choices)] for one in remote.questions],
        "buffer_before": remote.buffer_before,
        "buffer_after": remote.buffer_after,
        "notice_minutes": remote.notice_minutes,
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
    account = account_of(rt, viewer, slug)
    claims.schedule("event_types", account.id, rt.clock.now())
    created: list[str] = []
    existing: list[str] = []
    try:
        with alone(rt, account) as turn:
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


def account_of(rt: Runtime, viewer: Viewer, slug: str) -> LinkedAccount:
    if not rt.providers[slug].capabilities.scheduling:
        raise linked_accounts.not_scheduling(rt, slug)
    return linked_accounts.find(viewer, slug)


def alone(rt: Runtime, account: LinkedAccount) -> AbstractContextManager[claims.Exclusive]:
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
        return make(rt, account, wanted, turn, is_default=True), True
    except Refused:
        found = next((r for r in sync(rt, account.id) if r.slug == slug and r.duration_minutes == minutes), None)
        if found is None:
            raise
        # somebody else's is in the way and counts as there
        return upsert(rt, account, _host(account), found, is_default=True), False


def _host(account: LinkedAccount) -> str:
    return str(User.get_by_id(account.user_id).person_id)


def make(rt: Runtime, account: LinkedAccount, wanted: dict[EventTypeField, Any], turn: claims.Exclusive, **more: Any) -> str:
    """One call. After a lost answer the list tells: what is new there and as we wished it is ours."""
    provider, auth = rt.scheduling(account.provider), tokens.auth_of(account)
    before = {row[0] for row in EventType.select(EventType.external_id).where(EventType.linked_account == account.id).tuples()}
    try:
        remote = provider.create_event_type(auth, wanted)
    except OutcomeUnknown:
        if "slug" not in wanted:  # else a second one would be refused
            turn.hold = provider.capabilities.processing_limit
        found = next((r for r in sync(rt, account.id) if r.external_id not in before and is_as(r, wanted)), None)
        if found is None:
            raise
        turn.hold, remote = None, found
    return _keep_made(rt, account, remote, more)


@transactional
def _keep_made(rt: Runtime, account: LinkedAccount, remote: RemoteEventType, more: Mapping[str, Any]) -> str:
    event_type_id = upsert(rt, account, _host(account), remote, **more)
    note(rt, "event_type.created", account, event_type_id, {})
    return event_type_id


def note(rt: Runtime, action: str, account: LinkedAccount, event_type_id: str, before: Mapping[str, Any]) -> None:
    """Write down that one was made or changed through us, inside the transaction that keeps it. `before`: its `facts`."""
    was, now = audit.difference(before, facts(EventType.get_by_id(event_type_id)))
    if now:
        audit.record(rt, action, ("EventType", event_type_id), before=was if before else None, after=now, owner=account.user_id)


def facts(row: EventType) -> dict[str, Any]:
    return {name: getattr(row, name) for name in AUDITED}


def is_as(remote: RemoteEventType, wanted: Mapping[EventTypeField, Any]) -> bool:
    """Whether everything that was asked for is so there; lengths to choose from may have been added to."""
    options = set(wanted.get("duration_options") or ())
    rest = {name: value for name, value in wanted.items() if name != "duration_options"}
    return options <= set(remote.duration_options) and all(
        (getattr(remote, name) or None) == (value or None) for name, value in rest.items()
    )


def visible_to(viewer: Viewer, host_id: str) -> Any:
    """The condition under which event types of a host are listed: bookable public ones for anybody, all for oneself."""
    condition = (EventType.host == host_id) & EventType.linked_account.in_(connected_accounts())
    return condition if host_id == viewer.person_id else condition & EventType.active & ~EventType.hidden


def connected_accounts() -> Any:
    return LinkedAccount.select(LinkedAccount.id).where(LinkedAccount.connected)
