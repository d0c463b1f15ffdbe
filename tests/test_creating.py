"""Booking through Convene: for oneself, for somebody named, at both providers; once, or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from calendly_people import calendly_coach, calendly_type, hear, invite, live_events, set_limits, set_switches
from harness import AVAILABILITY, BOOKING, ONE_BOOKING, OPERATION, SYNC, Caller, World, at, iso
from processes import Plan, Process, once

from models import Hold, Operation
from services import operations

CREATE = (
    """mutation($input: CreateBookingInput!) { createBooking(input: $input) { __typename
  ... on BookingCreated { booking { ...B } warnings { code message connectProvider } }
  ... on BookingAwaitingConfirmation { booking { ...B } warnings { code message } }
  ... on BookingInProgress { operation { id kind state booking { id } } }
  ... on SlotUnavailable { canAccept alternatives { start end } conflicts { participant { name } role reason start end } }
  ... on SourceUnverified { role canAccept }
  ... on InvalidInput { fields { path message } }
  ... on ConnectionUnusable { isViewers provider problem { code } }
  ... on QuotaExhausted { resetAt } ... on ProviderFailure { retryable retryAt } ... on Problem { code message } } }"""
    + BOOKING
)
KINDS = "query { eventTypes { edges { node { id title } } } }"
PROVIDERS = ["CAL_COM", "CALENDLY"]
POST = {"CAL_COM": "/calcom/v2/bookings", "CALENDLY": "/calendly/api/invitees"}
LIST = {"CAL_COM": "/calcom/v2/bookings", "CALENDLY": "/calendly/api/scheduled_events"}
NINE = at(2, 9)
CHOICES = ["Beginner", "Expert"]


def event_type(coach: Caller, title: str | None = None) -> str:
    """Convene's id of the coach's event type of that title."""
    nodes = [edge["node"] for edge in coach.one(KINDS)["edges"]]
    return str(next(node["id"] for node in nodes if title in {None, node["title"]}))


def create(caller: Caller, kind: str, start: datetime = NINE, key: str = "b1", **more: Any) -> Any:
    return caller.one(CREATE, input={"eventTypeId": kind, "start": iso(start), "idempotencyKey": key, **more})


def named(name: str, **more: str) -> dict[str, str]:
    return {"name": name, "email": f"{name.lower()}@example.test", "timeZone": "Europe/London", **more}


def told(caller: Caller) -> list[str]:
    return [one["kind"] for one in caller.notifications()][::-1]


@dataclass
class Desk:
    """A coach at one of the providers, with one event type of 30 minutes, and what is to be known of the provider."""

    world: World
    provider: str
    coach: Caller
    kind: str

    @property
    def calendly(self) -> bool:
        return self.provider == "CALENDLY"

    def live(self) -> int:
        """Bookings that stand at the provider."""
        return live_events(self.world) if self.calendly else len(self.world.live_uids())

    def posts(self) -> int:
        """Requests to book."""
        return sum(r.method == "POST" and r.path == POST[self.provider] for r in self.world.sandbox.requests)

    def take(self, start: datetime, name: str = "Rival") -> None:
        """Somebody books that time at the provider, not through Convene."""
        if self.calendly:
            invite(self.world, self.coach, "Call", start, name)
        else:
            self.world.book(self.coach, start, name=name)

    def on_post(self, effect: dict[str, Any], times: int | None = 1) -> Any:
        return self.world.sandbox.fault(effect, method="POST", path=POST[self.provider], times=times)

    def on_list(self, effect: dict[str, Any], times: int | None = None) -> Any:
        return self.world.sandbox.fault(effect, method="GET", path=LIST[self.provider], times=times)

    def later(self, seconds: float) -> None:
        self.world.move_clock(seconds=seconds)
        hear(self.world)

    def assert_booked_once(self, *people: Caller) -> None:
        hear(self.world)
        self.later(operations.COMPLETER_PERIOD.total_seconds() + 1)
        (booking,) = self.coach.bookings()
        assert (booking["start"], self.live()) == (iso(NINE), 1)
        assert [edge["node"]["kind"] for edge in booking["history"]["edges"]] == ["BOOKED"]
        assert [told(person) for person in (self.coach, *people)] == [["BOOKED"]] * (len(people) + 1)
        self.assert_quiet()

    def assert_nothing(self, *people: Caller) -> None:
        hear(self.world)
        assert (self.coach.bookings(), self.live()) == ([], 0)
        assert [told(person) for person in (self.coach, *people)] == [[]] * (len(people) + 1)
        self.assert_quiet()

    def assert_quiet(self) -> None:
        assert (Operation.select().where(Operation.open).count(), Hold.select().count()) == (0, 0)


def desk_at(world: World, provider: str, **more: Any) -> Desk:
    coach = calendly_coach(world, "Clara", **more) if provider == "CALENDLY" else world.coach(**more)
    return Desk(world, provider, coach, event_type(coach))


@pytest.fixture(params=PROVIDERS)
def desk(world: World, request: pytest.FixtureRequest) -> Desk:
    return desk_at(world, request.param)


@pytest.fixture
def calcom(world: World) -> Desk:
    return desk_at(world, "CAL_COM")


@pytest.fixture
def calendly(world: World) -> Desk:
    return desk_at(world, "CALENDLY")


@pytest.fixture
def mia(world: World) -> Caller:
    """Signs in, and has nothing linked."""
    return world.caller("Mia", time_zone="America/New_York")


# ---- who books for whom --------------------------------------------------------------------------------------------------


def test_the_viewer_books(desk: Desk, mia: Caller) -> None:
    made = create(mia, desk.kind)
    booking, label = made["booking"], "Calendly" if desk.calendly else "Cal.com"
    assert made["__typename"] == "BookingCreated"
    assert made["warnings"] == [
        {
            "code": "MENTEE_NOT_CONNECTED",
            "message": "We can't check your calendar for conflicts without access. The times shown are based on the coach's "
            f"availability. Want to connect your {label} account now?",
            "connectProvider": desk.provider,
        }
    ]
    assert (booking["start"], booking["end"], booking["status"]) == (iso(NINE), iso(at(2, 9, 30)), "CONFIRMED")
    assert (booking["viewerRole"], booking["externalId"], booking["provider"]) == ("MENTEE", None, desk.provider)
    assert [(p["role"], p["name"], p["isViewer"]) for p in booking["participants"]] == [("COACH", "Clara", False), ("MENTEE", "Mia", True)]
    (change,) = booking["history"]["edges"]
    assert (change["node"]["kind"], change["node"]["by"], change["node"]["source"]) == ("BOOKED", "Mia", "CONVENE")
    desk.assert_booked_once(mia)
    assert [b["id"] for b in desk.coach.bookings()] == [booking["id"]]
    (news,), (confirmation,) = desk.coach.notifications(), mia.notifications()
    assert (news["body"], news["by"]) == (f"Mia booked “{booking['title']}” for Tue 2 Mar 2027, 10:00 (Europe/Berlin).", "Mia")
    assert confirmation["body"] == f"You booked “{booking['title']}” for Tue 2 Mar 2027, 04:00 (America/New_York)."
    assert desk.posts() == 1


def test_a_coach_books_somebody_named(desk: Desk, mia: Caller) -> None:
    made = create(desk.coach, desk.kind, attendee=named("Mia", timeZone="America/New_York"))
    assert (made["__typename"], made["warnings"], made["booking"]["viewerRole"]) == ("BookingCreated", [], "COACH")
    assert [(p["role"], p["email"]) for p in made["booking"]["participants"]] == [
        ("COACH", "clara@example.test"),
        ("MENTEE", "mia@example.test"),
    ]
    desk.assert_booked_once(mia)
    assert mia.notifications()[0]["body"] == f"Clara booked “{made['booking']['title']}” for Tue 2 Mar 2027, 04:00 (America/New_York)."
    assert [b["id"] for b in mia.bookings()] == [made["booking"]["id"]]


def test_a_third_person_books_somebody_and_may_read_it_afterwards(desk: Desk, mia: Caller) -> None:
    theo = desk.world.caller("Theo")
    made = create(theo, desk.kind, attendee=named("Mia"))
    booking = made["booking"]
    assert (made["__typename"], made["warnings"]) == ("BookingCreated", [])
    assert (booking["viewerRole"], booking["meetingUrl"], booking["location"], booking["externalId"]) == (None, None, None, None)
    assert [(p["name"], p["email"]) for p in booking["participants"]] == [("Clara", None), ("Mia", None)]
    desk.assert_booked_once(mia)
    assert theo.one(ONE_BOOKING, id=booking["id"])["id"] == booking["id"]
    assert desk.coach.notifications()[0]["body"].startswith("Theo booked “")
    assert theo.move(booking["id"], at(3, 10))["__typename"] == "NotPermitted"
    assert desk.world.caller("Eve").one(ONE_BOOKING, id=booking["id"]) is None


@pytest.mark.parametrize("change", ["moved", "cancelled"])
def test_who_booked_here_also_changes_it_here_in_their_own_name(desk: Desk, mia: Caller, change: str) -> None:
    booking = create(mia, desk.kind)["booking"]["id"]
    hear(desk.world)
    done = mia.move(booking, at(3, 10), reason="Ill.") if change == "moved" else mia.cancel(booking, reason="Ill.")
    assert done["__typename"] == {"moved": "BookingRescheduled", "cancelled": "BookingCancelled"}[change]
    hear(desk.world)
    newest = mia.one(ONE_BOOKING, id=booking)["history"]["edges"][0]["node"]
    assert [newest[name] for name in ("kind", "by", "source", "reason")] == [change.upper(), "Mia", "CONVENE", "Ill."]
    assert desk.coach.notifications()[0]["body"].startswith(f"Mia {change} “")
    assert mia.notifications()[0]["body"].startswith(f"You {change} “")
    assert sorted(p["name"] for p in done["notificationsQueuedFor"]) == ["Clara", "Mia"]


def test_naming_oneself_is_booking_for_oneself(calcom: Desk, mia: Caller) -> None:
    made = create(mia, calcom.kind, attendee=named("Mia", email="MIA@Example.Test"))
    assert (made["__typename"], made["booking"]["viewerRole"]) == ("BookingCreated", "MENTEE")
    assert [warning["code"] for warning in made["warnings"]] == ["MENTEE_NOT_CONNECTED"]


def test_without_a_verified_address_somebody_has_to_be_named(calendly: Desk) -> None:
    shy = calendly.world.caller("Shy", email_verified=False)
    refused = create(shy, calendly.kind)
    assert refused["fields"] == [
        {"path": ["attendee"], "message": "Your sign-in tells no verified e-mail address: give `attendee` with one."}
    ]
    assert calendly.posts() == 0
    assert create(shy, calendly.kind, attendee=named("Shy"))["__typename"] == "BookingCreated"


def test_a_host_does_not_attend_their_own_event(calendly: Desk) -> None:
    nobody = create(calendly.coach, calendly.kind)
    assert nobody["fields"] == [{"path": ["attendee"], "message": "This is your own event type: name who attends."}]
    oneself = create(calendly.coach, calendly.kind, attendee=named("Clara"))
    assert oneself["fields"] == [{"path": ["attendee", "email"], "message": "This is the host's own address: name who attends."}]
    calendly.assert_nothing()
    assert calendly.posts() == 0


# ---- what is asked for ---------------------------------------------------------------------------------------------------


def test_well_formed_nonsense(calcom: Desk, mia: Caller) -> None:
    nonsense: list[tuple[dict[str, Any], list[str]]] = [
        ({"attendee": named("Mia", email="mia at example")}, ["attendee", "email"]),
        ({"attendee": named("Mia", email=f"{'m' * 250}@example.test")}, ["attendee", "email"]),
        ({"attendee": named("Mia") | {"name": "  "}}, ["attendee", "name"]),
        ({"attendee": named("Mia") | {"name": "M" * 201}}, ["attendee", "name"]),
        ({"start": iso(at(1, 7))}, ["start"]),
        ({"start": "2029-06-01T09:00:00Z"}, ["start"]),
        ({"idempotencyKey": " "}, ["idempotencyKey"]),
        ({"durationMinutes": 31}, ["durationMinutes"]),
        ({"answers": [{"question": "Shoe size?", "answer": "40"}]}, ["answers", "0", "question"]),
    ]
    for more, path in nonsense:
        refused = mia.one(CREATE, input={"eventTypeId": calcom.kind, "start": iso(NINE), "idempotencyKey": "b1", **more})
        assert (refused["__typename"], [field["path"] for field in refused["fields"]]) == ("InvalidInput", [path])
    calcom.assert_nothing(mia)
    assert calcom.posts() == 0


def test_an_unknown_zone_and_a_naive_time_are_no_input_at_all(calcom: Desk, mia: Caller) -> None:
    wrong = {"attendee": named("Mia", timeZone="Mars/Base")}, {"start": "2027-03-02T09:00:00"}
    for more in wrong:
        (error,) = mia.errors(CREATE, input={"eventTypeId": calcom.kind, "start": iso(NINE), "idempotencyKey": "b1", **more})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert calcom.posts() == 0


def test_a_time_between_the_slots_is_refused(desk: Desk, mia: Caller) -> None:
    for start in (at(2, 9) + timedelta(minutes=7), at(6, 9)):
        refused = create(mia, desk.kind, start)
        assert (refused["__typename"], refused["canAccept"], len(refused["alternatives"])) == ("SlotUnavailable", False, 5)
        assert [(c["role"], c["reason"]) for c in refused["conflicts"]] == [("COACH", "OTHER_PARTY_UNAVAILABLE")]
    assert desk.posts() == 0
    desk.assert_nothing(mia)


def asking(world: World, provider: str) -> Desk:
    """A coach who asks for a goal and a level, and who may be told of anything else."""
    if provider == "CALENDLY":
        level = {"name": "Level", "type": "single_select", "required": True, "answer_choices": CHOICES}
        kind = {"name": "Call", "duration": 30, "questions": [{"name": "Goal", "required": True}, level, {"name": "Else"}]}
        return desk_at(world, provider, event_types=[kind])
    fields = [
        {"type": "text", "slug": "goal", "label": "Goal", "required": True, "placeholder": ""},
        {"type": "select", "slug": "level", "label": "Level", "required": True, "options": CHOICES, "placeholder": ""},
        {"type": "text", "slug": "else", "label": "Else", "required": False, "placeholder": ""},
    ]
    return desk_at(world, provider, eventTypes=[{"title": "Call", "slug": "session", "lengthInMinutes": 30, "bookingFields": fields}])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_everything_that_is_wrong_with_the_answers_is_told_at_once(world: World, mia: Caller, provider: str) -> None:
    desk = asking(world, provider)
    given = [("Level", "Wizard"), ("Else", "one"), ("Else", "two"), ("Shoe size?", "40"), ("Goal", "x" * 5001)]
    refused = create(mia, desk.kind, answers=[{"question": q, "answer": a} for q, a in given])
    assert refused["fields"] == [
        {"path": ["answers", "0", "answer"], "message": "Choose one of: Beginner, Expert."},
        {"path": ["answers", "2", "question"], "message": "This is answered twice."},
        {"path": ["answers", "3", "question"], "message": "The event type does not ask this."},
        {"path": ["answers", "4", "answer"], "message": "At most 5000 characters are taken."},
        {"path": ["answers"], "message": "“Goal” has to be answered."},
        {"path": ["answers"], "message": "“Level” has to be answered."},
    ]
    assert create(mia, desk.kind, answers=[{"question": "Goal", "answer": " "}])["fields"][0]["message"] == "“Goal” has to be answered."
    desk.assert_nothing(mia)
    assert desk.posts() == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_answers_reach_the_provider_and_come_back(world: World, mia: Caller, provider: str) -> None:
    desk = asking(world, provider)
    given = [{"question": "Goal", "answer": "Bücher lesen"}, {"question": "Level", "answer": "Expert"}, {"question": "Else", "answer": " "}]
    made = create(mia, desk.kind, answers=given)
    assert made["__typename"] == "BookingCreated"
    assert made["booking"]["answers"] == given[:2]
    desk.assert_booked_once(mia)


def test_one_of_several_lengths(world: World, mia: Caller) -> None:
    kind = {"title": "Session", "slug": "session", "lengthInMinutes": 30, "lengthInMinutesOptions": [30, 60]}
    desk = desk_at(world, "CAL_COM", eventTypes=[kind])
    assert create(mia, desk.kind, durationMinutes=45)["fields"] == [
        {"path": ["durationMinutes"], "message": "This event type lasts 30, 60 minutes."}
    ]
    made = create(mia, desk.kind, durationMinutes=60)
    assert (made["booking"]["start"], made["booking"]["end"]) == (iso(NINE), iso(at(2, 10)))
    assert create(mia, desk.kind, at(2, 10), "b2", durationMinutes=30)["booking"]["end"] == iso(at(2, 10, 30))


def test_calendly_books_its_own_length_alone(world: World, mia: Caller) -> None:
    desk = desk_at(world, "CALENDLY", event_types=[{"name": "Call", "duration": 30, "duration_options": [30, 60]}])
    assert create(mia, desk.kind, durationMinutes=60)["fields"] == [
        {"path": ["durationMinutes"], "message": "Calendly tells free times for 30 minutes only."}
    ]
    assert desk.posts() == 0
    assert create(mia, desk.kind, durationMinutes=30)["__typename"] == "BookingCreated"


def test_where_the_coach_confirms_it_waits(world: World, mia: Caller) -> None:
    policy = {"type": "always", "blockUnconfirmedBookingsInBooker": False}
    desk = desk_at(world, "CAL_COM", eventTypes=[{"title": "Deep", "slug": "session", "lengthInMinutes": 30, "confirmationPolicy": policy}])
    asked = create(mia, desk.kind)
    assert (asked["__typename"], asked["booking"]["status"]) == ("BookingAwaitingConfirmation", "PENDING")
    hear(world)
    title = asked["booking"]["title"]
    assert [(n["kind"], n["body"]) for n in desk.coach.notifications()] == [
        ("AWAITING_CONFIRMATION", f"Mia asked for “{title}” on Tue 2 Mar 2027, 10:00 (Europe/Berlin). The coach has to confirm it.")
    ]
    assert [(n["kind"], n["body"]) for n in mia.notifications()] == [
        ("AWAITING_CONFIRMATION", f"You asked for “{title}” on Tue 2 Mar 2027, 04:00 (America/New_York). The coach has to confirm it.")
    ]
    assert create(mia, desk.kind) == asked
    assert desk.posts() == 1


def test_places_of_a_group_event(world: World, mia: Caller) -> None:
    kinds = [{"name": "Circle", "duration": 30, "kind": "group", "limit": 2}, {"name": "Call", "duration": 30}]
    desk = desk_at(world, "CALENDLY", event_types=kinds)
    circle, otto, late = event_type(desk.coach, "Circle"), world.caller("Otto"), world.caller("Late")
    first, second = create(mia, circle), create(otto, circle)
    assert (first["__typename"], second["__typename"]) == ("BookingCreated", "BookingCreated")
    assert first["booking"]["id"] != second["booking"]["id"]
    hear(world)
    assert live_events(world) == 1
    full = create(late, circle)
    assert (full["__typename"], full["canAccept"]) == ("SlotUnavailable", False)
    other = create(late, event_type(desk.coach, "Call"))
    assert (other["__typename"], len(other["alternatives"])) == ("SlotUnavailable", 5)
    assert (told(mia), told(otto), told(late), told(desk.coach)) == (["BOOKED"], ["BOOKED"], [], ["BOOKED", "BOOKED"])
    assert [[p["name"] for p in b["participants"]] for b in mia.bookings()] == [["Clara", "Mia"]]
    assert (len(desk.coach.bookings()), desk.posts()) == (2, 2)


def test_an_event_type_that_is_hidden_is_its_hosts_alone(calcom: Desk, mia: Caller) -> None:
    users = {user.email: user for user in calcom.world.sandbox.world.calcom.users.values()}
    (row,) = calcom.world.sandbox.world.calcom.owned_event_types(users[calcom.coach.email].id)
    row.data["hidden"] = True
    calcom.world.move_clock(minutes=31)
    calcom.world.jobs()
    assert create(mia, calcom.kind)["__typename"] == "NotFound"
    assert calcom.posts() == 0
    assert create(calcom.coach, calcom.kind, attendee=named("Mia"))["__typename"] == "BookingCreated"


def test_what_cannot_be_booked_is_not_there(calendly: Desk, mia: Caller) -> None:
    calendly_type(calendly.world, calendly.coach).active = False
    calendly.world.move_clock(minutes=31)
    calendly.world.jobs()
    for caller, more in ((mia, {}), (calendly.coach, {"attendee": named("Mia")})):
        assert create(caller, calendly.kind, **more)["__typename"] == "NotFound"
        assert create(caller, "01ARZ3NDEKTSV4RRFFQ69G5FAV", **more)["__typename"] == "NotFound"
    calendly.assert_nothing(mia)
    assert calendly.posts() == 0


def test_an_event_type_of_somebody_who_unlinked_is_not_there(calendly: Desk, mia: Caller) -> None:
    unlink = "mutation($provider: Provider!) { disconnectProvider(input: {provider: $provider}) { __typename } }"
    assert calendly.coach.one(unlink, provider=calendly.provider)["__typename"] == "ProviderUnlinked"
    assert create(mia, calendly.kind)["__typename"] == "NotFound"
    assert calendly.posts() == 0


@pytest.mark.parametrize("kind", ["ask_invitee", "outbound_call"])
def test_where_the_invitee_says_where_to_meet_it_is_booked_on_the_page(world: World, mia: Caller, kind: str) -> None:
    desk = desk_at(world, "CALENDLY", event_types=[{"name": "Call", "duration": 30, "locations": [{"kind": kind}]}])
    refused = create(mia, desk.kind)
    page = f"{world.sandbox.url}/calendly/web/clara/call"
    assert refused["fields"] == [{"path": ["eventTypeId"], "message": f"Here the invitee says where to meet. Book it on its page: {page}"}]
    desk.assert_nothing(mia)
    assert desk.posts() == 0


def test_of_several_places_the_first_that_needs_no_word_of_the_invitee(world: World, mia: Caller) -> None:
    places = [{"kind": "ask_invitee"}, {"kind": "physical", "location": "Main Street 1"}, {"kind": "custom", "location": "The park"}]
    desk = desk_at(world, "CALENDLY", event_types=[{"name": "Call", "duration": 30, "locations": places}])
    assert create(mia, desk.kind)["booking"]["location"] == "Main Street 1"


def test_what_is_paid_for_is_booked_on_the_page(world: World, mia: Caller) -> None:
    desk = desk_at(world, "CALENDLY", event_types=[{"name": "Call", "duration": 30, "paid": True}])
    page = f"{world.sandbox.url}/calendly/web/clara/call"
    assert create(mia, desk.kind)["fields"] == [
        {"path": ["eventTypeId"], "message": f"This event type is paid for when it is booked. Book it on its page: {page}"}
    ]
    desk.assert_nothing(mia)
    assert desk.posts() == 0


# ---- once ----------------------------------------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_booking_and_another_input_is_refused(desk: Desk, mia: Caller) -> None:
    made = create(mia, desk.kind)
    assert create(mia, desk.kind) == made
    for kind, start, more in ((desk.kind, at(2, 10), {}), (desk.kind, NINE, {"attendee": named("Mia")}), ("other", NINE, {})):
        assert create(mia, kind, start, **more)["__typename"] == "IdempotencyKeyReused"
    assert desk.posts() == 1
    other = create(desk.world.caller("Otto"), desk.kind, at(2, 10))
    assert other["__typename"] == "BookingCreated", "a key is its user's own"


def test_the_same_key_eight_times_at_once_books_once(calendly: Desk, mia: Caller) -> None:
    barrier = threading.Barrier(8)

    def one(_: int) -> Any:
        barrier.wait()
        return create(mia, calendly.kind)["__typename"]

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(one, range(8)))
    assert answers <= {"BookingCreated", "BookingInProgress"}
    assert create(mia, calendly.kind)["__typename"] == "BookingCreated"
    assert calendly.posts() == 1
    calendly.assert_booked_once(mia)


def test_two_people_want_one_time_and_one_gets_it(desk: Desk, mia: Caller) -> None:
    people, barrier = [mia, desk.world.caller("Otto"), desk.world.caller("Nora")], threading.Barrier(3)

    def one(caller: Caller) -> Any:
        barrier.wait()
        return create(caller, desk.kind)

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(one, people))
    assert sorted(a["__typename"] for a in answers) == ["BookingCreated", "SlotUnavailable", "SlotUnavailable"]
    for answer, person in zip(answers, people, strict=True):
        if answer["__typename"] == "SlotUnavailable":
            assert len(answer["alternatives"]) == 5
            assert iso(NINE) not in {slot["start"] for slot in answer["alternatives"]}
            assert told(person) == []
    assert desk.posts() == 1
    desk.assert_booked_once(*(p for a, p in zip(answers, people, strict=True) if a["__typename"] == "BookingCreated"))


def test_a_refusal_leaves_the_key_free(calcom: Desk, mia: Caller) -> None:
    calcom.take(NINE)
    hear(calcom.world)
    assert create(mia, calcom.kind)["__typename"] == "SlotUnavailable"
    assert create(mia, calcom.kind, at(2, 10))["__typename"] == "BookingCreated"


def taken_meanwhile(desk: Desk, mia: Caller) -> Any:
    """Somebody takes the time after our check and before our request is looked at."""
    held = desk.on_post({"kind": "hold"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(create, mia, desk.kind)
        assert held.wait_held()
        desk.take(NINE)
        held.release()
        return answer.result()


@pytest.mark.parametrize("status", [0, 400, 404, 409], ids=["calcom", "400", "404", "409"])
def test_a_slot_that_is_taken_meanwhile(world: World, mia: Caller, status: int) -> None:
    """Which status Calendly answers is not settled."""
    desk = desk_at(world, "CALENDLY" if status else "CAL_COM")
    if status:
        set_switches(world, takenSlotStatus=status)
    refused = taken_meanwhile(desk, mia)
    assert (refused["__typename"], refused["canAccept"]) == ("SlotUnavailable", False)
    assert [(c["participant"]["name"], c["role"], c["reason"], c["start"], c["end"]) for c in refused["conflicts"]] == [
        ("Clara", "COACH", "OTHER_PARTY_UNAVAILABLE", iso(NINE), iso(at(2, 9, 30)))
    ]
    assert [slot["start"] for slot in refused["alternatives"]] == [iso(at(2, 9, 30) + timedelta(minutes=30 * n)) for n in range(5)]
    assert create(mia, desk.kind) == refused, "it was sent, so the key stands for this outcome"
    hear(world)
    assert (desk.live(), desk.posts(), told(mia)) == (1, 1, [])
    desk.assert_quiet()


def test_alternatives_after_the_providers_refusal_suit_the_mentee_too(calendly: Desk) -> None:
    mia = calendly.world.caller("Mia")
    calendly.world.account(mia)
    mia.link()
    calendly.world.sandbox_call("calcom/busy", email=mia.email, start=iso(at(2, 9, 30)), end=iso(at(2, 11)))
    refused = taken_meanwhile(calendly, mia)
    assert [slot["start"] for slot in refused["alternatives"]][:1] == [iso(at(2, 11))]


# ---- lost answers and deaths -----------------------------------------------------------------------------------------------


def test_a_lost_answer_is_read_back_by_the_mark(desk: Desk, mia: Caller) -> None:
    desk.on_post({"kind": "malformed"} if desk.calendly else {"kind": "drop", "when": "after"})
    made = create(mia, desk.kind)
    assert made["__typename"] == "BookingCreated"
    assert create(mia, desk.kind) == made
    desk.assert_booked_once(mia)
    assert desk.posts() == 1


def test_a_lost_answer_while_nothing_can_be_read(desk: Desk, mia: Caller) -> None:
    lost, away = desk.on_post({"kind": "drop", "when": "after"}), desk.on_list({"kind": "status", "status": 503})
    desk.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    unknown = create(mia, desk.kind)
    assert (unknown["__typename"], unknown["operation"]["kind"], unknown["operation"]["state"]) == (
        "BookingInProgress",
        "BOOKED",
        "IN_PROGRESS",
    )
    assert create(mia, desk.kind)["__typename"] == "BookingInProgress"
    assert create(desk.world.caller("Otto"), desk.kind)["__typename"] in {"SlotUnavailable", "SourceUnverified"}
    lost.remove()
    away.remove()
    desk.later(40)
    assert create(mia, desk.kind)["__typename"] == "BookingCreated"
    assert mia.one(OPERATION, id=unknown["operation"]["id"])["state"] == "COMPLETED"
    assert desk.posts() == 1
    desk.assert_booked_once(mia)


def test_a_request_that_never_arrived_is_undone_and_says_so(desk: Desk, mia: Caller) -> None:
    desk.on_post({"kind": "drop", "when": "before"})
    unknown = create(mia, desk.kind)
    assert unknown["__typename"] == "BookingInProgress"
    desk.later(40)
    assert create(mia, desk.kind)["__typename"] == "BookingInProgress", "it may still be under way"
    held = create(desk.world.caller("Otto"), desk.kind)
    assert [conflict["reason"] for conflict in held["conflicts"]] == ["OTHER_PARTY_UNAVAILABLE"]
    desk.later(200)
    assert mia.one(OPERATION, id=unknown["operation"]["id"])["state"] == "UNDONE"
    final = create(mia, desk.kind)
    assert (final["__typename"], final["code"], final["retryable"]) == ("ProviderFailure", "NOT_DONE", False)
    desk.assert_nothing(mia)
    assert create(mia, desk.kind, key="b2")["__typename"] == "BookingCreated"


def test_a_webhook_before_the_answer_joins(desk: Desk, mia: Caller) -> None:
    held = desk.on_post({"kind": "hold", "when": "after"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(create, mia, desk.kind)
        assert held.wait_held()
        hear(desk.world)
        (early,) = desk.coach.bookings()
        assert create(mia, desk.kind)["__typename"] == "BookingInProgress"
        held.release()
        made = answer.result()
    assert (made["__typename"], made["booking"]["id"]) == ("BookingCreated", early["id"])
    (change,) = made["booking"]["history"]["edges"]
    assert (change["node"]["by"], change["node"]["source"]) == ("Mia", "CONVENE")
    desk.assert_booked_once(mia)


def die(desk: Desk, caller: Caller, step: str) -> None:
    with Process(desk.world, once, Plan(die_at=step)) as process:
        process.go(caller.token, CREATE, {"input": {"eventTypeId": desk.kind, "start": iso(NINE), "idempotencyKey": "b1"}})
        process.wait_dead()


@pytest.mark.parametrize(("provider", "step"), [("CAL_COM", "operation.begun"), ("CALENDLY", "operation.checked")])
def test_dead_before_anything_was_sent(world: World, mia: Caller, provider: str, step: str) -> None:
    desk = desk_at(world, provider)
    die(desk, mia, step)
    assert create(mia, desk.kind)["__typename"] == "BookingInProgress"
    assert desk.posts() == 0
    desk.later(operations.BEFORE_SENDING.total_seconds() + 1)
    desk.assert_nothing(mia)
    (ended,) = Operation.select()
    assert (ended.state, ended.lease_owner, ended.lease_until) == ("REFUSED", None, None), "it is in nobody's hands"
    assert create(mia, desk.kind)["__typename"] == "BookingCreated", "the key is free"
    desk.assert_booked_once(mia)


def test_dead_right_before_sending_nothing_is_booked(desk: Desk, mia: Caller) -> None:
    die(desk, mia, "operation.sent")
    desk.later(31)
    assert create(mia, desk.kind)["__typename"] == "BookingInProgress"
    desk.later(220)
    desk.assert_nothing(mia)
    assert create(mia, desk.kind)["code"] == "NOT_DONE"
    assert desk.posts() == 0


@pytest.mark.parametrize(
    ("provider", "step"),
    [
        ("CAL_COM", "operation.answered"),
        ("CALENDLY", "operation.answered"),
        ("CALENDLY", "operation.recorded"),
        ("CAL_COM", "operation.settled"),
    ],
)
def test_dead_after_the_provider_booked(world: World, mia: Caller, provider: str, step: str) -> None:
    desk = desk_at(world, provider)
    if step == "operation.answered":
        desk.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    die(desk, mia, step)
    desk.assert_booked_once(mia)
    assert create(mia, desk.kind)["__typename"] == "BookingCreated"
    assert desk.posts() == 1


def test_a_link_that_breaks_before_the_answer_leaves_it_open(calendly: Desk, mia: Caller) -> None:
    """Booked, and then it cannot be read: whoever takes that for a refusal books twice."""
    held = calendly.on_post({"kind": "hold", "when": "after"})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(create, mia, calendly.kind)
        assert held.wait_held()
        calendly.world.sandbox_call("calendly/tokens/revoke", email=calendly.coach.email)
        held.release()
        assert answer.result()["__typename"] == "BookingInProgress"
    calendly.coach.link(provider="CALENDLY")
    calendly.later(60)
    assert create(mia, calendly.kind)["__typename"] == "BookingCreated"
    assert (calendly.live(), calendly.posts(), len(calendly.coach.bookings())) == (1, 1, 1)


# ---- forged marks ----------------------------------------------------------------------------------------------------------


def forge(desk: Desk, mark: str, start: datetime, kind: str = "Call") -> None:
    """An outsider books with a mark of ours."""
    if desk.calendly:
        invite(desk.world, desk.coach, kind, start, "Eve", tracking={"utm_source": "convene", "utm_term": f"convene:{mark}"}, force=True)
    else:
        slug = {"Call": "session"}.get(kind, kind.lower())
        desk.world.book(desk.coach, start, name="Eve", slug=slug, metadata={"conveneOperation": mark}, force=True)


@pytest.mark.parametrize("forged", ["another time", "another event type"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_forged_mark_is_not_joined(world: World, mia: Caller, provider: str, forged: str) -> None:
    if provider == "CALENDLY":
        desk = desk_at(world, provider, event_types=[{"name": "Call", "duration": 30}, {"name": "Other", "duration": 30}])
    else:
        kinds = [{"title": t, "slug": s, "lengthInMinutes": 30} for t, s in (("Call", "session"), ("Other", "other"))]
        desk = desk_at(world, provider, eventTypes=kinds)
    desk.kind = event_type(desk.coach, "Call")
    desk.on_post({"kind": "drop", "when": "before"})
    operation = create(mia, desk.kind)["operation"]["id"]
    forge(desk, operation, *((at(2, 10), "Call") if forged == "another time" else (NINE, "Other")))
    desk.later(40)
    assert create(mia, desk.kind)["__typename"] == "BookingInProgress"
    desk.later(220)
    assert mia.one(OPERATION, id=operation) | {"startedAt": "", "settledAt": ""} == {
        "id": operation,
        "kind": "BOOKED",
        "state": "UNDONE",
        "startedAt": "",
        "settledAt": "",
        "booking": None,
    }
    (theirs,) = desk.coach.bookings()
    assert [p["name"] for p in theirs["participants"]] == ["Clara", "Eve"]
    (change,) = theirs["history"]["edges"]
    assert (change["node"]["by"], change["node"]["source"]) == ("Eve", "PROVIDER")
    assert (mia.bookings(), told(mia)) == ([], [])


def test_a_forged_mark_of_what_is_settled_is_not_joined(desk: Desk, mia: Caller) -> None:
    made = create(mia, desk.kind)
    hear(desk.world)
    forge(desk, Operation.get().id, NINE)
    desk.later(1)
    first, second = sorted(desk.coach.bookings(), key=lambda b: b["id"] != made["booking"]["id"])
    assert (first["id"], [p["name"] for p in second["participants"]]) == (made["booking"]["id"], ["Clara", "Eve"])
    (change,) = second["history"]["edges"]
    assert (change["node"]["by"], change["node"]["source"]) == ("Eve", "PROVIDER")
    assert create(mia, desk.kind)["booking"]["id"] == made["booking"]["id"]
    assert [b["id"] for b in mia.bookings()] == [made["booking"]["id"]]


# ---- quotas ----------------------------------------------------------------------------------------------------------------


def fill(desk: Desk, number: int) -> list[str]:
    caller = desk.world.caller("Busy")
    starts = [NINE + timedelta(minutes=30 * n) for n in range(number)]
    return [create(caller, desk.kind, start, f"q{n}")["__typename"] for n, start in enumerate(starts)]


def assert_readable(desk: Desk, caller: Caller) -> None:
    """The cap on bookings is none on reading."""
    window = {"start": iso(at(3, 0)), "end": iso(at(4, 0))}
    found = caller.one(AVAILABILITY, input={"target": {"eventTypeId": desk.kind}, "window": window, "maxAgeSeconds": 0})
    assert (found["__typename"], found["sources"][0]["state"]) == ("Availability", "FRESH")
    assert desk.coach.one(SYNC, provider="CALENDLY")["__typename"] == "BookingsSynced"


def test_on_trial_the_sixth_of_a_day_is_not_even_sent(world: World, mia: Caller) -> None:
    desk = desk_at(world, "CALENDLY", stage="trial")
    assert fill(desk, 5) == ["BookingCreated"] * 5
    refused = create(mia, desk.kind, at(3, 9))
    assert (refused["__typename"], refused["code"], refused["resetAt"]) == ("QuotaExhausted", "QUOTA_EXHAUSTED", "2027-03-02T08:00:00Z")
    assert refused["message"] == "The provider takes no more bookings for this account until 02 Mar 2027, 08:00 UTC."
    assert desk.posts() == 5
    desk.assert_quiet()
    assert_readable(desk, mia)
    world.move_clock(days=1, seconds=1)
    assert create(mia, desk.kind, at(3, 9))["__typename"] == "BookingCreated", "the key is free, and a day is over"


def test_on_free_a_refusal_tells(world: World, mia: Caller) -> None:
    """No number is published: only the provider knows."""
    desk = desk_at(world, "CALENDLY", plan="basic", stage="free")
    set_limits(world, freePerDay=2)
    assert fill(desk, 2) == ["BookingCreated"] * 2
    refused = create(mia, desk.kind, at(3, 9))
    assert (refused["__typename"], refused["resetAt"]) == ("QuotaExhausted", "2027-03-02T08:00:00Z")
    hear(world)
    assert (desk.live(), told(mia)) == (2, [])
    desk.assert_quiet()
    assert_readable(desk, mia)
    world.move_clock(days=1, seconds=1)
    assert create(mia, desk.kind, at(3, 9))["__typename"] == "BookingCreated"


def test_two_do_not_both_take_the_last_of_a_quota(world: World) -> None:
    desk = desk_at(world, "CALENDLY", stage="trial")
    assert fill(desk, 4) == ["BookingCreated"] * 4
    people, barrier = [world.caller("Mia"), world.caller("Otto")], threading.Barrier(2)

    def one(number: int) -> Any:
        barrier.wait()
        return create(people[number], desk.kind, at(3, 9 + number))["__typename"]

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(one, range(2))) == ["BookingCreated", "QuotaExhausted"]
    assert desk.posts() == 5


# ---- when the coach's side is away -------------------------------------------------------------------------------------------


def test_the_coachs_link_is_broken(desk: Desk, mia: Caller) -> None:
    where = "calendly" if desk.calendly else "calcom"
    desk.world.sandbox_call(f"{where}/tokens/revoke", email=desk.coach.email)
    desk.coach.one("mutation($p: Provider!) { refreshConnection(input: {provider: $p, force: true}) { __typename } }", p=desk.provider)
    refused = create(mia, desk.kind)
    assert (refused["__typename"], refused["isViewers"], refused["provider"], refused["problem"]) == (
        "ConnectionUnusable",
        False,
        desk.provider,
        None,
    )
    own = create(desk.coach, desk.kind, attendee=named("Mia"))
    assert (own["__typename"], own["isViewers"], own["problem"]["code"]) == ("ConnectionUnusable", True, "REVOKED")
    assert (desk.posts(), desk.live()) == (0, 0)
    desk.assert_quiet()
    desk.coach.link(provider=desk.provider)
    assert create(mia, desk.kind)["__typename"] == "BookingCreated"


def test_a_link_that_breaks_unnoticed_is_noticed_before_anything_is_booked(calendly: Desk, mia: Caller) -> None:
    where = "calendly" if calendly.calendly else "calcom"
    calendly.world.sandbox_call(f"{where}/tokens/revoke", email=calendly.coach.email)
    assert create(mia, calendly.kind)["__typename"] == "ConnectionUnusable"
    assert calendly.live() == 0
    calendly.assert_quiet()


def test_the_provider_is_down(desk: Desk, mia: Caller) -> None:
    prefix = "/calendly/api/*" if desk.calendly else "/calcom/*"
    down = desk.world.sandbox.fault({"kind": "status", "status": 503}, path=prefix, times=None)
    refused = create(mia, desk.kind, acceptConflicts=True)
    assert (refused["__typename"], refused.get("canAccept")) == ("SourceUnverified", False)
    assert desk.posts() == 0
    desk.assert_quiet()
    down.remove()
    desk.world.move_clock(minutes=2)
    assert create(mia, desk.kind)["__typename"] == "BookingCreated", "the key is free"


def test_a_rate_limit_frees_the_key_and_says_when(calcom: Desk, mia: Caller) -> None:
    calcom.on_post({"kind": "status", "status": 429, "headers": {"Retry-After": "40"}})
    refused = create(mia, calcom.kind)
    assert (refused["__typename"], refused["code"], refused["retryAt"]) == ("ProviderFailure", "RATE_LIMITED", "2027-03-01T08:00:40Z")
    calcom.assert_nothing(mia)
    calcom.world.move_clock(seconds=41)
    assert create(mia, calcom.kind)["__typename"] == "BookingCreated"
