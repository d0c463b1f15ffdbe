"""Working hours: read regularly, since no provider tells when they change, and changed where the provider allows it."""

import re
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

from models import LinkedAccount, Schedule
from models.base import new_id, transactional
from services import audit, availability_cache, linked_accounts, tokens
from services.errors import (
    ConnectionUnusable,
    FieldProblem,
    InvalidInput,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    ProviderError,
    ProviderFailure,
    Refused,
)
from services.identity import Viewer
from services.logging import get_logger
from services.providers.base import Hours, RemoteSchedule
from services.runtime import Runtime

log = get_logger("schedules")

CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
LONGEST_NAME = 200
MOST_RULES = 100
GONE = 404

Weekly = list[tuple[int, list[Hours]]]
Overrides = list[tuple[date, list[Hours]]]


@dataclass(frozen=True)
class Change:
    """What is to be different of a schedule; None: as it is. `weekly` by ISO weekday, what is not named is closed."""

    name: str | None = None
    time_zone: str | None = None
    weekly: Weekly | None = None
    overrides: Overrides | None = None


def sync(rt: Runtime, account_id: str) -> None:
    """Read the account's schedules; a difference makes what is known of free slots out of date. Raises what the provider does."""
    account = LinkedAccount.get_by_id(account_id)
    remotes = rt.scheduling(account.provider).schedules(tokens.auth_of(account))
    if _store(account, remotes):
        availability_cache.forget(rt, [account_id])


def mine(rt: Runtime, viewer: Viewer, slug: str | None) -> list[Schedule]:
    """The viewer's schedules at every linked provider (or one), the default first. Asks a provider only the first time."""
    found: list[Schedule] = []
    for account in linked_accounts.mine(viewer):
        if slug not in {None, account.provider} or not rt.providers[account.provider].capabilities.scheduling:
            continue
        rows = _rows(account)
        if not rows:
            try:
                sync(rt, account.id)
            except (ProviderError, ProviderFailure, ConnectionUnusable) as error:
                log.warning("schedules cannot be read", account=account.id, error_code=error.code)
            rows = _rows(account)
        found += rows
    return found


def _rows(account: LinkedAccount) -> list[Schedule]:
    query = Schedule.select().where(Schedule.linked_account == account.id)
    return list(query.order_by(Schedule.is_default.desc(), Schedule.name, Schedule.id))


def update(rt: Runtime, viewer: Viewer, schedule_id: str, change: Change) -> Schedule:
    """Change the viewer's own schedule. Raises NotFound, InvalidInput, NotSupported, ConnectionUnusable, ProviderFailure."""
    row = Schedule.get_or_none(Schedule.id == schedule_id)
    account = LinkedAccount.get_or_none((LinkedAccount.id == row.linked_account_id) & LinkedAccount.connected) if row else None
    if row is None or account is None or account.user_id != viewer.user_id:
        raise NotFound("There is no such schedule.")
    provider = rt.scheduling(row.provider)
    if not provider.capabilities.schedule_changes:
        raise NotSupported(f"{provider.label} has no way to change a schedule from outside. Change it there: {provider.schedules_page()}")
    _check(change)
    present = remote_of(row)
    wanted = RemoteSchedule(
        external_id=present.external_id,
        name=present.name if change.name is None else change.name.strip(),
        time_zone=change.time_zone or present.time_zone,
        is_default=present.is_default,
        weekly=present.weekly if change.weekly is None else _sorted(change.weekly),
        overrides=present.overrides if change.overrides is None else _sorted(change.overrides),
    )
    try:
        _keep(rt, account, present, _changed(rt, account, wanted), row.id)
    except Refused as error:
        if error.status == GONE:
            Schedule.delete().where(Schedule.id == row.id).execute()
            raise NotFound(f"{provider.label} no longer has this schedule.") from error
        raise linked_accounts.failure(rt, row.provider, error) from error
    except ProviderError as error:
        raise linked_accounts.failure(rt, row.provider, error) from error
    finally:
        availability_cache.forget(rt, [account.id])
    updated: Schedule = Schedule.get_by_id(row.id)
    return updated


def _changed(rt: Runtime, account: LinkedAccount, wanted: RemoteSchedule) -> RemoteSchedule:
    """One call. After a lost answer the provider's list tells whether it was done."""
    provider, auth = rt.schedule_changing(account.provider), tokens.auth_of(account)
    try:
        return provider.update_schedule(auth, wanted)
    except OutcomeUnknown:
        remotes = provider.schedules(auth)
        _store(account, remotes)
        found = next((remote for remote in remotes if remote.external_id == wanted.external_id), None)
        if found is None or _values(found) != _values(wanted):
            raise
        return found


@transactional
def _keep(rt: Runtime, account: LinkedAccount, present: RemoteSchedule, remote: RemoteSchedule, schedule_id: str) -> None:
    _upsert(account, remote)
    before, after = audit.difference(_values(present), _values(remote))
    if after:
        audit.record(rt, "schedule.updated", ("Schedule", schedule_id), before=before, after=after, owner=account.user_id)


def _sorted(rules: Any) -> Any:
    return tuple((day, tuple(sorted(hours, key=lambda one: one.start))) for day, hours in sorted(rules, key=lambda rule: rule[0]))


def _check(change: Change) -> None:
    problems = []
    if change.name is not None and not 1 <= len(change.name.strip()) <= LONGEST_NAME:
        problems.append(FieldProblem(("name",), f"The name must have 1 to {LONGEST_NAME} characters."))
    for field, rules in (("weekly", change.weekly), ("overrides", change.overrides)):
        if rules is not None:
            problems += _rule_problems(field, rules)
    if problems:
        raise InvalidInput(*problems)


def _rule_problems(field: str, rules: Any) -> list[FieldProblem]:
    if len(rules) > MOST_RULES:
        return [FieldProblem((field,), f"At most {MOST_RULES} entries are taken.")]
    if len({day for day, _ in rules}) != len(rules):
        return [FieldProblem((field,), "Each day may stand there once; put all its hours into one entry.")]
    found = []
    for number, (_, hours) in enumerate(rules):
        path = (field, str(number), "hours")
        if not all(CLOCK.fullmatch(one.start) and CLOCK.fullmatch(one.end) for one in hours):
            found.append(FieldProblem(path, "Write times as 09:00, and the end of the day as 24:00."))
            continue
        ordered = sorted(hours, key=lambda one: one.start)
        overlapping = any(before.end > after.start for before, after in pairwise(ordered))
        if overlapping or any(one.start >= one.end for one in hours):
            found.append(FieldProblem(path, "Hours must end after they start and may not overlap."))
    return found


# ---- rows -------------------------------------------------------------------------------------------------------------------


def remote_of(row: Schedule) -> RemoteSchedule:
    return RemoteSchedule(
        external_id=row.external_id,
        name=row.name,
        time_zone=row.time_zone,
        is_default=row.is_default,
        weekly=tuple((day, tuple(Hours(*one) for one in hours)) for day, hours in row.weekly),
        overrides=tuple((date.fromisoformat(day), tuple(Hours(*one) for one in hours)) for day, hours in row.overrides),
    )


@transactional
def _store(account: LinkedAccount, remotes: list[RemoteSchedule]) -> bool:
    before = {row.external_id: _values(remote_of(row)) for row in _rows(account)}
    for remote in remotes:
        _upsert(account, remote)
    ids = [remote.external_id for remote in remotes]
    Schedule.delete().where((Schedule.linked_account == account.id) & Schedule.external_id.not_in(ids)).execute()
    return bool(before) and before != {remote.external_id: _values(remote) for remote in remotes}


def _upsert(account: LinkedAccount, remote: RemoteSchedule) -> None:
    values = _values(remote)
    list(
        Schedule.insert(id=new_id(), linked_account=account.id, provider=account.provider, external_id=remote.external_id, **values)
        .on_conflict(
            conflict_target=[Schedule.linked_account, Schedule.external_id],
            update={getattr(Schedule, name): value for name, value in values.items()},
        )
        .returning(Schedule.id)
        .tuples()
        .execute()
    )


def _values(remote: RemoteSchedule) -> dict[str, Any]:
    return {
        "name": remote.name,
        "time_zone": remote.time_zone,
        "is_default": remote.is_default,
        "weekly": [[day, [[one.start, one.end] for one in hours]] for day, hours in remote.weekly],
        "overrides": [[day.isoformat(), [[one.start, one.end] for one in hours]] for day, hours in remote.overrides],
    }
