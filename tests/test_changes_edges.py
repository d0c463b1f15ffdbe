"""Edges of changing bookings: what is given up while it goes on, who may look where, and what many do at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from calendly_people import GROUP, cancel_there, hear, invite, live_events, live_invitees
from harness import AVAILABILITY, INBOX, MOVE, OPERATION, Caller, World, at, iso
from mailing import set_preferences
from test_attention import LIST, dead_delivery, items, resolve
from test_calendly_replacing import CANCELLATION, NEW, NINE, TEN, Story
from test_creating import CREATE, Desk, create, desk_at, event_type, named, told
from test_explain_slot import reasons

from models import Hold, Operation, Person, WebhookEvent
from models.base import db
from services import claims, completer, jobs, reminders, webhooks

LATER = "... on TooManyRequests { until: retryAt } ... on Problem {"
CREATED, MOVED = (query.replace("... on Problem {", LATER, 1) for query in (CREATE, MOVE))
REPLAY = "mutation($ids: [ID!]) { replayWebhookEvents(input: {ids: $ids}) { ... on WebhookEventsReplayed { replayed } } }"
OFFERED = {"start": iso(at(3, 9)), "end": iso(at(3, 12))}
MINUTE = "Bookings begin on a whole minute."
MOST = 60


@pytest.fixture
def mia(world: World) -> Caller:
    """Signs in, and has nothing linked."""
    return world.caller("Mia", time_zone="America/New_York")


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("Ada", admin=True)


def linked(world: World, person: Caller) -> Caller:
    """With a Cal.com account of their own, and a link."""
    world.account(person)
    return person.link()


Asked = list[tuple[str, Any]]
"""Statements with their parameters."""


@contextmanager
def statements(then: Callable[[tuple[str, Any]], None]) -> Iterator[None]:
    """Tells each statement after the database has executed it."""
    before = db.obj.execute_sql

    def executed(sql: str, params: Any = None, **more: Any) -> Any:
        cursor = before(sql, params, **more)
        then((sql, params))
        return cursor

    db.obj.execute_sql = executed
    try:
        yield
    finally:
        db.obj.execute_sql = before


def selects(asked: Asked, table: str = "") -> Asked:
    return [one for one in asked if one[0].startswith("SELECT") and f'FROM "{table}' in one[0]]


def overtaken(table: str, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """Two at once: the second has read its row of the table when the first begins, and goes on when that has ended."""
    answers: list[Any] = []
    waiting = [first]

    def then(asked: tuple[str, Any]) -> None:
        if waiting and selects([asked], f'{table}"'):
            answers.append(waiting.pop()())

    with statements(then):
        answers.append(second())
    assert len(answers) == 2, "the second never read it"
    return answers[0], answers[1]


# ---- given up while it goes on -------------------------------------------------------------------------------------------------


def test_what_is_sent_while_the_completer_gives_it_up_stays_open(world: World, mia: Caller) -> None:
    """The completer read it as not sent; then the process that was only slow says that it sends."""
    desk = desk_at(world, "CAL_COM")
    read: list[Any] = []

    def step(name: str) -> None:
        if name == "operation.checked" and not read:
            world.move_clock(seconds=61)
            batch = jobs.OPERATIONS.claim(world.rt, limit=5)
            read.append(claims.begin(world.rt, Operation, batch.owner, batch.ids[0], lease=timedelta(seconds=60)))
        if name == "operation.sent":
            completer.complete(world.rt, read[0])

    world.rt.step = step
    desk.on_post({"kind": "drop", "when": "after"})
    unread = desk.on_list({"kind": "status", "status": 503})
    waiting = create(mia, desk.kind)
    assert [row.phase for row in read] == ["claimed"]
    assert waiting["__typename"] == "BookingInProgress"
    row = Operation.get()
    assert (row.open, row.state, row.phase, row.idempotency_key) == (True, "IN_PROGRESS", "sent", "b1")
    assert (row.sent_at, row.settled_at, Hold.select().count()) == (world.clock.now(), None, 2)
    unread.remove()
    world.rt.transport._breakers.clear()
    assert create(mia, desk.kind, start=TEN)["__typename"] == "IdempotencyKeyReused"
    assert create(mia, desk.kind)["operation"]["id"] == waiting["operation"]["id"]
    desk.later(61)
    assert mia.one(OPERATION, id=waiting["operation"]["id"])["state"] == "COMPLETED"
    (booking,) = mia.bookings()
    assert (create(mia, desk.kind)["booking"]["id"], desk.posts()) == (booking["id"], 1)
    desk.assert_booked_once(mia)


def test_what_a_given_up_move_made_is_a_booking_of_its_own(world: World, admin: Caller) -> None:
    """The request arrived when the move had been undone: an admin is told, and what becomes of the booking is heard."""
    story = Story(world)
    held = story.fault(NEW, {"kind": "hold"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(story.move)
        assert held.wait_held()
        story.later(300)
        assert story.state() == "UNDONE"
        held.release()
        assert answer.result()["code"] == "NOT_DONE"
    story.later(1)
    orphan = next(booking for booking in story.cora.bookings() if booking["id"] != story.id)
    assert [(b["start"], b["status"]) for b in story.cora.bookings()] == [(iso(NINE), "CONFIRMED"), (iso(TEN), "CONFIRMED")]
    (item,) = items(admin)
    assert (item["kind"], item["title"], item["booking"]) == (
        "DRIFT",
        "Something was made at the provider that nothing needs",
        {"id": orphan["id"], "start": iso(TEN)},
    )
    assert item["detail"] == "It was made by a change that had been given up, and stands beside the booking that was to be moved."
    cancel_there(world, story.address(story.newest()), by="host", reason="Not needed.")
    for seconds in (1, 3601):
        story.later(seconds)
        found = {b["id"]: (b["start"], b["status"], b["cancellationReason"]) for b in story.cora.bookings()}
        assert found == {orphan["id"]: (iso(TEN), "CANCELLED", "Not needed."), story.id: (iso(NINE), "CONFIRMED", None)}
    assert (story.told(story.mia), live_events(world)) == (["BOOKED", "BOOKED", "CANCELLED"], 1)
    story.assert_quiet()


def test_a_move_that_went_through_before_its_provider_was_away_for_a_day(world: World, admin: Caller) -> None:
    """The regular reading finds a move, and no cancellation."""
    story = Story(world)
    story.fault(CANCELLATION, {"kind": "drop", "when": "after"})
    deaf = story.deaf()
    operation = story.move()["operation"]["id"]
    assert (Operation.get().phase, live_events(world)) == ("booked", 1)
    away = story.fault("/calendly/api/scheduled_events*", {"kind": "status", "status": 503}, None, method="GET")
    world.rt.transport._breakers.clear()
    story.later(86400 + 120)
    assert (story.state(), story.now()["start"]) == ("NEEDS_ATTENTION", iso(NINE))
    away.remove()
    deaf.remove()
    world.rt.transport._breakers.clear()
    for _ in range(2):
        story.later(3601)
        booking = story.now()
        assert (booking["start"], booking["status"], live_invitees(world)) == (iso(TEN), "CONFIRMED", [booking["externalId"]])
        assert [story.kinds(), story.told(story.cora), story.told(story.mia)] == [["BOOKED", "MOVED"]] * 3
    assert resolve(admin, operation, "TRY_AGAIN")["__typename"] == "AttentionResolved"
    assert [item for item in items(admin) if item["kind"] == "OPERATION"] == []
    assert (story.move()["__typename"], story.state()) == ("RescheduleInProgress", "IN_PROGRESS")
    story.later(61)
    assert (story.move()["__typename"], story.state(), story.posts(), story.posts(CANCELLATION)) == (
        "BookingRescheduled",
        "COMPLETED",
        1,
        1,
    )
    story.assert_moved()


# ---- whose calendar is looked at -------------------------------------------------------------------------------------------------


def by_third_person(world: World, desk: Desk, theo: Caller) -> None:
    create(theo, desk.kind, attendee=named("Mia"))
    hear(world)


def with_guest(world: World, desk: Desk, theo: Caller) -> None:
    invite(world, desk.coach, "Call", NINE, "Mia", guests=[theo.email])
    hear(world)


@pytest.mark.parametrize("arrange", [by_third_person, with_guest])
def test_who_is_no_party_sees_the_coachs_side_alone(world: World, arrange: Callable[[World, Desk, Caller], None]) -> None:
    """Mia has something at ten in her calendar, and another booking at eleven."""
    desk, theo = desk_at(world, "CALENDLY"), world.caller("Theo")
    mia = linked(world, world.caller("Mia"))
    arrange(world, desk, theo)
    bob = world.coach("Bob")
    world.sandbox_call("calcom/busy", email=mia.email, start=iso(at(3, 10)), end=iso(at(3, 10, 30)))
    world.book(bob, at(3, 11), name="Mia", email=mia.email)
    world.jobs()
    (booking,) = desk.coach.bookings()
    assert (booking["start"], theo.one("query($id: ID!) { booking(id: $id) { id } }", id=booking["id"])) == (
        iso(NINE),
        {"id": booking["id"]},
    )
    target = {"bookingId": booking["id"]}

    def seen(person: Caller) -> tuple[list[str], list[tuple[str, str, str]]]:
        found = person.one(AVAILABILITY, input={"target": target, "window": OFFERED})
        return found["starts"], [(s["participant"]["name"], s["role"], s["provider"]) for s in found["sources"]]

    every = [iso(at(3, 9) + timedelta(minutes=30 * n)) for n in range(6)]
    coachs, mias = ("Clara", "COACH", "CALENDLY"), ("Mia", "MENTEE", "CAL_COM")
    assert seen(desk.coach) == ([start for start in every if start not in {iso(at(3, 10)), iso(at(3, 11))}], [coachs, mias])
    assert seen(theo) == (every, [coachs])
    for taken in (at(3, 10), at(3, 11)):
        assert reasons(theo, target, taken) == []
        assert reasons(desk.coach, target, taken) == [("OTHER_PARTY_UNAVAILABLE", "Mia", "MENTEE")]
    assert reasons(mia, target, at(3, 10)) == [("BUSY", "Mia", "MENTEE")]


def test_an_address_from_a_linked_account_is_ones_own(world: World) -> None:
    """Who names it is checked like themselves."""
    desk, mia = desk_at(world, "CALENDLY"), world.caller("Mia")
    work = "mia.work@example.test"
    world.sandbox_call("calcom/users", email=work, name="Mia", timeZone="UTC")
    mia.link(user=work)
    world.sandbox_call("calcom/busy", email=work, start=iso(NINE), end=iso(at(2, 10)))
    refused = [
        create(mia, desk.kind, key=key, acceptConflicts=True, **more)
        for key, more in (("own", {}), ("second", {"attendee": named("Mia", email="Mia.Work@example.test")}))
    ]
    for answer in refused:
        assert (answer["__typename"], answer["canAccept"]) == ("SlotUnavailable", False)
        assert [(c["participant"]["name"], c["role"], c["reason"]) for c in answer["conflicts"]] == [("Mia", "MENTEE", "BUSY")]
        assert answer["alternatives"][0]["start"] == iso(at(2, 10))
    assert desk.posts() == 0
    desk.assert_nothing(mia)
    made = create(mia, desk.kind, start=at(2, 10), key="second", attendee=named("Mia", email=work))
    assert (made["__typename"], made["warnings"], made["booking"]["viewerRole"]) == ("BookingCreated", [], "MENTEE")
    assert [p["email"] for p in made["booking"]["participants"] if p["isViewer"]] == [work]


def test_somebody_elses_address_is_not_ones_own(world: World, mia: Caller) -> None:
    """Also where it is one that a link of that other person has proven."""
    desk, theo = desk_at(world, "CALENDLY"), world.caller("Theo")
    linked(world, mia)
    linked(world, theo)
    world.sandbox_call("calcom/busy", email=mia.email, start=iso(NINE), end=iso(at(2, 10)))
    made = create(theo, desk.kind, attendee=named("Mia"))
    assert (made["__typename"], made["booking"]["viewerRole"]) == ("BookingCreated", None)


# ---- no probe --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(world: World, mia: Caller) -> str:
    """Mia's booking with Bob, on Wednesday at ten."""
    mia.gql("{ viewer { id } }")
    bob = world.coach("Bob")
    uid = world.book(bob, TEN, name="Mia", email=mia.email)
    world.jobs()
    return uid


@pytest.mark.parametrize("by", ["seconds", "milliseconds"])
def test_a_start_within_a_minute_is_refused_before_anything(world: World, elsewhere: str, by: str) -> None:
    desk, eve = desk_at(world, "CAL_COM"), world.caller("Eve")
    eve.gql("{ viewer { id } }")
    start = {"seconds": "2027-03-03T10:00:01Z", "milliseconds": "2027-03-03T10:00:00.500Z"}[by]
    known = Person.select().count()
    world.sandbox.world.requests.clear()
    for attendee in (named("Mia"), named("Nobody"), None):
        refused = eve.one(CREATE, input={"eventTypeId": desk.kind, "start": start, "idempotencyKey": "b1", "attendee": attendee})
        assert (refused["__typename"], refused["fields"]) == ("InvalidInput", [{"path": ["start"], "message": MINUTE}])
    assert (Operation.select().count(), Person.select().count(), list(world.sandbox.requests)) == (0, known, [])
    assert world.live_uids() == [elsewhere]


def test_a_move_to_within_a_minute_is_refused_before_anything(world: World, mia: Caller) -> None:
    desk = desk_at(world, "CAL_COM")
    booking = create(mia, desk.kind)["booking"]["id"]
    hear(world)
    for caller in (desk.coach, mia):
        refused = caller.move(booking, "2027-03-03T10:00:30Z")
        assert (refused["__typename"], refused["fields"]) == ("InvalidInput", [{"path": ["newStart"], "message": MINUTE}])
    assert (Operation.select().count(), world.calls("POST", "/reschedule"), mia.bookings()[0]["start"]) == (1, 0, iso(NINE))


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("minutes", [-29, 0, 15])
def test_a_third_person_learns_of_a_conflict_and_not_where_it_begins(world: World, minutes: int) -> None:
    desk, eve = desk_at(world, "CAL_COM"), world.caller("Eve")
    start = TEN + timedelta(minutes=minutes)
    refused = create(eve, desk.kind, start=start, attendee=named("Mia"))
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", True)
    assert [tuple(c.values()) for c in refused["conflicts"]] == [
        ({"name": "Mia"}, "MENTEE", "OTHER_PARTY_UNAVAILABLE", iso(start), iso(start + timedelta(minutes=30)))
    ]
    # what is offered instead leaves nothing out for Mia's sake
    offered = [slot["start"] for slot in refused["alternatives"]]
    assert (iso(TEN) in offered) is (minutes < 0)
    assert (Operation.select().count(), desk.posts()) == (0, 0)


def creating(caller: Caller, target: str, **more: Any) -> Any:
    given = {"eventTypeId": target, "start": iso(TEN), "idempotencyKey": "b1", "attendee": named("Mia"), **more}
    return caller.one(CREATED, input=given)


def moving(caller: Caller, target: str, **more: Any) -> Any:
    return caller.one(MOVED, input={"bookingId": target, "newStart": iso(TEN), "idempotencyKey": "m1", **more})


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("who", ["third person", "coach"])
def test_sixty_refusals_for_the_mentees_sake_are_told_in_ten_minutes(world: World, mia: Caller, who: str) -> None:
    """Per viewer, whether they create or move."""
    desk = desk_at(world, "CAL_COM")
    caller = world.caller("Eve") if who == "third person" else desk.coach
    target, ask = desk.kind, creating
    if who == "coach":
        target, ask = create(mia, desk.kind)["booking"]["id"], moving
        hear(world)
    sent = desk.posts()
    assert {ask(caller, target)["__typename"] for _ in range(MOST)} == {"SlotUnavailable"}
    until = world.clock.now() + timedelta(minutes=10)
    refused = ask(caller, target)
    assert refused == {
        "__typename": "TooManyRequests",
        "until": iso(until),
        "code": "TOO_MANY_REQUESTS",
        "message": "Too many times were tried that do not suit the other party. Wait a moment.",
    }
    assert creating(world.caller("Otto"), desk.kind)["__typename"] == "SlotUnavailable", "another viewer has their own"
    world.move_clock(minutes=9, seconds=59)
    assert ask(caller, target)["until"] == iso(until)
    world.move_clock(seconds=1)
    assert ask(caller, target)["__typename"] == "SlotUnavailable"
    assert (Operation.select().where(Operation.open).count(), desk.posts(), world.calls("POST", "/reschedule")) == (0, sent, 0)


# ---- many at once ----------------------------------------------------------------------------------------------------------------


def test_places_of_a_group_event_are_booked_beside_one_another(world: World, mia: Caller) -> None:
    """While one place is being booked, another can be; the coach's other events have to wait."""
    kinds = [GROUP | {"duration": 30, "limit": 3}, {"name": "Call", "duration": 30}]
    desk = desk_at(world, "CALENDLY", event_types=kinds)
    circle, call = event_type(desk.coach, "Circle"), event_type(desk.coach, "Call")
    otto, theo = world.caller("Otto"), world.caller("Theo")
    held = desk.on_post({"kind": "hold", "when": "after"})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(create, mia, circle)
        assert held.wait_held()
        second = create(otto, circle)
        other = create(theo, call)
        held.release()
        made = [first.result(), second]
    assert [one["__typename"] for one in made] == ["BookingCreated"] * 2
    assert other["__typename"] == "SlotUnavailable"
    assert [(c["participant"]["name"], c["role"]) for c in other["conflicts"]][:1] == [("Clara", "COACH")]
    hear(world)
    assert (live_events(world), len(live_invitees(world)), desk.posts()) == (1, 2, 2)
    assert sorted(booking["id"] for booking in desk.coach.bookings()) == sorted(one["booking"]["id"] for one in made)
    assert (told(mia), told(otto), told(theo)) == (["BOOKED"], ["BOOKED"], [])
    desk.assert_quiet()


@pytest.mark.parametrize("provider", ["CAL_COM", "CALENDLY"])
def test_both_parties_cancel_at_once(world: World, mia: Caller, provider: str) -> None:
    desk = desk_at(world, provider)
    booking = create(mia, desk.kind)["booking"]["id"]
    hear(world)
    answers = overtaken("booking", lambda: desk.coach.cancel(booking, reason="Ill."), lambda: mia.cancel(booking))
    assert [(a["__typename"], a["booking"]["status"], a["booking"]["cancellationReason"]) for a in answers] == [
        ("BookingCancelled", "CANCELLED", "Ill.")
    ] * 2
    hear(world)
    assert (desk.live(), Operation.select().where(Operation.kind == "CANCELLED").count()) == (0, 1)
    assert (told(desk.coach), told(mia)) == (["BOOKED", "CANCELLED"], ["BOOKED", "CANCELLED"])
    desk.assert_quiet()


# ---- what an admin looks at --------------------------------------------------------------------------------------------------------


def stuck(world: World, mia: Caller, count: int) -> list[str]:
    """So many changes that need a person, a minute apart: ids, the newest first."""
    desk = desk_at(world, "CAL_COM")
    for number in range(count):
        create(mia, desk.kind, start=NINE + timedelta(hours=number), key=f"b{number}")
    hear(world)
    ids = [row.id for row in Operation.select().order_by(Operation.id)]
    for operation in ids:
        world.move_clock(minutes=1)
        ended = {"state": "NEEDS_ATTENTION", "phase": "sent", "open": False, "outcome": {"type": "attention"}}
        Operation.update(settled_at=world.clock.now(), **ended).where(Operation.id == operation).execute()
    return ids[::-1]


def test_what_was_ended_without_a_time_is_listed_by_its_last_change(world: World, mia: Caller, admin: Caller) -> None:
    """As it was written when two rows had turned out to be one booking."""
    ids = stuck(world, mia, 3)
    times = [row.updated_at for row in Operation.select().order_by(Operation.id.desc())]
    Operation.update(settled_at=None, updated_at=Operation.updated_at).where(Operation.id != ids[1]).execute()
    assert [(item["id"], item["since"]) for item in items(admin)] == [(row, iso(time)) for row, time in zip(ids, times, strict=True)]
    assert times == [world.clock.now() - timedelta(minutes=minutes) for minutes in range(3)]
    paged, after = [], None
    for more in (True, True, False):
        page = admin.one(LIST, first=1, after=after)
        paged += [edge["node"]["id"] for edge in page["edges"]]
        assert page["pageInfo"]["hasNextPage"] is more
        after = page["pageInfo"]["endCursor"]
    assert paged == ids
    assert resolve(admin, ids[0], "DISMISS")["__typename"] == "AttentionResolved"
    assert [item["id"] for item in items(admin)] == ids[1:]


def test_the_list_asks_as_often_for_one_change_as_for_three(world: World, mia: Caller, admin: Caller) -> None:
    ids = stuck(world, mia, 3)
    items(admin)
    counts = []
    for count in (1, 2, 3):
        Operation.update(attended_at=world.clock.now()).execute()
        Operation.update(attended_at=None).where(Operation.id.in_(ids[:count])).execute()
        asked: Asked = []
        with statements(asked.append):
            found = items(admin)
        assert [(item["id"], item["provider"]) for item in found] == [(row, "CAL_COM") for row in ids[:count]]
        counts.append(len(selects(asked)))
    assert counts == counts[:1] * 3


def test_two_admins_try_the_same_again_at_once(world: World, mia: Caller, admin: Caller) -> None:
    (operation,) = stuck(world, mia, 1)
    boss = world.caller("Boss", admin=True)
    answers = overtaken("operation", lambda: resolve(boss, operation, "TRY_AGAIN"), lambda: resolve(admin, operation, "TRY_AGAIN"))
    assert list(answers) == [{"__typename": "AttentionResolved", "id": operation, "action": "TRY_AGAIN"}] * 2
    assert (Operation.get().state, Hold.select().count()) == ("IN_PROGRESS", 2)
    world.jobs()
    assert (Operation.get().state, Hold.select().count(), items(admin)) == ("COMPLETED", 0, [])
    assert (len(mia.bookings()), world.calls("POST", "/v2/bookings")) == (1, 1)


def test_a_dismissed_delivery_that_dies_once_more_is_back(world: World, admin: Caller) -> None:
    dead_delivery(world, world.coach())
    (item,) = items(admin)
    assert resolve(admin, item["id"], "DISMISS")["__typename"] == "AttentionResolved"
    assert items(admin) == []
    broken = world.sandbox.fault(
        {"kind": "status", "status": 403, "body": {"status": "error"}}, method="GET", path="/calcom/v2/bookings/*", times=None
    )
    assert admin.one(REPLAY, ids=[item["id"]]) == {"replayed": 1}
    assert items(admin) == [], "under way again"
    for _ in range(15):
        webhooks.apply_due(world.rt)
        world.rt.transport._breakers.clear()
        world.move_clock(hours=1)
    broken.remove()
    assert [one["node"]["state"] for one in admin.one(INBOX)["edges"]] == ["DEAD"]
    assert [(one["id"], one["kind"], one["detail"]) for one in items(admin)] == [(item["id"], "WEBHOOK", item["detail"])]
    assert resolve(admin, item["id"], "TRY_AGAIN")["__typename"] == "AttentionResolved"
    world.jobs()
    assert (WebhookEvent.get().state, items(admin)) == ("APPLIED", [])


# ---- reminders -------------------------------------------------------------------------------------------------------------------


def remind(world: World, moment: datetime) -> Asked:
    """The minute's job at that moment: what it asked the database."""
    world.clock.at = moment
    asked: Asked = []
    with statements(asked.append):
        reminders.remind(world.rt, "")
    return asked


def reminded(person: Caller) -> list[str]:
    """The starts of the meetings that they were reminded of, oldest first."""
    return [one["newStart"] for one in person.notifications() if one["kind"] == "REMINDER"][::-1]


def test_one_wants_five_minutes_and_the_other_two_weeks(world: World) -> None:
    """Each is told once at their own moment, and what lies between is not even read."""
    clara, otto, pia = world.coach(), world.caller("Otto"), world.caller("Pia")
    set_preferences(clara, reminderMinutes=[20160])
    for person in (otto, pia):
        set_preferences(person, reminderMinutes=[5])
    near, far = at(3, 9), at(17, 9)
    for start in (near, far):
        world.book(clara, start)
    world.jobs()
    counts, read = [], []
    for day in range(4, 8):
        asked = remind(world, at(3, 8, 54))
        counts.append(len(asked))
        ((sql, params),) = selects(asked, 'participant"')
        read.append(len(db.execute_sql(sql, params).fetchall()))
        world.book(clara, at(day, 9), name="Pia", force=True)
        world.jobs()
    assert (counts, read) == (counts[:1] * 4, [0] * 4)
    told_then = []
    for moment in (near - timedelta(minutes=5), near - timedelta(minutes=4), near, at(3, 9, 1), far - timedelta(minutes=5)):
        remind(world, moment)
        told_then.append((reminded(clara), reminded(otto), reminded(pia)))
    first, last = iso(near), iso(far)
    assert told_then == [([], [first], [])] * 2 + [([last], [first], [])] * 2 + [([last], [first, last], [])]
