"""What must be true when a fleet has come to rest, whoever died meanwhile: each statement of docs/scaling.md, by name.

The provider's side is read in the sandbox, ours in the tables: what one of them lost or did twice shows in the other.
"""

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from harness import World
from mailing import mails
from peewee import fn

from models import Booking, BookingChange, Delivery, Hold, JobClaim, LinkedAccount, Notification, Operation, Participant, TokenRotation
from models import WebhookEvent as Event
from models.base import release_connection
from services import audit_check, jobs
from services.notifications import TOLD

TOKEN = "/auth/oauth2/token"
LIVE = ("PENDING", "CONFIRMED")
WAITING = ("PENDING", "RETRYING")
Held = dict[str, set[str]]


class Before:
    """How things stood when the load began."""

    def __init__(self, world: World) -> None:
        self.versions = dict(LinkedAccount.select(LinkedAccount.id, LinkedAccount.token_version).tuples())
        self.bookings = len(world.sandbox.world.calcom.bookings.values())
        world.sandbox.world.requests.clear()
        release_connection()


def at_rest(now: datetime) -> bool:
    """Nothing is left undone: what is due was done, but for what the last half minute brought."""
    overdue = JobClaim.due_at < now - timedelta(seconds=30)
    left = [
        Operation.select().where(Operation.open),
        Event.select().where(Event.state.in_(WAITING)),
        Delivery.select().where(Delivery.state.in_(WAITING)),
        JobClaim.select().where(overdue),
    ]
    try:
        return not any(query.exists() for query in left)
    finally:
        release_connection()


def left_behind(now: datetime) -> dict[str, Any]:
    """What keeps it from being at rest, for whoever has to find out why."""
    jobs_ = JobClaim.select(JobClaim.kind, JobClaim.key, JobClaim.due_at, JobClaim.attempts, JobClaim.last_error, JobClaim.lease_owner)
    return {
        "operations": list(Operation.select(Operation.kind, Operation.phase, Operation.due_at).where(Operation.open).tuples()),
        "events": list(Event.select(Event.state, Event.attempts, Event.last_error).where(Event.state.in_(WAITING)).tuples()),
        "mail": list(Delivery.select(Delivery.attempts, Delivery.last_error).where(Delivery.state.in_(WAITING)).tuples()),
        "jobs": list(jobs_.where(JobClaim.due_at < now - timedelta(seconds=30)).tuples()),
    }


def judge(world: World, before: Before, acknowledged: set[str], held: Held) -> dict[str, int]:
    """Everything at once; `held`: what stood in the hands of those who were killed. Answers what is worth publishing."""
    acknowledged |= acknowledged_to_the_sandbox(world)
    every_acknowledged_delivery_was_applied(acknowledged)
    nobody_is_in_two_places(world)
    here_and_there_are_the_same(world)
    each_change_was_made_once(world, before)
    each_change_was_told_once()
    lost = no_version_was_exchanged_twice(world, before, held)
    twice = mail_came_once(world, held)
    nothing_is_left_in_a_hand(held)
    the_audit_trail_is_whole(world)
    release_connection()
    return {"acknowledgedDeliveries": len(acknowledged), "pairsLostWithTheirProcess": lost, "mailsTwice": twice}


def acknowledged_to_the_sandbox(world: World) -> set[str]:
    """The keys of deliveries that the sandbox sent itself and that were answered with 2xx."""
    sent = [entry for entry in world.sandbox.world.deliveries.entries() if entry.status == 200]
    return {hashlib.sha256(f"{entry.outgoing.url.rsplit('/', 1)[1]}\n".encode() + entry.outgoing.body).hexdigest() for entry in sent}


def every_acknowledged_delivery_was_applied(acknowledged: set[str]) -> None:
    stored = {row.delivery_key: (row.state, row.last_error) for row in Event.select()}
    assert acknowledged <= stored.keys(), f"{len(acknowledged - stored.keys())} deliveries were acknowledged and are gone"
    assert Counter(stored.values()).keys() <= {("APPLIED", None)}, Counter(stored.values())


def _overlapping(spans: Iterable[tuple[str, Any, Any]]) -> list[tuple[str, Any, Any, Any, Any]]:
    """(whose, start, end, start, end) of each two of one person that overlap."""
    of_each = defaultdict(list)
    for who, start, end in spans:
        of_each[who].append((start, end))
    pairs = ((who, one, other) for who, mine in of_each.items() for one, other in itertools.combinations(mine, 2))
    return [(who, *one, *other) for who, one, other in pairs if one[0] < other[1] and other[0] < one[1]]


def nobody_is_in_two_places(world: World) -> None:
    calcom = world.sandbox.world.calcom
    there = [
        (email, row.start, row.end)
        for row in calcom.bookings.values()
        if row.takes_time
        for email in (calcom.users[row.owner_id].email, row.attendees[0]["email"])
    ]
    assert _overlapping(there) == []
    rows = Participant.select(Participant.person, Booking.start, Booking.end).join(Booking)
    here = rows.where(Booking.status.in_(LIVE) & Participant.role.in_(["COACH", "MENTEE"]))
    assert _overlapping(here.tuples()) == []


def here_and_there_are_the_same(world: World) -> None:
    here = set(Booking.select(Booking.external_id, Booking.start, Booking.end).where(Booking.status.in_(LIVE)).tuples())
    there = {(row.uid, row.start, row.end) for row in world.sandbox.world.calcom.bookings.values() if row.takes_time}
    assert here == there


def each_change_was_made_once(world: World, before: Before) -> None:
    """As many bookings made, moved and cancelled there as operations say, and no booking moved into two."""
    rows = list(world.sandbox.world.calcom.bookings.values())
    moved = [row.from_uid for row in rows if row.from_uid]
    assert len(moved) == len(set(moved)), "a booking was moved into two"
    made = Counter(
        dict(Operation.select(Operation.kind, fn.COUNT(1)).where(Operation.state == "COMPLETED").group_by(Operation.kind).tuples())
    )
    changed = Counter(dict(BookingChange.select(BookingChange.kind, fn.COUNT(1)).group_by(BookingChange.kind).tuples()))
    cancelled = sum(1 for row in rows if row.status == "cancelled" and row.to_uid is None)
    assert made["MOVED"] == changed["MOVED"] == len(moved)
    assert made["CANCELLED"] == changed["CANCELLED"] == cancelled
    assert made["BOOKED"] == len(rows) - len(moved) - before.bookings
    assert changed["BOOKED"] == len(rows) - len(moved)
    assert Operation.select().where(Operation.open | (Operation.state == "NEEDS_ATTENTION")).count() == 0
    assert Hold.select().count() == 0


def each_change_was_told_once() -> None:
    """Both parties of each, whichever paths reported it."""
    parties = Participant.select(Participant.booking, Participant.person).where(Participant.role.in_(["COACH", "MENTEE"])).tuples()
    of_booking = defaultdict(set)
    for booking_id, person_id in parties:
        of_booking[booking_id].add(person_id)
    changes = BookingChange.select(BookingChange.booking, BookingChange.kind, BookingChange.new_start).where(BookingChange.kind.in_(TOLD))
    happened = Counter(
        (person, booking, kind, start if kind == "MOVED" else None)
        for booking, kind, start in changes.tuples()
        for person in of_booking[booking]
    )
    notes = Notification.select(Notification.person, Notification.booking, Notification.kind, Notification.new_start)
    told = Counter(
        (person, booking, kind, start if kind == "MOVED" else None)
        for person, booking, kind, start in notes.where(Notification.kind.in_(TOLD)).tuples()
    )
    assert told == happened


def no_version_was_exchanged_twice(world: World, before: Before, held: Held) -> int:
    """As many pairs as exchanges that the provider made, but for those whose process died with the answer in its hand."""
    answers = [entry.status for entry in world.sandbox.requests if entry.method == "POST" and entry.path.endswith(TOKEN)]
    accounts = {row.id: row for row in LinkedAccount.select()}
    gained = sum(row.token_version - before.versions[row.id] for row in accounts.values())
    lost = answers.count(200) - gained
    again = TokenRotation.select().where((TokenRotation.attempt > 1) | (TokenRotation.last_error == "PROVIDER_UNAVAILABLE"))
    died = {row.id for row in again} & held.get("token_rotation", set())
    assert {row.id for row in again} == died, "an exchange was begun again though its process lived"
    assert 0 <= lost <= len(died)
    problems = Counter(row.problem_code for row in accounts.values() if row.problem_code)
    assert problems == (Counter(ROTATION_LOST=lost) if lost else Counter())
    # the only thing refused is the token that such a process had spent
    assert Counter(answers).keys() <= {200, 400}
    assert answers.count(400) == lost
    return lost


def mail_came_once(world: World, held: Held) -> int:
    """But for what a process had sent and not marked when it died: the same message comes again."""
    came = Counter(mail["headers"]["messageId"] for mail in mails(world))
    rows = {row.message_id: row for row in Delivery.select()}
    assert came.keys() <= rows.keys()
    twice = {rows[message_id].id for message_id, count in came.items() if count > 1}
    assert twice <= held.get("delivery", set())
    assert {message_id for message_id, row in rows.items() if row.state == "SENT"} <= came.keys()
    assert Counter(row.state for row in rows.values()).keys() <= {"SENT", "DROPPED"}
    return len(twice)


def nothing_is_left_in_a_hand(held: Held) -> None:
    """What the killed ones held was taken over and ended."""
    for model in (Event, JobClaim, Delivery):
        assert model.select().where(model.lease_owner.is_null(False)).count() == 0, model
    open_ = TokenRotation.select().where((TokenRotation.state == "open") & TokenRotation.id.in_(list(held.get("token_rotation", set()))))
    lost = LinkedAccount.select(LinkedAccount.id).where(LinkedAccount.problem_code == "ROTATION_LOST")
    assert open_.where(TokenRotation.linked_account.not_in(lost)).count() == 0


def the_audit_trail_is_whole(world: World) -> None:
    world.clock.at += timedelta(hours=1)
    jobs.run_work(world.rt, "chain_audit")
    report = audit_check.check(world.rt)
    assert (report.wrong, report.waiting) == (None, 0)
    assert report.entries > 0
