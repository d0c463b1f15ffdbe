"""The command: readiness, state that survives a kill, a clean end, and the demo world."""

import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from sandbox_house import MAX, NOW

from sandbox.app import Sandbox

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments):
    command = [sys.executable, "-m", "sandbox", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline().strip()
    assert line.startswith("sandbox ready on http://127.0.0.1:"), process.stderr.read()
    return process, line.rpartition(" ")[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_asked(number):
    process, url = start()
    with httpx.Client(base_url=url) as http:
        assert http.get("/calcom/v2/allowlists").status_code == 200
        process.send_signal(number)
        assert process.wait(10) == 0
    errors = process.communicate()[1]
    assert errors == "GET /calcom/v2/allowlists 200\n"


def test_a_kill_loses_nothing(tmp_path):
    state = tmp_path / "world.json"
    process, url = start("--state", state)
    person = {
        "email": "a@demo.test",
        "name": "A",
        "timeZone": "Europe/Berlin",
        "eventTypes": [{"title": "T", "slug": "t", "lengthInMinutes": 30}],
    }
    httpx.put(f"{url}/_sandbox/clock", json={"now": NOW.isoformat()})
    type_id = httpx.post(f"{url}/_sandbox/calcom/users", json=person).json()["eventTypes"][0]["id"]
    body = {"eventTypeId": type_id, "start": "2026-12-02T09:00:00Z", "attendee": MAX}
    booked = httpx.post(f"{url}/calcom/v2/bookings", json=body, headers={"cal-api-version": "2026-02-25"}).json()["data"]
    process.kill()
    process.communicate()
    process, url = start("--state", state, "--demo")
    found = httpx.get(f"{url}/calcom/v2/bookings/{booked['uid']}", headers={"cal-api-version": "2026-02-25"}).json()["data"]
    assert found == booked
    whole = httpx.get(f"{url}/_sandbox/state").json()
    assert [user["email"] for user in whole["calcom"]["users"]] == ["a@demo.test"]  # no demo people where there are users
    assert whole["clock"]["frozen"].startswith("2026-12-01T08:00:00")
    process.terminate()
    process.communicate()


def test_everything_survives_a_restart(tmp_path, house):
    house.connect("coach")
    house.booked("2026-12-02T09:00:00Z", guests=["g@demo.test"])
    house.moved(house.booked("2026-12-02T10:00:00Z", "dive")["uid"], "2026-12-02T12:00:00Z")
    house.subscribe("http://127.0.0.1:9/a", ["BOOKING_CREATED"])
    house.api(
        "POST",
        "/slots/reservations",
        version="2024-09-04",
        json={"eventTypeId": house.ids["session"], "slotStart": "2026-12-03T09:00:00Z"},
    )
    house.control("POST", "/calcom/busy", {"email": "coach@demo.test", "start": "2026-12-02T11:00:00Z", "end": "2026-12-02T12:00:00Z"})
    house.control("PUT", "/calcom/switches", {"staleSlots": True})
    world = house.sandbox.world
    world.path = tmp_path / "world.json"
    world.save()
    world.path = None
    again = Sandbox(state=tmp_path / "world.json")
    assert again.world.dump() == world.dump()


def test_the_demo_world():
    with Sandbox(demo=True) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        known = sandbox.world.calcom
        coach = known.user_by_email("coach@demo.test")
        assert {user.email: user.time_zone for user in known.users.values()} == {
            "coach@demo.test": "Europe/Berlin",
            "mentee@demo.test": "America/New_York",
        }
        assert [(row.data["slug"], row.length) for row in known.owned_event_types(coach.id)] == [
            ("coaching-session", 30),
            ("deep-dive", 60),
        ]
        now = sandbox.world.clock.now()
        rows = list(known.bookings.values())
        who = [(row.attendees[0]["email"], row.status, row.start > now) for row in rows]
        assert who.count(("mentee@demo.test", "accepted", True)) == 3
        assert who.count(("guest@demo.test", "accepted", True)) == 2
        assert who.count(("mentee@demo.test", "accepted", False)) == 1
        assert who.count(("mentee@demo.test", "pending", True)) == 1
        assert len(rows) == 7
        locals_ = [row.start.astimezone(ZoneInfo("Europe/Berlin")) for row in rows]
        assert all(moment.weekday() < 5 and 9 <= moment.hour < 17 for moment in locals_)
        assert len({row.start for row in rows}) == 7
        page = http.get("/").text
        assert "Clara Coach" in page
        assert datetime.now(tz=now.tzinfo) >= now


def test_an_outage_and_the_same_address_again():
    sandbox = Sandbox().start()
    url = sandbox.url
    sandbox.world.clock.freeze(NOW)
    sandbox.stop()
    # refused, or reset where the system is still closing the address
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/_sandbox/clock")
    sandbox.start()
    assert httpx.get(f"{url}/_sandbox/clock").json()["now"] == "2026-12-01T08:00:00.000Z"
    sandbox.stop()


def test_stopping_twice_and_a_second_one_beside_it():
    first, second = Sandbox().start(), Sandbox().start()
    assert first.url != second.url
    first.stop()
    first.stop()
    assert httpx.get(f"{second.url}/_sandbox/clock").status_code == 200
    second.stop()
