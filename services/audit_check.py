"""Whether the audit trail is as it was written: in the database, or in an export of it.

Walks the chain from its beginning in batches, in constant memory, and stops at the first entry that is wrong.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from peewee import fn

from models import AuditChain, AuditEntry
from services import audit, audit_chain
from services.runtime import Runtime
from services.vault import VaultError

BATCH = 1000

Head = tuple[int, str]
"""The number and the hash of an entry, as the operator kept them."""


@dataclass(frozen=True)
class Wrong:
    """The first thing that is not as it was written. `seq` and `entry_id` are None where there is none to name."""

    seq: int | None
    entry_id: str | None
    why: str


@dataclass
class Report:
    """What was found. `removed`: how many entries retention took from the beginning."""

    entries: int = 0
    erased: int = 0
    waiting: int = 0
    removed: int = 0
    head: Head = (0, audit_chain.START)
    wrong: Wrong | None = None


class _WrongError(Exception):
    def __init__(self, why: str, *, seq: int | None = None, entry_id: str | None = None) -> None:
        super().__init__(why)
        self.wrong = Wrong(seq, entry_id, why)


def check(rt: Runtime, kept: Head | None = None) -> Report:
    """Check the whole trail of the database; `kept`: an end that it had once, which it must still have (or have passed)."""
    report = Report()
    try:
        _check(rt, report, kept)
    except _WrongError as error:
        report.wrong = error.wrong
    report.waiting = audit_chain.waiting().count()
    return report


def _check(rt: Runtime, report: Report, kept: Head | None) -> None:
    chain = AuditChain.get_or_none(AuditChain.id == audit_chain.ROW)
    if chain is None:
        if kept is not None or AuditEntry.select().where(AuditEntry.seq.is_null(False)).exists():
            raise _WrongError("the row about the chain is missing")
    else:
        _check_chain(rt, report, chain, kept)
    for entry in _waiting():
        if not audit_chain.genuine(rt, entry):
            raise _WrongError("it has no place yet, and was not written by this installation or was altered", entry_id=entry.id)
        _check_personal(rt, entry)


def _check_chain(rt: Runtime, report: Report, chain: AuditChain, kept: Head | None) -> None:
    try:
        key = audit_chain.key_of(rt, chain)
    except VaultError as error:
        raise _WrongError(f"the chain's key cannot be opened: {error}") from error
    if not audit_chain.genuine_end(chain, key):
        raise _WrongError("the row about the chain was altered", seq=chain.seq)
    report.removed, report.head = chain.anchor_seq, (chain.anchor_seq, chain.anchor_hash)
    _compare(kept, report.head)
    for entry in _walk(report, chain):
        _check_entry(rt, key, entry, report.head)
        report.entries += 1
        report.erased += entry.personal is None
        report.head = (entry.seq, entry.hash)
        _compare(kept, report.head)
    if report.head[1] != chain.hash:
        raise _WrongError("the chain ends with another hash than its row says", seq=chain.seq)
    if kept is not None and kept[0] > chain.seq:
        raise _WrongError(f"the chain ends at {chain.seq}, and the head that was kept is {kept[0]}: its end was cut off", seq=chain.seq + 1)
    end = AuditChain.select(AuditChain.seq).where(AuditChain.id == audit_chain.ROW)
    behind = AuditEntry.select(fn.MIN(AuditEntry.seq)).where(AuditEntry.seq > end).scalar()
    if behind is not None:
        raise _WrongError("it stands behind the end of the chain", seq=behind, entry_id=AuditEntry.get(AuditEntry.seq == behind).id)


def _compare(kept: Head | None, here: Head) -> None:
    if kept is not None and kept[0] == here[0] and not hmac.compare_digest(kept[1], here[1]):
        raise _WrongError("its hash is not the one that was kept: the chain was written anew", seq=here[0])


def _walk(report: Report, chain: AuditChain) -> Iterator[AuditEntry]:
    """Every entry up to the end that the chain had when we began. Raises at the first number that is missing."""
    while report.head[0] < chain.seq:
        here = report.head[0]
        batch = list(
            AuditEntry.select().where((AuditEntry.seq > here) & (AuditEntry.seq <= chain.seq)).order_by(AuditEntry.seq).limit(BATCH)
        )
        if not batch or batch[0].seq != here + 1:
            _look_for_gap(report, chain, batch)
            continue
        _check_erasures(batch)
        for number, entry in enumerate(batch, here + 1):
            if entry.seq != number:
                break
            yield entry


def _look_for_gap(report: Report, chain: AuditChain, batch: Sequence[AuditEntry]) -> None:
    """Retention may have come by meanwhile; anything else that is missing was removed."""
    now = AuditChain.get_by_id(audit_chain.ROW)
    here = report.head[0]
    if here < now.anchor_seq <= chain.seq:
        report.head = (now.anchor_seq, now.anchor_hash)
        return
    end = batch[0].seq - 1 if batch else chain.seq
    raise _WrongError(f"{end - here} entries were removed, up to number {end}", seq=here + 1)


def _check_entry(rt: Runtime, key: bytes, entry: AuditEntry, before: Head) -> None:
    if entry.previous_hash != before[1] or audit_chain.hash_of(entry, entry.seq, before[1]) != entry.hash:
        raise _WrongError("its content or its place was changed", seq=entry.seq, entry_id=entry.id)
    if not hmac.compare_digest(entry.mac, audit.mac(key, entry.hash.encode())):
        raise _WrongError("it was not chained by this installation", seq=entry.seq, entry_id=entry.id)
    _check_personal(rt, entry)


def _check_personal(rt: Runtime, entry: AuditEntry) -> None:
    if entry.personal is None:
        return
    try:
        found = audit.personal_of(rt, entry)
    except VaultError as error:
        raise _WrongError(f"what it tells of people cannot be opened: {error}", seq=entry.seq, entry_id=entry.id) from error
    if found is None or audit.digest(audit.canonical(found)) != entry.personal_digest:
        raise _WrongError("what it tells of people was altered", seq=entry.seq, entry_id=entry.id)


def _check_erasures(batch: Sequence[AuditEntry]) -> None:
    """What is blank must have been blanked by the erasure of somebody whom it is about."""
    blank = [entry for entry in batch if entry.personal is None]
    if not blank:
        return
    query = AuditEntry.select(AuditEntry.id, AuditEntry.subject_id).where(
        AuditEntry.id.in_({entry.erased_by for entry in blank if entry.erased_by}) & (AuditEntry.action == "user.erased")
    )
    erased = dict(query.tuples())
    for entry in blank:
        if erased.get(entry.erased_by, "") not in {entry.actor_id, entry.owner_id}:
            raise _WrongError("what it told of people is gone, and no erasure took it", seq=entry.seq, entry_id=entry.id)


def _waiting() -> Iterator[AuditEntry]:
    last = ""
    while batch := list(audit_chain.waiting().where(AuditEntry.id > last).order_by(AuditEntry.id).limit(BATCH)):
        yield from batch
        last = batch[-1].id


# ---- an export -----------------------------------------------------------------------------------------------------------------


def check_lines(lines: Iterable[bytes]) -> Report:
    """The same for an unfiltered export: what can be told without the database and its keys."""
    report = Report()
    try:
        for line in lines:
            _check_line(report, orjson.loads(line))
    except _WrongError as error:
        report.wrong = error.wrong
    return report


def _check_line(report: Report, told: Mapping[str, Any]) -> None:
    names = {"seq": told["seq"], "entry_id": told["id"]}
    if report.entries and told["seq"] != report.head[0] + 1:
        raise _WrongError(f"the entries from number {report.head[0] + 1} on are missing before it", **names)
    if report.entries and told["previous_hash"] != report.head[1]:
        raise _WrongError("it does not follow the entry before it", **names)
    hashed = {name: told[name] for name in (*audit.FACTS, "seq", "previous_hash")}
    if audit.digest(audit.canonical(hashed)) != told["hash"]:
        raise _WrongError("its content or its place was changed", **names)
    if told["personal"] is not None and audit.digest(audit.canonical(told["personal"])) != told["personal_digest"]:
        raise _WrongError("what it tells of people was altered", **names)
    report.entries += 1
    report.erased += told["personal"] is None
    report.removed = report.removed or told["seq"] - 1
    report.head = (told["seq"], told["hash"])
