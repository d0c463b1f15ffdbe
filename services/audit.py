"""The audit trail: one entry for each change that somebody may have to answer for.

    record    in the transaction of the change: one INSERT, and nothing that another writer could wait for
    chain     a job gives entries their place and hash (services/audit_chain.py)
    verify    scripts/verify-audit walks the chain (services/audit_check.py)

What tells of people stands in one sealed column, of which only a salted digest is chained: it can be blanked without
breaking the chain. Never in it: tokens, codes, secrets, a provider's booking uid, what people wrote into a booking.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from models import AuditEntry
from models.base import new_id, to_ms
from services import origins
from services.logging import get_logger
from services.origins import Actor, Origin
from services.runtime import Runtime
from services.vault import VaultError, place

log = get_logger("audit")

FACTS = (
    "id",
    "at",
    "actor_kind",
    "actor_id",
    "owner_id",
    "action",
    "subject_type",
    "subject_id",
    "request_id",
    "face",
    "personal_digest",
)
"""What the chain covers of an entry, besides its place in it."""
NEW = b"audit entry"

Subject = tuple[str, str | None]
"""The GraphQL type's name and the id."""


def record(
    rt: Runtime,
    action: str,
    subject: Subject,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str | None = None,
    owner: str | None = None,
    actor: Actor | None = None,
    origin: Origin | None = None,
) -> str:
    """Write down that something was changed; call it inside the transaction that changes it. Answers the entry's id.

    `owner`: the user whose thing it is. Who did it and from where is the present request's, job's or script's, unless
    `actor` or `origin` say otherwise. `before` and `after`: the values that differ, without secrets.
    """
    where = origin or origins.current()
    who = actor or where.actor or _by_itself(where)
    entry_id = new_id()
    personal = canonical(
        {
            "salt": secrets.token_hex(16),
            "actor": {"name": who.name, "email": who.email},
            "origin": {"name": where.name, "address": where.address, "agent": where.agent},
            "reason": reason,
            "before": _told(before),
            "after": _told(after),
        }
    )
    values = {
        "id": entry_id,
        "at": rt.clock.now(),
        "actor_kind": who.kind,
        "actor_id": who.user_id,
        "owner_id": owner,
        "action": action,
        "subject_type": subject[0],
        "subject_id": subject[1],
        "request_id": where.request_id,
        "face": where.face,
        "personal_digest": digest(personal),
    }
    # of the several keys of a rotation the present one's is the last
    key = rt.vault.derived_keys(NEW)[-1]
    sealed = rt.vault.seal(personal.decode(), place("audit_entry", entry_id, "personal"))
    AuditEntry.insert(**values, personal=sealed, mac=mac(key, canonical(values))).execute()
    return entry_id


def _by_itself(where: Origin) -> Actor:
    """Nobody asked for it."""
    if where.face == origins.JOB:
        return Actor("JOB")
    return Actor(origins.OPERATOR if where.face == origins.SCRIPT else origins.PROVIDER)


def keep_origin(rt: Runtime, operation_id: str) -> str:
    """From where an operation was asked for, sealed: whoever records its outcome may be a job."""
    # by whom, the operation itself says
    where = replace(origins.current(), actor=None)
    return rt.vault.seal(orjson.dumps(where).decode(), place("operation", operation_id, "origin"))


def kept_origin(rt: Runtime, operation_id: str, sealed: str | None) -> Origin | None:
    if sealed is None:
        return None
    return Origin(**orjson.loads(rt.vault.open(sealed, place("operation", operation_id, "origin"))))


# ---- what is hashed ----------------------------------------------------------------------------------------------------------


def canonical(values: Mapping[str, Any]) -> bytes:
    """JSON without spaces, keys sorted, UTF-8, times as epoch milliseconds: what every hash here is made of."""
    return orjson.dumps(_plain(values), option=orjson.OPT_SORT_KEYS)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def mac(key: bytes, data: bytes) -> str:
    return hmac.digest(key, data, "sha256").hex()


def facts_of(entry: AuditEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in FACTS}


def personal_of(rt: Runtime, entry: AuditEntry) -> dict[str, Any] | None:
    """What tells of people; None where that was erased. Raises VaultError when it was altered."""
    if entry.personal is None:
        return None
    found: dict[str, Any] = orjson.loads(rt.vault.open(entry.personal, place("audit_entry", entry.id, "personal")))
    return found


def _told(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Times as people read them."""
    if values is None:
        return None
    return {name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value for name, value in values.items()}


NOTHING: dict[str, Any] = {
    "actor": {"name": None, "email": None},
    "origin": {"name": None, "address": None, "agent": None},
    "reason": None,
    "before": None,
    "after": None,
}


def readable(rt: Runtime, entry: AuditEntry) -> dict[str, Any]:
    """The same for showing: nothing in it where it is erased, or cannot be opened, which scripts/verify-audit tells apart."""
    try:
        return personal_of(rt, entry) or NOTHING
    except VaultError as error:
        log.error("an audit entry cannot be opened", entry=entry.id, reason=str(error))  # noqa: TRY400 - nothing to trace
        return NOTHING


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_ms(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(inner) for inner in value]
    return value


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What differs, as it was and as it is."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}
