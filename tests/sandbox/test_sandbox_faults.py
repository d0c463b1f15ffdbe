"""Faults on requests, the control face, the clock and the logs."""

import threading

import httpx
import pytest

BOOKINGS = "/calcom/v2/bookings"


def test_status_means_the_work_was_not_done(house):
    house.sandbox.fault(
        {"kind": "status", "status": 503, "body": {"oops": 1}, "headers": {"Retry-After": "7"}}, method="POST", path=BOOKINGS
    )
    answer = house.book("2026-12-02T09:00:00Z")
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (503, {"oops": 1}, "7")
    assert house.sandbox.world.calcom.bookings == {}
    assert house.book("2026-12-02T09:00:00Z").status_code == 201  # it acted once


def test_drop_before_the_work(house):
    fault = house.sandbox.fault({"kind": "drop", "when": "before"}, method="POST", path=BOOKINGS)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        house.book("2026-12-02T09:00:00Z")
    assert house.sandbox.world.calcom.bookings == {}
    assert fault.hits == 1
    assert [(one.method, one.path, one.status) for one in house.sandbox.requests][-1] == ("POST", BOOKINGS, None)


def test_drop_after_the_work(house):
    house.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path=BOOKINGS)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        house.book("2026-12-02T09:00:00Z")
    assert len(house.sandbox.world.calcom.bookings) == 1


def test_malformed(house):
    house.sandbox.fault({"kind": "malformed"}, method="POST", path=BOOKINGS)
    answer = house.book("2026-12-02T09:00:00Z")
    assert answer.status_code == 201
    with pytest.raises(ValueError):
        answer.json()
    assert len(house.sandbox.world.calcom.bookings) == 1


def test_drip(house):
    house.sandbox.fault({"kind": "drip", "seconds": 0.1, "chunks": 5}, path="/calcom/v2/allowlists")
    with house.http.stream("GET", "/calcom/v2/allowlists") as answer:
        chunks = list(answer.iter_raw())
    assert len(chunks) > 1
    assert b"".join(chunks) == house.http.get("/calcom/v2/allowlists").content


def test_latency(house):
    house.sandbox.fault({"kind": "latency", "seconds": 0.3}, path="/calcom/v2/allowlists")
    with pytest.raises(httpx.ReadTimeout):
        house.http.get("/calcom/v2/allowlists", timeout=0.05)


@pytest.mark.parametrize(("when", "done"), [("before", 0), ("after", 1)])
def test_hold_over_the_control_face(house, when, done):
    body = {"match": {"method": "POST", "path": BOOKINGS}, "effect": {"kind": "hold", "when": when}}
    fault = house.control("POST", "/faults", body)["id"]
    answers = []
    thread = threading.Thread(target=lambda: answers.append(house.book("2026-12-02T09:00:00Z")))
    thread.start()
    with httpx.Client(base_url=house.sandbox.url) as other:
        assert other.get(f"/_sandbox/faults/{fault}", params={"waiting": 1, "timeout": 10}).json()["waiting"] == 1
        assert len(house.sandbox.world.calcom.bookings) == done
        other.post(f"/_sandbox/faults/{fault}/release")
    thread.join(10)
    assert answers[0].status_code == 201


def test_removing_a_fault_lets_go(house):
    fault = house.sandbox.fault({"kind": "hold"}, path=BOOKINGS)
    thread = threading.Thread(target=house.book, args=["2026-12-02T09:00:00Z"])
    thread.start()
    assert fault.wait_held(1)
    fault.remove()
    thread.join(10)
    assert not thread.is_alive()


def test_matching_skipping_and_counting(house):
    fault = house.sandbox.fault({"kind": "status", "status": 500}, method="GET", path="/calcom/v2/allow*", times=2, skip=1)
    codes = [house.http.get("/calcom/v2/allowlists").status_code for _ in range(5)]
    assert codes == [200, 500, 500, 200, 200]
    assert fault.hits == 2
    (listed,) = house.control("GET", "/faults")
    assert (listed["id"], listed["hits"], listed["effect"]) == (fault.id, 2, {"kind": "status", "status": 500})
    house.control("DELETE", "/faults")
    assert house.control("GET", "/faults") == []


def test_until_removed(house):
    made = house.control("POST", "/faults", {"match": {"path": "/calcom/*"}, "effect": {"kind": "status", "status": 500}, "times": None})
    assert {house.http.get("/calcom/v2/allowlists").status_code for _ in range(3)} == {500}
    house.control("DELETE", f"/faults/{made['id']}")
    assert house.http.get("/calcom/v2/allowlists").status_code == 200


def test_a_share_of_nothing_never_acts(house):
    house.sandbox.fault({"kind": "status", "status": 500}, path="/calcom/*", times=None, share=0.0)
    assert {house.http.get("/calcom/v2/allowlists").status_code for _ in range(10)} == {200}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"match": {}, "effect": {"kind": "explode"}},
        {"match": {"webhook": "*"}, "effect": {"kind": "hold"}},
        {"match": {}, "effect": {"kind": "hold", "when": "never"}},
        {"match": {}, "effect": {"kind": "latency", "seconds": "soon"}},
        {"match": {}, "effect": {"kind": "latency"}, "times": "many"},
    ],
)
def test_bad_faults_are_explained(house, body):
    answer = house.http.post("/_sandbox/faults", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_clock(house):
    assert house.control("PUT", "/clock", {"now": "2027-01-01T00:00:00Z"}) == {
        "now": "2027-01-01T00:00:00.000Z",
        "frozen": True,
        "offsetSeconds": 0,
    }
    assert house.control("PUT", "/clock", {"offsetSeconds": 90})["now"] == "2027-01-01T00:01:30.000Z"
    assert house.control("PUT", "/clock", {})["frozen"] is False
    assert house.http.put("/_sandbox/clock", json={"now": "noon"}).status_code == 400
    booking = house.control("GET", "/clock")
    assert not booking["now"].startswith("2027-01-01")


def test_the_request_log_holds_no_secrets(house):
    house.control("DELETE", "/requests")
    house.api("GET", "/me?x=1", who="coach")
    log = house.control("GET", "/requests")
    assert log[-1] == {"method": "GET", "path": "/calcom/v2/me", "query": "x=1", "status": 200, "at": "2026-12-01T08:00:00.000Z"}
    assert "shh" not in str(log)
    assert house.token("coach") not in str(log)


def test_reset_empties_everything(house, inbox):
    house.subscribe(inbox.url, ["BOOKING_CREATED"])
    house.booked("2026-12-02T09:00:00Z")
    house.control("POST", "/faults", {"match": {"path": "*"}, "effect": {"kind": "status"}})
    house.control("POST", "/reset")
    state = house.control("GET", "/state")
    assert {name for name, value in state["calcom"].items() if value == []} >= {
        "users",
        "bookings",
        "webhooks",
        "tokens",
        "clients",
    }
    assert state["clock"]["frozen"] is None
    assert [house.control("GET", path) for path in ("/faults", "/requests", "/deliveries")] == [[], [], []]


def test_the_manual(house):
    text = house.http.get("/_sandbox").text
    assert "POST   /_sandbox/faults" in text
    assert "POST /_sandbox/calcom/oauth-clients" in text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/calcom/users", {"email": "x"}),
        ("/calcom/oauth-clients", {}),
        ("/calcom/busy", {"email": "nobody@demo.test", "start": "2026-12-02T09:00:00Z", "end": "2026-12-02T10:00:00Z"}),
        ("/calcom/tokens/revoke", {"email": "nobody@demo.test"}),
        ("/calcom/tokens/steal", {}),
        ("/calcom/bookings", {"status": "pending"}),
        ("/calcom/users", {"email": "coach@demo.test", "name": "Again", "timeZone": "Europe/Berlin"}),
        (
            "/calcom/users",
            {"email": "new@demo.test", "name": "New", "timeZone": "Europe/Berlin", "eventTypes": [{"title": "no length"}]},
        ),
        (
            "/calcom/users",
            {
                "email": "new@demo.test",
                "name": "New",
                "timeZone": "Europe/Berlin",
                "eventTypes": [{"title": "a", "slug": "a", "lengthInMinutes": 5}] * 2,
            },
        ),
    ],
)
def test_bad_control_bodies_change_nothing(house, path, body):
    before = house.control("GET", "/state")["calcom"]["users"]
    answer = house.http.post(f"/_sandbox{path}", json=body)
    assert 400 <= answer.status_code < 500
    assert house.control("GET", "/state")["calcom"]["users"] == before


def test_connections_are_kept(house):
    answers = [house.http.get("/calcom/v2/allowlists") for _ in range(3)]
    assert len({answer.extensions["network_stream"].get_extra_info("client_addr") for answer in answers}) == 1
