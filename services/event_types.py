"""Event types: kept in step with the provider, listed, and the default set made once."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import EventType, LinkedAccount, User
from models.base import new_id, transactional
from services import claims, linked_accounts
from services.errors import OutcomeUnknown, ProviderError, Refused
from services.identity import Viewer
from services.providers.base import AccountAuth, RemoteEventType
from services.runtime import Runtime


@dataclass(frozen=True)
class DefaultSet:
    """Ids, in the order of the lengths that the setting names."""

    created: list[str]
    existing: list[str]


def sync(rt: Runtime, account_id: str) -> list[RemoteEventType]:
    """Read the account's event types; what is gone there becomes inactive here. Raises ProviderError and Problems."""
    account, asked_at = LinkedAccount.get_by_id(account_id), rt.clock.now()
    remotes = rt.providers[account.provider].event_types(AccountAuth(account_id))
    _store(account, remotes, asked_at)
    return remotes


@transactional
def _store(account: LinkedAccount, remotes: list[RemoteEventType], asked_at: datetime) -> None:
    host = User.get_by_id(account.user_id).person_id
    for remote in remotes:
        _upsert(account, host, remote)
    seen = [remote.external_id for remote in remotes]
    # what was made after the list was asked for is not on it
    gone = (
        (EventType.linked_account == account.id)
        & EventType.active
        & EventType.external_id.not_in(seen)
        & (EventType.updated_at <= asked_at)
    )
    EventType.update(active=False).where(gone).execute()


def _upsert(account: LinkedAccount, host: str, remote: RemoteEventType, **more: Any) -> str:
    values: dict[str, Any] = {
        "linked_account": account.id,
        "host": host,
        "title": remote.title,
        "slug": remote.slug,
        "description": remote.description,
        "duration_minutes": remote.duration_minutes,
        "duration_options": list(remote.duration_options),
        "active": True,
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
    return event_type_id


def create_defaults(rt: Runtime, viewer: Viewer, slug: str) -> DefaultSet:
    """The default set (CONVENE_DEFAULT_EVENT_TYPE_MINUTES), made once, however often and concurrently this is called.

    A length counts as there when we made a type of it (by its recorded id) or a visible type has it. The provider is
    asked first, and again after an answer that was lost. Raises NotConnected, ConnectionUnusable and ProviderFailure.
    """
    account = linked_accounts.find(viewer, slug)
    claims.schedule("event_types", account.id, rt.clock.now())
    created: list[str] = []
    existing: list[str] = []
    try:
        sync(rt, account.id)
        for minutes in rt.settings.default_event_type_minutes:
            found = _present(account.id, minutes)
            if found:
                existing.append(found)
            else:
                event_type_id, made = _create(rt, account, minutes)
                (created if made else existing).append(event_type_id)
    except ProviderError as error:
        raise linked_accounts.failure(rt, slug, error) from error
    return DefaultSet(created, existing)


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


def _create(rt: Runtime, account: LinkedAccount, minutes: int) -> tuple[str, bool]:
    """Create one; the slug is the claim. Two at once, or a lost answer: the provider has it, and it is found by its slug."""
    auth, provider = AccountAuth(account.id), rt.providers[account.provider]
    host = User.get_by_id(account.user_id).person_id
    slug = f"{minutes}-minute-meeting"
    try:
        remote = provider.create_event_type(auth, title=f"{minutes}-minute meeting", slug=slug, minutes=minutes)
        return _upsert(account, host, remote, is_default=True), True
    except (OutcomeUnknown, Refused) as error:
        found = next((r for r in sync(rt, account.id) if r.slug == slug and r.duration_minutes == minutes), None)
        if found is None:
            raise
        # refused: somebody else's is in the way and counts as there; unknown: it was absent a moment ago, so it is ours
        return _upsert(account, host, found, is_default=True), isinstance(error, OutcomeUnknown)


def visible_to(viewer: Viewer, host_id: str) -> Any:
    """The condition under which event types of a host are listed: public ones for anybody, all for oneself."""
    condition = (EventType.host == host_id) & EventType.active & EventType.linked_account.in_(connected_accounts())
    return condition if host_id == viewer.person_id else condition & ~EventType.hidden


def connected_accounts() -> Any:
    return LinkedAccount.select(LinkedAccount.id).where(LinkedAccount.connected)
