"""The chain, the confirmation matrix, the refusals and the races."""

import threading

import pytest

COACH, MENTEE = "coach@demo.test", "mentee@demo.test"


def test_a_chain(house):
    first = house.booked("2026-12-02T09:00:00Z", metadata={"k": "v"}, guests=["g@demo.test"])
    second = house.moved(first["uid"], "2026-12-02T10:00:00Z", reschedulingReason="why", rescheduledBy=MENTEE)
    third = house.moved(second["uid"], "2026-12-02T11:00:00Z")
    assert len({first["uid"], second["uid"], third["uid"], first["id"], second["id"], third["id"]}) == 6
    assert (second["rescheduledFromUid"], third["rescheduledFromUid"]) == (first["uid"], second["uid"])
    assert first["icsUid"] == second["icsUid"] == third["icsUid"]
    assert (third["metadata"], third["guests"], third["duration"]) == ({"k": "v"}, ["g@demo.test"], 30)
    assert (second["reschedulingReason"], second["bookingFieldsResponses"]["rescheduledReason"]) == ("why", "why")
    old = house.get(first["uid"])
    assert (old["status"], old["rescheduledToUid"], old["cancellationReason"], old["rescheduledByEmail"]) == (
        "cancelled",
        second["uid"],
        "",
        MENTEE,
    )
    rows = house.sandbox.world.calcom.bookings
    assert [rows[one["uid"]].ics_sequence for one in (first, second, third)] == [0, 1, 2]
    house.do(third["uid"], "cancel")
    assert rows[third["uid"]].ics_sequence == 3


@pytest.mark.parametrize(
    ("before", "who", "by", "after"),
    [
        ("accepted", "coach", None, "accepted"),
        ("accepted", None, None, "pending"),
        ("accepted", None, MENTEE, "pending"),
        ("accepted", "mentee", None, "pending"),
        ("accepted", None, COACH, "accepted"),
        ("pending", None, None, "pending"),
        ("pending", "mentee", MENTEE, "pending"),
        ("pending", "coach", None, "accepted"),
        ("pending", None, COACH, "accepted"),
    ],
)
def test_the_confirmation_matrix(house, before, who, by, after):
    booking = house.booked("2026-12-02T09:00:00Z", "dive")
    if before == "accepted":
        house.do(booking["uid"], "confirm", "coach")
    more = {} if by is None else {"rescheduledBy": by}
    assert house.moved(booking["uid"], "2026-12-02T11:00:00Z", who, **more)["status"] == after


def test_without_confirmation_it_is_accepted_whoever_asks(house):
    assert house.moved(house.booked("2026-12-02T09:00:00Z")["uid"], "2026-12-02T11:00:00Z")["status"] == "accepted"


def test_platform_client_credentials_are_nobodys_organiser(house):
    house.control("POST", "/calcom/platform-clients", {"clientId": "plat", "clientSecret": "top"})
    uid = house.booked("2026-12-02T09:00:00Z", "dive")["uid"]
    headers = {"x-cal-client-id": "plat", "x-cal-secret-key": "top"}
    answer = house.api("POST", f"/bookings/{uid}/reschedule", version="2026-02-25", headers=headers, json={"start": "2026-12-02T11:00:00Z"})
    assert answer.json()["data"]["status"] == "pending"


def test_moves_that_are_allowed(house):
    same = house.booked("2026-12-02T09:00:00Z")
    again = house.moved(same["uid"], "2026-12-02T09:00:00Z")  # the same time: the chain grows
    overlapping = house.moved(again["uid"], "2026-12-02T09:15:00Z")
    house.sandbox.world.clock.shift(3 * 86400)
    assert house.moved(overlapping["uid"], "2026-12-07T09:15:00Z")["status"] == "accepted"  # a past one


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ("2026-12-02T10:00:00Z", "User either already has booking at this time or is not available"),
        ("2026-12-02T20:00:00Z", "User either already has booking at this time or is not available"),
        ("2026-11-30T10:00:00Z", "Attempting to book a meeting in the past."),
        ("2026-12-01T09:00:00Z", 'The event type can\'t be booked at the "start" time provided.'),
    ],
)
def test_refused_targets_change_nothing(house, start, text):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    house.booked("2026-12-02T10:00:00Z")
    before = house.get(uid)
    answer = house.move(uid, start)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(text)
    assert house.get(uid) == before
    assert len(house.sandbox.world.calcom.bookings) == 2


def test_the_organiser_may_move_within_the_notice(house):
    rule = {"disableRescheduling": {"disabled": False, "minutesBefore": 6000}}
    house.api("PATCH", f"/event-types/{house.ids['session']}", version="2024-06-14", who="coach", json=rule)
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    assert house.move(uid, "2026-12-02T10:00:00Z").json() == {
        "statusCode": 403,
        "message": "Rescheduling is not allowed within the minimum notice period before the event",
    }
    assert house.move(uid, "2026-12-02T10:00:00Z", "coach").status_code == 201


def race(house, fault, calls):
    """All calls are held inside the server, let go together, and their answers given by number."""
    answers = [None] * len(calls)

    def run(number):
        answers[number] = calls[number]()

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    assert fault.wait_held(len(calls))
    fault.release()
    for thread in threads:
        thread.join(10)
    return answers


def hold(house, path):
    return house.sandbox.fault({"kind": "hold"}, method="POST", path=path, times=None)


def test_truly_concurrent_bookings_of_one_slot_are_a_bare_409_and_later_ones_a_400(house):
    held = hold(house, "/calcom/v2/bookings")
    answers = race(house, held, [lambda: house.book("2026-12-02T09:00:00Z")] * 4)
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert all(answer.json() == {"statusCode": 409, "message": "booking_conflict_error"} for answer in answers if answer.status_code == 409)
    assert house.book("2026-12-02T09:00:00Z").status_code == 400


def test_concurrent_moves_into_one_slot_leave_the_losers_original_alive(house):
    uids = [house.booked(f"2026-12-02T{hour}:00:00Z")["uid"] for hour in ("09", "10")]
    held = hold(house, "/calcom/v2/bookings/*/reschedule")
    answers = race(house, held, [lambda uid=uid: house.move(uid, "2026-12-02T12:00:00Z") for uid in uids])
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    loser = uids[[answer.status_code for answer in answers].index(409)]
    assert house.get(loser)["status"] == "accepted"


def test_concurrent_moves_of_one_booking_fork_it(house):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    held = hold(house, "/calcom/v2/bookings/*/reschedule")
    calls = [lambda hour=hour: house.move(uid, f"2026-12-02T{hour}:00:00Z") for hour in (11, 12)]
    answers = [answer.json()["data"] for answer in race(house, held, calls)]
    assert [one["rescheduledFromUid"] for one in answers] == [uid, uid]
    assert [house.get(one["uid"])["status"] for one in answers] == ["accepted", "accepted"]
    assert house.get(uid)["rescheduledToUid"] in {one["uid"] for one in answers}


def test_the_fork_can_be_switched_off(house):
    house.control("PUT", "/calcom/switches", {"forkReschedule": False})
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    held = hold(house, "/calcom/v2/bookings/*/reschedule")
    calls = [lambda hour=hour: house.move(uid, f"2026-12-02T{hour}:00:00Z") for hour in (11, 12)]
    assert sorted(answer.status_code for answer in race(house, held, calls)) == [201, 400]


def test_concurrent_moves_of_one_booking_to_one_slot(house):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    held = hold(house, "/calcom/v2/bookings/*/reschedule")
    answers = race(house, held, [lambda: house.move(uid, "2026-12-02T11:00:00Z")] * 2)
    assert sorted(answer.status_code for answer in answers) == [201, 409]
