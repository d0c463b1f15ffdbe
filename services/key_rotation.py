"""Sealing keys: which values need which key, and sealing them anew with the first one while everything runs.

Nothing is kept of how far it got: the key id in each envelope says what is left. So it may be stopped at any time, run
twice at once, and run beside any number of servers that know both keys (docs/keys.md has the order of steps).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from peewee import SQL, Field, fn

from models.base import DATABASE_AWAY, connect, db, is_sqlite, new_id
from models.migrate import pending
from models.sealed import SEALED, SealingKey
from services.vault import Vault, VaultError, key_id_of, place
from settings import Settings

BATCH = 500


@dataclass(frozen=True)
class Unopened:
    """A value that no configured key opens: where it is, and why. Never what it is."""

    column: str
    row_id: str
    reason: str


@dataclass
class Verified:
    """What a column holds: how many values each key sealed, and those that cannot be opened."""

    by_key: Counter[str] = field(default_factory=Counter)
    unopened: list[Unopened] = field(default_factory=list)


def name(column: Field) -> str:
    """As people write it: `table.column`."""
    return f"{_table(column)}.{column.column_name}"


# ---- sealing anew --------------------------------------------------------------------------------------------------------


def count(column: Field) -> Counter[str]:
    """How many values each key sealed, by key id. Reads the whole table."""
    query = column.model.select(_key_id(column), fn.COUNT(column)).where(column.is_null(False)).group_by(SQL("1"))
    return Counter({str(found): int(number) for found, number in query.tuples()})


def seal_anew(vault: Vault, column: Field, done: Callable[[int], None]) -> None:
    """Seal every value of the column with the first key; `done` is told how many are, as it goes on.

    Each row is one statement of its own, which changes nothing if the value was replaced since it was read. What cannot
    be opened is left as it is: `verify` names it.
    """
    prefix, sealed = f"v1.{vault.active}.", 0
    older = fn.SUBSTR(column, 1, len(prefix)) != prefix
    for batch in _batches(column, older):
        for row_id, envelope in batch:
            where = _place(column, row_id)
            try:
                fresh = vault.seal(vault.open(envelope, where), where)
            except VaultError:
                continue
            # a dictionary, so that updated_at stays: nothing about the row has changed for anybody
            same = (column.model.id == row_id) & (column == envelope)
            sealed += int(column.model.update({column: fresh}).where(same).execute())
        done(sealed)


def verify(vault: Vault, column: Field) -> Verified:
    """Open every value of the column."""
    found = Verified()
    for batch in _batches(column, column.is_null(False)):
        for row_id, envelope in batch:
            found.by_key[key_id_of(envelope)] += 1
            try:
                vault.open(envelope, _place(column, row_id))
            except VaultError as error:
                found.unopened.append(Unopened(name(column), row_id, str(error)))
    return found


def _batches(column: Field, wanted: Any) -> Iterator[list[tuple[str, str]]]:
    """(id, envelope) of the rows that are wanted, in the order of their ids, read as they are when their turn comes."""
    model, after = column.model, ""
    while True:
        query = model.select(model.id, column).where(wanted & (model.id > after)).order_by(model.id).limit(BATCH)
        batch = list(query.tuples())
        if not batch:
            return
        yield batch
        after = batch[-1][0]


def _place(column: Field, row_id: str) -> bytes:
    return place(_table(column), row_id, column.column_name)


def _table(column: Field) -> str:
    return str(column.model._meta.table_name)  # noqa: SLF001 - Peewee's public name for it


def _key_id(column: Field) -> Any:
    """The key id of an envelope, in SQL."""
    if not is_sqlite():
        return fn.SPLIT_PART(column, ".", 2)
    rest = fn.SUBSTR(column, len("v1.") + 1)
    return fn.SUBSTR(rest, 1, fn.INSTR(rest, ".") - 1)


# ---- which keys are needed -----------------------------------------------------------------------------------------------


def note(vault: Vault) -> None:
    """Write down that this server seals with its first key, so that none starts without it while it is needed."""
    _note({vault.active})


def unknown(vault: Vault) -> set[str]:
    """Keys that some server seals or sealed with, as far as they are noted, and that this one does not have."""
    return {row[0] for row in SealingKey.select(SealingKey.key_id).tuples()} - vault.key_ids


def refusal(settings: Settings) -> str | None:
    """Why a server with these settings must not start: how many values need keys that it lacks. None: it may.

    None also when the database is away or not migrated. Reads one small table; the values are counted only when a key is
    missing that was noted, which is then forgotten if none needs it any more, and when none was ever noted.
    """
    vault = Vault(settings.sealing_keys)
    connect(settings.database_url, pool_size=1)
    try:
        with db.connection_context():
            lines = [] if pending() else _lacking(vault)
    except DATABASE_AWAY:
        return None
    finally:
        db.close_all()
    if not lines:
        return None
    advice = "Put the missing keys behind the first one in CONVENE_SEALING_KEYS. docs/keys.md says how a key is taken out of use."
    return "\n".join(["Convene cannot start:", *(f"  {line}" for line in lines), advice])


def _lacking(vault: Vault) -> list[str]:
    noted = {row[0] for row in SealingKey.select(SealingKey.key_id).tuples()}
    if noted and noted <= vault.key_ids:
        return []
    counts = {name(column): count(column) for column in SEALED}
    needed = {key_id for numbers in counts.values() for key_id in numbers}
    _note(needed)
    SealingKey.delete().where(SealingKey.key_id.in_(sorted(noted - needed - vault.key_ids))).execute()
    return [
        f"{number} value{'s' if number > 1 else ''} in {column} need{'s' if number == 1 else ''} the sealing key {key_id!r}."
        for column, numbers in counts.items()
        for key_id, number in sorted(numbers.items())
        if key_id not in vault.key_ids
    ]


def _note(key_ids: set[str]) -> None:
    for key_id in sorted(key_ids):
        insert = SealingKey.insert(id=new_id(), key_id=key_id).on_conflict(conflict_target=[SealingKey.key_id], action="nothing")
        list(insert.returning(SealingKey.id).tuples().execute())
