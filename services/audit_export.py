"""The audit trail as JSON lines: constant memory, resumable by the last number, with what it takes to check it elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from models import AuditChain, AuditEntry
from models.base import release_connection
from services import audit, audit_chain
from services.runtime import Runtime

BATCH = 500


@dataclass(frozen=True)
class Wanted:
    """Entries behind the number `after`, from `since` on and before `until` (UTC)."""

    after: int = 0
    since: datetime | None = None
    until: datetime | None = None


def begin(rt: Runtime, wanted: Wanted) -> tuple[int, str]:
    """Write down that somebody takes the trail out, and chain everything up to now; answers where the export will end."""
    told = {"after": wanted.after, "since": wanted.since, "until": wanted.until}
    audit.record(rt, "admin.exported", ("AuditEntry", None), after=told)
    audit_chain.extend(rt)
    chain = AuditChain.get_by_id(audit_chain.ROW)
    return chain.seq, chain.hash


def lines(rt: Runtime, wanted: Wanted, end: int) -> Iterator[bytes]:
    """One line for each entry up to the number `end`, in the chain's order; no connection is held between batches."""
    last = wanted.after
    while batch := list(_batch(wanted, last, end)):
        text = b"".join(orjson.dumps(_line(rt, entry), option=orjson.OPT_APPEND_NEWLINE) for entry in batch)
        last = batch[-1].seq
        release_connection()
        yield text
    release_connection()


def _batch(wanted: Wanted, last: int, end: int) -> Any:
    query = AuditEntry.select().where((AuditEntry.seq > last) & (AuditEntry.seq <= end))
    if wanted.since is not None:
        query = query.where(AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEntry.at < wanted.until)
    return query.order_by(AuditEntry.seq).limit(BATCH)


def _line(rt: Runtime, entry: AuditEntry) -> dict[str, Any]:
    """The facts as they are hashed, so `at` is in epoch milliseconds; `time` is the same to be read."""
    facts: dict[str, Any] = orjson.loads(audit.canonical(audit.facts_of(entry)))
    chained = {name: getattr(entry, name) for name in ("seq", "previous_hash", "hash", "mac")}
    return {**chained, "time": entry.at.isoformat().replace("+00:00", "Z"), **facts, "personal": audit.personal_of(rt, entry)}
