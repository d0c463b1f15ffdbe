"""Creating, reading, listing, cancelling, confirming, declining, absence and the smaller faces of a booking."""

import pytest
from sandbox_house import MAX

V = "2026-02-25"


def message(answer):
    body = answer.json()
    return answer.status_code, body["error"]["message"]


def test_an_outsider_books_and_anybody_with_the_uid_reads(house):
    answer = house.book("2026-12-02T09:00:00Z", metadata={"k": "v"}, guests=["g@demo.test"], bookingFieldsResponses={"notes": "hi"})
    assert answer.status_code == 201
    booking = answer.json()["data"]
    assert len(booking["uid"]) == 22
    assert booking["title"] == "Session between Clara Coach and Max Mentee"
    assert (booking["status"], booking["start"], booking["end"], booking["duration"]) == (
        "accepted",
        "2026-12-02T09:00:00.000Z",
        "2026-12-02T09:30:00.000Z",
        30,
    )
    assert booking["icsUid"] == f"{booking['uid']}@Cal.com"
    assert (booking["cancellationReason"], booking["rescheduledByEmail"]) == ("", None)
    assert [(one["name"], one["email"]) for one in booking["attendees"]] == [
        ("Max Mentee", "mentee@demo.test"),
        ("", "g@demo.test"),
    ]
    assert booking["guests"] == ["g@demo.test"]
    assert booking["metadata"] == {"k": "v"}
    assert booking["bookingFieldsResponses"] == {
        "email": "mentee@demo.test",
        "name": "Max Mentee",
        "displayEmail": "mentee@demo.test",
        "guests": ["g@demo.test"],
        "displayGuests": ["g@demo.test"],
        "notes": "hi",
    }
    assert (booking["location"], booking["meetingUrl"]) == ("https://meet.example/room", "https://meet.example/room")
    assert house.get(booking["uid"]) == booking
    assert house.api("GET", f"/bookings/{booking['uid']}", version="2024-08-13").json()["data"] == booking


def test_an_event_type_without_a_place_meets_by_video(house):
    assert house.booked("2026-12-02T09:00:00Z", "dive")["meetingUrl"].startswith("https://meet.sandbox.invalid/")


def test_the_place_must_be_one_of_the_event_type(house):
    assert house.booked("2026-12-02T09:00:00Z", location={"type": "link"})["location"] == "https://meet.example/room"
    assert house.book("2026-12-02T10:00:00Z", location={"type": "phone", "phone": "+1"}).status_code == 400


@pytest.mark.parametrize("start", ["2026-12-02T09:07:00Z", "2026-12-02T10:07:00+01:00", "2026-12-02T09:07:00"])
def test_starts_off_the_grid_with_offsets_and_naive_ones(house, start):
    assert house.booked(start)["start"] == "2026-12-02T09:07:00.000Z"


def test_by_slug_and_user_name(house):
    body = {"eventTypeSlug": "dive", "username": "clara", "start": "2026-12-02T09:00:00Z", "attendee": MAX}
    answer = house.api("POST", "/bookings", version=V, json=body)
    assert answer.json()["data"]["eventType"] == {"id": house.ids["dive"], "slug": "dive"}


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ("2026-12-01T07:30:00Z", "Attempting to book a meeting in the past."),
        ("2026-12-02T16:30:00Z", "User either already has booking at this time or is not available"),
        ("2026-12-02T15:45:00Z", "User either already has booking at this time or is not available"),
        ("2026-12-05T09:00:00Z", "User either already has booking at this time or is not available"),
    ],
)
def test_times_that_cannot_be_booked(house, start, text):
    assert message(house.book(start)) == (400, text)
    assert house.sandbox.world.calcom.bookings == {}


def test_too_soon(house):
    status, text = message(house.book("2026-12-01T09:59:00Z"))
    assert status == 400
    assert text.startswith("The event type can't be booked at the \"start\" time provided. This could be because it's too soon")
    assert house.book("2026-12-01T10:00:00Z").status_code == 201


def test_a_taken_time_is_refused_and_pending_ones_take_time_too(house):
    house.booked("2026-12-02T09:00:00Z")
    house.booked("2026-12-02T11:00:00Z", "dive")
    for start in ("2026-12-02T09:00:00Z", "2026-12-02T09:15:00Z", "2026-12-02T11:30:00Z"):
        assert message(house.book(start)) == (400, "User either already has booking at this time or is not available")
    assert house.book("2026-12-02T09:30:00Z").status_code == 201


def test_unknown_and_missing_fields_are_told_in_a_sentence(house):
    body = {
        "eventTypeId": house.ids["session"],
        "start": "2026-12-02T09:00:00Z",
        "end": "x",
        "attendee": {"email": "a@b.de", "timeZone": "UTC"},
    }
    text = "end property is wrong,property end should not exist , attendee property is wrong, name property is wrong,name must be a string "
    assert message(house.api("POST", "/bookings", version=V, json=body)) == (400, text)


def test_without_a_version_the_errors_are_a_list(house):
    answer = house.api("POST", "/bookings", json={"start": "2026-12-02T09:00:00Z", "eventTypeId": 1, "attendee": MAX})
    assert answer.status_code == 400
    assert [one["property"] for one in answer.json()["error"]["details"]["errors"]] == [
        "timeZone",
        "language",
        "metadata",
        "responses",
    ]


def test_other_contracts_do_not_know_the_newer_calls(house):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    answer = house.api("POST", f"/bookings/{uid}/reschedule", json={"start": "2026-12-02T10:00:00Z"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, f"Cannot POST /v2/bookings/{uid}/reschedule")
    assert house.api("GET", f"/bookings/{uid}").json()["data"]["status"] == "ACCEPTED"


def test_length(house):
    assert house.book("2026-12-02T09:00:00Z", lengthInMinutes=60).status_code == 400
    change = {"lengthInMinutesOptions": [60]}
    house.api("PATCH", f"/event-types/{house.ids['session']}", version="2024-06-14", who="coach", json=change)
    assert house.booked("2026-12-02T09:00:00Z", lengthInMinutes=60)["duration"] == 60
    assert house.book("2026-12-02T11:00:00Z", lengthInMinutes=50).status_code == 400


def test_required_questions(house):
    fields = [{"type": "text", "slug": "goal", "label": "Your goal", "required": True}]
    house.api("PATCH", f"/event-types/{house.ids['session']}", version="2024-06-14", who="coach", json={"bookingFields": fields})
    answer = house.book("2026-12-02T09:00:00Z")
    assert answer.json()["error"] == {"code": "BAD_REQUEST", "message": "responses - {goal}error_required_field, "}
    assert house.booked("2026-12-02T09:00:00Z", bookingFieldsResponses={"goal": "sleep"})["bookingFieldsResponses"]["goal"] == "sleep"


def test_the_owner_does_not_skip_confirmation_on_create(house):
    assert house.booked("2026-12-02T09:00:00Z", "dive", who="coach")["status"] == "pending"


def test_confirmation_only_when_it_is_near(house):
    policy = {"type": "time", "blockUnconfirmedBookingsInBooker": False, "noticeThreshold": {"unit": "hours", "count": 24}}
    house.api("PATCH", f"/event-types/{house.ids['session']}", version="2024-06-14", who="coach", json={"confirmationPolicy": policy})
    assert house.booked("2026-12-01T15:00:00Z")["status"] == "pending"
    assert house.booked("2026-12-02T15:00:00Z")["status"] == "accepted"


def test_host_only_options(house):
    house.booked("2026-12-02T09:00:00Z")
    assert house.book("2026-12-02T09:00:00Z", allowConflicts=True).status_code == 400
    assert house.book("2026-12-02T09:00:00Z", allowConflicts=True, who="mentee").status_code == 400
    assert house.book("2026-12-02T09:00:00Z", allowConflicts=True, who="coach").status_code == 201
    assert house.book("2026-12-01T09:00:00Z", allowBookingOutOfBounds=True, who="coach", version="2024-08-13").status_code == 400
    assert house.book("2026-12-01T09:00:00Z", allowBookingOutOfBounds=True, who="coach").status_code == 201


def test_cancel(house):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    unknown = house.do(uid, "cancel", why="x")
    assert message(unknown) == (400, "why property is wrong,property why should not exist ")
    cancelled = house.api("POST", f"/bookings/{uid}/cancel", version=V).json()["data"]
    assert (cancelled["status"], cancelled["cancellationReason"], cancelled["cancelledByEmail"]) == ("cancelled", "", "")
    assert house.do(uid, "cancel").status_code == 400
    other = house.booked("2026-12-02T10:00:00Z")["uid"]
    mine = house.do(other, "cancel", "coach", cancellationReason="ill").json()["data"]
    assert (mine["cancellationReason"], mine["cancelledByEmail"]) == ("ill", "coach@demo.test")


def test_cancelling_subsequent_bookings_of_a_single_one_fails_after_cancelling(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_CANCELLED"])
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    assert house.do(uid, "cancel", cancelSubsequentBookings=True).status_code == 400
    assert house.get(uid)["status"] == "cancelled"
    assert inbox.events == ["BOOKING_CANCELLED"]


def test_confirm_and_decline_are_the_hosts(house):
    first, second = (house.booked(f"2026-12-02T{hour}:00:00Z", "dive")["uid"] for hour in ("09", "10"))
    assert house.do(first, "confirm", "mentee").status_code == 401
    assert house.get(first)["status"] == "pending"
    assert house.do(first, "confirm", "coach").json()["data"]["status"] == "accepted"
    assert house.do(second, "decline", "coach", reason="no").json()["data"]["status"] == "rejected"
    for uid, action in ((first, "confirm"), (first, "decline"), (second, "confirm")):
        assert house.do(uid, action, "coach").status_code == 400
    assert house.do("nothing", "confirm", "coach").status_code == 404


def test_absence_only_after_the_start(house):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    early = house.do(uid, "mark-absent", "coach", host=True)
    assert message(early)[1].startswith("Bookings can only be marked as absent after their scheduled start time.")
    house.sandbox.world.clock.shift(90000)
    house.tokens.clear()
    marked = house.do(uid, "mark-absent", "coach", host=True, attendees=[{"email": "mentee@demo.test", "absent": True}])
    assert (marked.json()["data"]["absentHost"], marked.json()["data"]["attendees"][0]["absent"]) == (True, True)


def test_request_reschedule_cancels(house):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    assert house.do(uid, "request-reschedule", "mentee").status_code == 401
    assert house.do(uid, "request-reschedule", "coach", rescheduleReason="away").json() == {"status": "success"}
    assert house.get(uid)["status"] == "cancelled"


def listing(house, version="2026-05-01", who="coach", **query):
    answer = house.api("GET", "/bookings", version=version, who=who, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def starts(page):
    return [booking["start"][11:16] for booking in page["data"]]


@pytest.fixture
def full(house):
    """09 accepted, 10 pending, 11 cancelled, 12 rejected, 13 moved to 14, and one of the past."""
    house.booked("2026-12-02T09:00:00Z")
    house.booked("2026-12-02T10:00:00Z", "dive")
    house.do(house.booked("2026-12-02T11:00:00Z")["uid"], "cancel")
    house.do(house.booked("2026-12-02T12:00:00Z", "dive")["uid"], "decline", "coach")
    house.moved(house.booked("2026-12-02T13:00:00Z")["uid"], "2026-12-02T14:00:00Z")
    past = {
        "eventTypeId": house.ids["session"],
        "start": "2026-11-30T07:00:00Z",
        "attendee": MAX | {"email": "other@demo.test", "name": "Other"},
    }
    house.control("POST", "/calcom/bookings", past | {"force": True, "silent": True})
    return house


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("upcoming", ["09:00", "10:00", "14:00"]),
        ("past", ["07:00"]),
        ("cancelled", ["11:00", "12:00", "13:00"]),
        ("unconfirmed", ["10:00"]),
        ("recurring", []),
    ],
)
def test_what_a_status_means(full, status, expected):
    assert starts(listing(full, status=status)) == expected
    assert starts(listing(full, "2024-08-13", status=status)) == expected


def test_status_lists(full):
    assert starts(listing(full, "2024-08-13", status="past,unconfirmed")) == ["07:00", "10:00"]
    for version, status in (("2026-05-01", "past,unconfirmed"), ("2024-08-13", "rejected"), ("2026-05-01", "rejected")):
        answer = full.api("GET", "/bookings", version=version, who="coach", params={"status": status})
        assert (answer.status_code, answer.json()["error"]["details"]["errors"][0]["property"]) == (400, "status")


def test_filters(full):
    uid = listing(full)["data"][0]["uid"]
    assert starts(listing(full, attendeeEmail="OTHER@demo.test")) == ["07:00"]
    assert starts(listing(full, attendeeName="Other")) == ["07:00"]
    assert starts(listing(full, bookingUid=uid)) == ["07:00"]
    assert starts(listing(full, eventTypeId=full.ids["dive"])) == ["10:00", "12:00"]
    assert len(listing(full, eventTypeIds=f"{full.ids['dive']},{full.ids['session']}")["data"]) == 7
    assert starts(listing(full, afterStart="2026-12-02T13:00:00Z")) == ["13:00", "14:00"]
    assert starts(listing(full, beforeEnd="2026-12-02T09:30:00Z")) == ["07:00", "09:00"]
    assert starts(listing(full, status="upcoming", sortStart="desc")) == ["14:00", "10:00", "09:00"]
    full.sandbox.world.clock.shift(60)
    full.do(listing(full, status="unconfirmed")["data"][0]["uid"], "confirm", "coach")
    assert starts(listing(full, afterUpdatedAt="2026-12-01T08:01:00Z")) == ["10:00"]
    assert starts(listing(full, afterCreatedAt="2026-12-01T08:01:00Z")) == []
    assert len(listing(full, beforeCreatedAt="2026-12-01T08:00:00Z")["data"]) == 7
    assert starts(listing(full, sortUpdatedAt="desc"))[0] == "10:00"


def test_hosts_and_attendees_see_a_booking_and_others_do_not(full):
    assert len(listing(full, who="mentee")["data"]) == 6
    assert len(listing(full)["data"]) == 7
    full.control("POST", "/calcom/users", {"email": "new@demo.test", "name": "New", "timeZone": "Europe/Berlin"})
    assert listing(full, who="new")["data"] == []


def test_cursor_pages(full):
    seen, cursor = [], {}
    for expected in (True, True, True, False):
        page = listing(full, limit=2, **cursor)
        seen += [one["uid"] for one in page["data"]]
        assert page["pagination"]["hasMore"] is expected
        cursor = {"cursor": page["pagination"]["nextCursor"]}
    assert cursor == {"cursor": None}
    assert len(set(seen)) == 7
    for bad in ({"limit": 101}, {"limit": 0}, {"cursor": "?"}):
        assert full.api("GET", "/bookings", version="2026-05-01", who="coach", params=bad).status_code == 400


def test_take_and_skip_pages(full):
    assert listing(full, "2024-08-13", skip=1, take=2)["pagination"] == {
        "returnedItems": 2,
        "totalItems": 7,
        "itemsPerPage": 2,
        "remainingItems": 4,
        "currentPage": 1,
        "totalPages": 4,
        "hasNextPage": True,
        "hasPreviousPage": True,
    }
    empty = listing(full, "2024-08-13", status="recurring")["pagination"]
    assert (empty["currentPage"], empty["totalPages"], empty["itemsPerPage"], empty["hasNextPage"]) == (0, 0, 100, False)


def test_the_oldest_shape(full):
    for version in (None, "2027-01-01"):
        bookings = listing(full, version)["data"]["bookings"]
        assert {one["status"] for one in bookings} == {"ACCEPTED", "PENDING", "CANCELLED", "REJECTED"}
        assert bookings[0]["startTime"] == "2026-11-30T07:00:00.000Z"


def test_the_smaller_faces(house):
    uid = house.booked("2026-12-02T09:00:00Z")["uid"]
    place = {"location": {"type": "address", "address": "Here 1"}}
    moved = house.api("PATCH", f"/bookings/{uid}/location", version=V, who="coach", json=place).json()["data"]
    assert moved["location"] == "Here 1"
    guests = house.do(uid, "guests", "coach", guests=[{"email": "g@demo.test"}]).json()["data"]
    assert guests["guests"] == ["g@demo.test"]
    assert house.do(uid, "guests", "coach", guests=[{"email": f"{n}@demo.test"} for n in range(11)]).status_code == 400
    assert house.do(uid, "attendees", "coach", name="I", email="i@demo.test", timeZone="Europe/Paris").status_code == 201
    found = house.api("GET", f"/bookings/{uid}/attendees", version=V, who="coach").json()["data"]
    assert [one["email"] for one in found] == ["mentee@demo.test", "g@demo.test", "i@demo.test"]
    assert house.api("GET", f"/bookings/{uid}/attendees/{found[1]['id']}", version=V, who="coach").json()["data"] == found[1]
    links = house.api("GET", f"/bookings/{uid}/calendar-links", version=V, who="mentee").json()["data"]
    assert [one["label"] for one in links] == ["Google Calendar", "Microsoft Outlook"]


def test_forced_fixtures(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_CREATED", "BOOKING_REQUESTED"])
    body = {"eventTypeId": house.ids["session"], "start": "2026-11-28T03:00:00Z", "attendee": MAX}
    assert house.http.post("/_sandbox/calcom/bookings", json=body).status_code == 400
    assert house.control("POST", "/calcom/bookings", body | {"force": True, "status": "pending"})["data"]["status"] == "pending"
    house.control("POST", "/calcom/bookings", body | {"force": True, "silent": True})
    assert inbox.events == ["BOOKING_REQUESTED"]
