"""The chain: a job gives each entry the next number and a hash over itself and the entry before it.

The number is the order of chaining and not of time: transactions commit in another order than they began, so an entry
may show up after younger ones were chained. It gets the next number then; nothing that has one changes.

Chaining and trimming lock the chain's one row for a transaction, so no two can continue the same end: not after a lease
ran out, and not by a process that was frozen in between. Numbers are unique in the database, and are given only to
entries that have none.

`hash` can be computed by anybody who has the entries. `mac` of an entry and of the chain's row cannot: their key is
sealed, so that who has no more than the database can neither write an entry, nor rebuild the chain, nor shorten it.
"""

import hmac
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from models import AuditChain, AuditEntry
from models.base import db, for_update, is_sqlite, transactional
from services import audit
from services.logging import get_logger
from services.runtime import Runtime
from services.vault import place

log = get_logger("audit")


class ChainBrokenError(Exception):
    """Somebody changed what only this file changes; the job fails until an operator has looked."""


ROW = "chain".rjust(26, "0")
START = "0" * 64
BATCH = 1000
"""Entries of one transaction."""
EVERY = timedelta(seconds=5)
LOGGED_EVERY = timedelta(hours=1)
TRIMMED_AT_ONCE = 10_000


def extend(rt: Runtime, _key: str = "") -> timedelta:
    """The job: chain everything that is waiting, and tell of the end now and then; answers when to look again."""
    last: str | None = ""
    while last is not None and waiting().exists() and not rt.interrupted:
        last = _extend(rt, last)
    chain = AuditChain.get_or_none(AuditChain.id == ROW)
    if chain is not None:
        rt.metrics.audit_seq.set(chain.seq)
        rt.metrics.audit_waiting.set(waiting().count())
        _log_end(rt, chain)
    return EVERY


def waiting() -> Any:
    """The entries that have no place yet."""
    return AuditEntry.select().where(AuditEntry.seq.is_null())


def _log_end(rt: Runtime, chain: AuditChain) -> None:
    """In the log it is out of reach of whoever has the database: what is cut off at the end shows by it."""
    now = rt.clock.now()
    due = AuditChain.logged_at.is_null() | (AuditChain.logged_at <= now - LOGGED_EVERY)
    if AuditChain.update(logged_at=now).where((AuditChain.id == ROW) & due).execute():
        log.info("audit head", head=f"{chain.seq}:{chain.hash}")


@transactional
def _extend(rt: Runtime, after: str) -> str | None:
    """One batch behind the id `after`; answers its last id, None when there is no more."""
    chain = _locked(rt)
    key = key_of(rt, chain)
    _check(chain, key)
    # read behind the lock, in a statement of its own: whoever held it may just have chained some
    entries = list(waiting().where(AuditEntry.id > after).order_by(AuditEntry.id).limit(BATCH))
    ours = [entry for entry in entries if genuine(rt, entry)]
    seq, last, rows = chain.seq, chain.hash, []
    for entry in ours:
        seq += 1
        found = hash_of(entry, seq, last)
        rows.append((entry.id, seq, last, found, audit.mac(key, found.encode())))
        last = found
    if len(ours) < len(entries):
        # they stay without a place, and scripts/verify-audit names them
        log.error("audit entries that were not written by this installation", entries=[e.id for e in entries if e not in ours][:10])
        rt.metrics.errors.labels("audit").inc()
    if rows:
        _place(rows)
        _move(chain, key, seq=seq, hash=last)
    return entries[-1].id if len(entries) == BATCH else None


def _place(rows: Sequence[tuple[str, int, str, str, str]]) -> None:
    mark = "?" if is_sqlite() else "%s"
    statement = (
        f"UPDATE audit_entry SET seq = {mark}, previous_hash = {mark}, hash = {mark}, mac = {mark} "  # noqa: S608 - marks alone
        f"WHERE id = {mark} AND seq IS NULL"
    )
    cursor = db.cursor()
    cursor.executemany(statement, [(*row[1:], row[0]) for row in rows])
    if cursor.rowcount != len(rows):
        raise ChainBrokenError("an audit entry got its place from somebody else")


def _move(chain: AuditChain, key: bytes, **values: Any) -> None:
    now = {name: values.get(name, getattr(chain, name)) for name in ("seq", "hash", "anchor_seq", "anchor_hash")}
    same = (AuditChain.id == ROW) & (AuditChain.seq == chain.seq) & (AuditChain.anchor_seq == chain.anchor_seq)
    if not AuditChain.update(**now, mac=audit.mac(key, audit.canonical(now))).where(same).execute():
        raise ChainBrokenError("the audit chain was continued by somebody else")


def _check(chain: AuditChain, key: bytes) -> None:
    """An end that somebody moved is not continued."""
    if not genuine_end(chain, key):
        log.error("the row of the audit chain was altered", seq=chain.seq)
        raise ChainBrokenError("the row of the audit chain was altered: run scripts/verify-audit")


# ---- the row -----------------------------------------------------------------------------------------------------------------


def _locked(rt: Runtime) -> AuditChain:
    """The chain's row, ours until the transaction ends; made when there is none."""
    chain = for_update(AuditChain.select().where(AuditChain.id == ROW)).first()
    if chain is None:
        _begin(rt)
        chain = for_update(AuditChain.select().where(AuditChain.id == ROW)).get()
    return chain


def _begin(rt: Runtime) -> None:
    key = os.urandom(32)
    ends = {"seq": 0, "hash": START, "anchor_seq": 0, "anchor_hash": START}
    values = {**ends, "key": rt.vault.seal(key.hex(), _place_of_key()), "mac": audit.mac(key, audit.canonical(ends))}
    list(
        AuditChain.insert(id=ROW, **values)
        .on_conflict(conflict_target=[AuditChain.id], action="nothing")
        .returning(AuditChain.id)
        .tuples()
        .execute()
    )


def _place_of_key() -> bytes:
    return place("audit_chain", ROW, "key")


def key_of(rt: Runtime, chain: AuditChain) -> bytes:
    """The chain's own key: made once, sealed anew when sealing keys rotate. Raises VaultError when it was altered."""
    return bytes.fromhex(rt.vault.open(chain.key, _place_of_key()))


def key(rt: Runtime) -> bytes:
    """The same, for what else must not be guessed by whoever has the database; made when there is none."""
    chain = AuditChain.get_or_none(AuditChain.id == ROW)
    if chain is None:
        _begin(rt)
        chain = AuditChain.get_by_id(ROW)
    return key_of(rt, chain)


# ---- what is genuine -----------------------------------------------------------------------------------------------------------


def hash_of(entry: AuditEntry, seq: int, previous_hash: str) -> str:
    return audit.digest(audit.canonical({**audit.facts_of(entry), "seq": seq, "previous_hash": previous_hash}))


def genuine(rt: Runtime, entry: AuditEntry) -> bool:
    """Of an entry without a place: whether one of our keys wrote it."""
    data = audit.canonical(audit.facts_of(entry))
    return any(hmac.compare_digest(entry.mac, audit.mac(key, data)) for key in rt.vault.derived_keys(audit.NEW))


def genuine_end(chain: AuditChain, key: bytes) -> bool:
    ends: Mapping[str, Any] = {name: getattr(chain, name) for name in ("seq", "hash", "anchor_seq", "anchor_hash")}
    return hmac.compare_digest(chain.mac, audit.mac(key, audit.canonical(ends)))


# ---- retention -----------------------------------------------------------------------------------------------------------------


def trim(rt: Runtime) -> int:
    """Remove the oldest entries when they are older than CONVENE_AUDIT_DAYS; answers how many. 0 days: nothing is removed."""
    days, removed = rt.settings.audit_days, 0
    while days and (some := _trim(rt, timedelta(days=days))):
        removed += some
    return removed


@transactional
def _trim(rt: Runtime, kept: timedelta) -> int:
    """From the beginning up to the first entry that is to stay, and no further: what is left stays one piece."""
    chain = _locked(rt)
    key = key_of(rt, chain)
    _check(chain, key)
    stays = AuditEntry.seq.is_null(False) & (AuditEntry.at >= rt.clock.now() - kept)
    first = AuditEntry.select(AuditEntry.seq).where(stays).order_by(AuditEntry.seq).limit(1).scalar()
    end = min(first - 1 if first else chain.seq, chain.anchor_seq + TRIMMED_AT_ONCE)
    if end <= chain.anchor_seq:
        return 0
    last = AuditEntry.get_or_none(AuditEntry.seq == end)
    if last is None:
        raise ChainBrokenError("the audit chain has lost entries: run scripts/verify-audit")
    removed = int(AuditEntry.delete().where(AuditEntry.seq <= end).execute())
    _move(chain, key, anchor_seq=end, anchor_hash=last.hash)
    audit.record(rt, "audit.trimmed", ("AuditEntry", None), after={"removed": removed, "up_to": f"{end}:{last.hash}"})
    return removed
