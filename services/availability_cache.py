"""What providers told of free and busy times, kept by linked account, subject and UTC day, with the time it was told."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import EXCLUDED

from models import AvailabilityCache, LinkedAccount
from models.base import new_id, to_ms
from models.prepared import Prepared, among
from services.runtime import Runtime

KEPT_FOR = timedelta(days=2)

Days = dict[str, tuple[list[Any], datetime]]
"""By UTC day: what was told, and when."""


def days_of(start: datetime, end: datetime) -> list[str]:
    first, last = start.astimezone(UTC).date(), (end - timedelta(microseconds=1)).astimezone(UTC).date()
    return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


def known(account_id: str, key: str, days: list[str]) -> Days:
    rows = AvailabilityCache.select().where(
        (AvailabilityCache.linked_account == account_id) & (AvailabilityCache.subject == key) & AvailabilityCache.day.in_(days)
    )
    return {row.day: (row.starts, row.as_of) for row in rows}


def keep(account_id: str, key: str, days: Days) -> None:
    """One statement. An answer that is older than what another thread stored, or than the last news, is not kept."""
    as_of = next(iter(days.values()))[1]
    row = LinkedAccount.select(LinkedAccount.calendar_changed_at).where(LinkedAccount.id == account_id).tuples().first()
    if row is None or (row[0] is not None and row[0] > as_of):
        return
    rows = [
        {"id": new_id(), "linked_account": account_id, "subject": key, "day": day, "starts": starts, "as_of": as_of}
        for day, (starts, _) in days.items()
    ]
    list(
        AvailabilityCache.insert_many(rows)
        .on_conflict(
            conflict_target=[AvailabilityCache.linked_account, AvailabilityCache.subject, AvailabilityCache.day],
            update={AvailabilityCache.starts: EXCLUDED.starts, AvailabilityCache.as_of: EXCLUDED.as_of},
            where=AvailabilityCache.as_of <= as_of,
        )
        .returning(AvailabilityCache.id)
        .tuples()
        .execute()
    )


def forget(rt: Runtime, account_ids: Sequence[str]) -> None:
    """Something changed in these accounts' calendars: what is cached, or on its way from before, no longer holds."""
    _changed(account_ids, to_ms(rt.clock.now()))
    _forgotten(account_ids)


@Prepared
def _changed(account_ids: Any, now: Any) -> Any:
    return LinkedAccount.update(calendar_changed_at=now).where(among(LinkedAccount.id, account_ids))


@Prepared
def _forgotten(account_ids: Any) -> Any:
    return AvailabilityCache.delete().where(among(AvailabilityCache.linked_account, account_ids))


def clean_up(rt: Runtime) -> int:
    return int(AvailabilityCache.delete().where(AvailabilityCache.as_of < rt.clock.now() - KEPT_FOR).execute())
