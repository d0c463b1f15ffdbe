"""Live updates: what changed, for whom, and who may listen.

A change is written down in the transaction that makes it, for each person who may see it. What a browser is told is no
more than type, id and version: it asks GraphQL for the rest, with the rights that it has then. A browser cannot send a
token with an event stream, so it comes in with a ticket: asked for with the token, good for one stream within a minute.
docs/decisions/live-updates-read-a-window.md says why nothing is missed.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models import LinkedAccount, LiveChange, LiveTicket, User
from models.base import db, new_id
from services.identity import Viewer
from services.live_feed import LATEST, MOST_WAITING, Event, Listener, event_of, reset_at
from services.runtime import Runtime

TICKET_LIFE = timedelta(seconds=60)
KEPT_FOR = timedelta(days=1)
"""How long a stream can be taken up again where it ended."""
AN_ID = re.compile(r"[0-9A-Z]{26}")


class TicketRefused(Exception):
    """The ticket is unknown, used or too old."""


@dataclass(frozen=True)
class Ticket:
    """Where to listen, once, until `expires_at` (UTC)."""

    url: str
    expires_at: datetime


def tell(rt: Runtime, person_ids: Iterable[str], type_: str, object_id: str, version: int = 0) -> None:
    """Let these people's browsers know that an object has changed. Call inside the transaction that changes it.

    `type_` is the GraphQL type's name, `object_id` its id there; `version` rises with each change, where it has one.
    """
    tell_all(rt, [(person_id, type_, object_id, version) for person_id in sorted(set(person_ids))])


def tell_all(rt: Runtime, changes: Sequence[tuple[str, str, str, int]]) -> None:
    """The same for several changes in one statement: person, type, id and version of each."""
    if not changes:
        return
    names, now = ("person", "type", "object_id", "version"), rt.clock.database_now()
    LiveChange.insert_many([{**dict(zip(names, change, strict=True)), "created_at": now} for change in changes]).execute()
    db.after_commit(rt.live.ring)


def tell_of_connection(rt: Runtime, account: LinkedAccount) -> None:
    """The same for one's link to a provider. Call inside the transaction that changes it."""
    person_id = User.select(User.person).where(User.id == account.user_id).scalar()
    tell(rt, [person_id], "ConnectionStatus", f"{account.user_id}:{rt.providers[account.provider].enum_name}")


def issue_ticket(rt: Runtime, viewer: Viewer) -> Ticket:
    """A ticket for one stream of the viewer's, which ends with the session that asks for it."""
    secret = secrets.token_urlsafe(32)
    insert = LiveTicket.insert(
        id=new_id(),
        user=viewer.user_id,
        secret_hash=_hash(secret),
        # the replica that is to take it may have another clock
        expires_at=rt.clock.database_now(TICKET_LIFE),
        session_ends_at=viewer.session_ends_at,
    )
    ((expires_at,),) = list(insert.returning(LiveTicket.expires_at).tuples().execute())
    return Ticket(f"{rt.settings.public_url}/events?ticket={secret}", expires_at)


def listen(rt: Runtime, ticket: str, last_id: str | None) -> Listener:
    """Spend the ticket on a listener that is told of every change from now on, and of those since `last_id`.

    Whoever gets it calls `rt.live.leave` in the end. Raises TicketRefused; and Full, which leaves the ticket unspent.
    """
    valid = (LiveTicket.secret_hash == _hash(ticket)) & LiveTicket.used_at.is_null() & (LiveTicket.expires_at > rt.clock.database_now())
    found = LiveTicket.select(LiveTicket.session_ends_at, User.id, User.person).join(User).where(valid).tuples().first()
    if found is None:
        raise TicketRefused
    session_ends_at, user_id, person_id = found
    listener = rt.live.join(user_id, person_id, session_ends_at)
    try:
        _spend(rt, valid)
        listener.begin(*_missed(rt, person_id, last_id))
    except BaseException:
        rt.live.leave(listener)
        raise
    return listener


def _spend(rt: Runtime, valid: Any) -> None:
    if not LiveTicket.update(used_at=rt.clock.now()).where(valid).execute():
        raise TicketRefused  # another one was faster


def _missed(rt: Runtime, person_id: str, last_id: str | None) -> tuple[list[str], list[Event]]:
    """The ids of the changes that the stream need not be told of any more, and what it begins with.

    Without `last_id` it begins with nothing: who listens then reads everything afterwards. The last one was sent when
    others from before it may not have been committed yet, so that what lies up to LATEST before it is told again.
    """
    mine = LiveChange.person == person_id
    last = (LiveChange.id == last_id) & mine & (LiveChange.created_at >= rt.clock.database_now(-KEPT_FOR))
    known = LiveChange.get_or_none(last) if last_id and AN_ID.fullmatch(last_id) else None
    since: Any = known.created_at - LATEST if known else rt.clock.database_now(-LATEST)
    rows = list(LiveChange.select().where(mine & (LiveChange.created_at >= since)).order_by(LiveChange.created_at, LiveChange.id))
    ids = [row.id for row in rows]
    if not last_id:
        return ids, []
    if known is None or len(rows) > MOST_WAITING:
        newest = LiveChange.select(LiveChange.id).where(mine).order_by(LiveChange.created_at.desc(), LiveChange.id.desc())
        return ids, [reset_at((newest.tuples().first() or ("",))[0])]
    return ids, [event_of(row) for row in rows if row.id != last_id]


def clean_up(rt: Runtime) -> None:
    """Forget tickets that have expired, and changes behind which no stream is taken up any more."""
    LiveTicket.delete().where(LiveTicket.expires_at < rt.clock.database_now()).execute()
    # with the last one that is known, everything is there that may have to be told again
    LiveChange.delete().where(LiveChange.created_at < rt.clock.database_now(-KEPT_FOR - LATEST)).execute()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
