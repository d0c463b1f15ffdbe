"""The page for people."""

from urllib.parse import parse_qs, urlsplit

import pytest


def told(answer):
    """The message after a form was sent, and whether it is bad news."""
    assert answer.status_code == 303
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    return query["message"][0], "bad" in query


def test_an_empty_sandbox_says_so(sandbox, house):
    house.control("POST", "/reset")
    text = house.http.get("/").text
    for part in ("Nobody yet.", "No bookings.", "Nobody has subscribed.", "Nothing was delivered yet.", "Everything works."):
        assert part in text


def test_booking_confirming_and_cancelling(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_REQUESTED", "BOOKING_CREATED", "BOOKING_CANCELLED"])
    page = house.http.get("/book", params={"eventTypeId": house.ids["dive"], "date": "2026-12-02"}).text
    assert 'value="2026-12-02T08:00:00.000Z" required> 09:00' in page
    form = {
        "eventTypeId": house.ids["dive"],
        "start": "2026-12-02T08:00:00.000Z",
        "name": "Gina",
        "email": "g@demo.test",
        "timeZone": "Europe/London",
    }
    assert told(house.http.post("/book", data=form)) == ("Booked: Deep dive between Clara Coach and Gina, pending.", False)
    (uid,) = house.sandbox.world.calcom.bookings
    assert "Wed 02 Dec 2026 09:00 to 10:00 (Europe/Berlin)" in house.http.get("/").text
    assert told(house.http.post(f"/bookings/{uid}/confirm"))[0] == "Deep dive between Clara Coach and Gina is now accepted."
    assert told(house.http.post(f"/bookings/{uid}/cancel"))[0] == "Deep dive between Clara Coach and Gina is now cancelled."
    assert inbox.events == ["BOOKING_REQUESTED", "BOOKING_CREATED", "BOOKING_CANCELLED"]
    assert told(house.http.post(f"/bookings/{uid}/cancel"))[1] is True
    text = house.http.get("/").text
    assert "BOOKING_CANCELLED" in text
    assert inbox.url in text


def test_no_slot_says_so(house):
    page = house.http.get("/book", params={"eventTypeId": house.ids["session"], "date": "2026-12-05"}).text
    assert "No time is free on this day." in page


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": " "}, "A name is needed to book."),
        ({"start": ""}, "Choose a time."),
        ({"eventTypeId": "x"}, "Choose an event type first."),
        ({"email": "x"}, "attendee property is wrong, email property is wrong,email must be an email "),
        ({"timeZone": "Moon"}, "attendee property is wrong, timeZone property is wrong,timeZone must be a valid IANA time-zone "),
        ({"start": "2026-11-02T08:00:00Z"}, "Attempting to book a meeting in the past."),
    ],
)
def test_bad_input_is_explained(house, change, text):
    form = {
        "eventTypeId": house.ids["session"],
        "start": "2026-12-02T08:00:00Z",
        "name": "G",
        "email": "g@demo.test",
        "timeZone": "UTC",
    }
    message, bad = told(house.http.post("/book", data=form | change))
    assert (message.strip(), bad) == (text.strip(), True)
    assert house.sandbox.world.calcom.bookings == {}


@pytest.mark.parametrize("query", [{}, {"eventTypeId": "1"}, {"eventTypeId": "x", "date": "2026-12-02"}])
def test_bad_days_are_explained(house, query):
    assert told(house.http.get("/book", params=query))[1] is True
    assert told(house.http.get("/book", params={"eventTypeId": house.ids["session"], "date": "soon"})) == (
        "Choose a day, as YYYY-MM-DD.",
        True,
    )


def test_everything_shown_is_escaped(house):
    house.booked("2026-12-02T09:00:00Z", attendee={"name": "<script>x</script>", "email": "a@b.de", "timeZone": "UTC"})
    text = house.http.get("/", params={"message": "<b>"}).text
    assert "<script>x" not in text
    assert "&lt;script&gt;x" in text
    assert "<b>" not in text


def test_faults_and_clock_from_the_page(house):
    assert told(house.http.post("/page/faults", data={"fault": "down", "times": "1"})) == ("The API answers 503.", False)
    assert house.http.get("/calcom/v2/allowlists").status_code == 503
    assert told(house.http.post("/page/faults", data={"fault": "x"}))[1] is True
    assert told(house.http.post("/page/faults", data={"fault": "down", "times": "0"}))[1] is True
    (fault,) = house.sandbox.world.faults.entries()
    assert f"/page/faults/{fault.id}/remove" in house.http.get("/").text
    house.http.post(f"/page/faults/{fault.id}/remove")
    assert house.sandbox.world.faults.entries() == []
    assert told(house.http.post("/page/clock", data={"action": "hour"}))[0] == "It is now 2026-12-01T09:00:00.000Z."
    assert (
        told(house.http.post("/page/clock", data={"action": "freeze", "now": "2027-01-01T00:00:00Z"}))[0]
        == "It is now 2027-01-01T00:00:00.000Z."
    )
    assert told(house.http.post("/page/clock", data={"action": "freeze", "now": "noon"}))[1] is True
    assert told(house.http.post("/page/clock", data={"action": "x"}))[1] is True


def test_parked_and_repeated_deliveries(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_CREATED"])
    house.sandbox.fault({"kind": "park"}, webhook="*")
    house.booked("2026-12-02T09:00:00Z")
    assert "1 parked." in house.http.get("/").text
    assert told(house.http.post("/page/deliveries/flush"))[0] == "1 parked deliveries sent."
    entry = house.sandbox.world.deliveries.entries()[0]
    house.http.post(f"/page/deliveries/{entry.id}/resend")
    assert len(inbox.letters) == 2
    assert told(house.http.post("/page/deliveries/99999/resend"))[1] is True
