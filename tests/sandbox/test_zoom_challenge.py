"""Zoom's endpoint.url_validation: asked at saving and every 72 hours, and what a wrong answer means."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sandbox_house import NOW, Inbox
from zoom_house import SECRET, SERVER, USER_APP, signature

from sandbox import deliveries
from sandbox.zoom import hooks

pytest_plugins = ["zoom_fixtures"]
NOW_MS = int(NOW.timestamp()) * 1000


def settle(zoom):
    zoom.sandbox.settle()


def test_the_challenge_is_signed_and_answered(zoom, endpoint):
    assert zoom.listen(endpoint.url)["validated"] is True
    (letter,) = endpoint.challenges
    assert letter.headers["x-zm-signature"] == signature(letter.headers["x-zm-request-timestamp"], letter.body)
    content = letter.json
    assert (content["event"], content["event_ts"], list(content["payload"])) == ("endpoint.url_validation", NOW_MS, ["plainToken"])


def test_an_app_without_an_endpoint_is_not_asked(zoom):
    assert zoom.control("POST", "/apps", SERVER)["validated"] is None


def test_a_wrong_answer_is_recorded_and_nothing_is_sent_there(zoom, endpoint):
    endpoint.secret = "wrong"
    assert zoom.listen(endpoint.url)["validated"] is False
    zoom.made()
    settle(zoom)
    assert endpoint.letters == []
    endpoint.secret = SECRET
    assert zoom.control("POST", "/validate") == {"server": True}
    zoom.made()
    settle(zoom)
    assert endpoint.events == ["meeting.created"]


def test_a_plain_200_does_not_answer_the_challenge(zoom, inbox: Inbox):
    assert zoom.listen(inbox.url)["validated"] is False
    zoom.control("PUT", "/switches", {"deliverUnvalidated": True})
    zoom.made()
    settle(zoom)
    assert [letter.json["event"] for letter in inbox.letters] == ["endpoint.url_validation", "meeting.created"]


def test_nobody_there_is_a_wrong_answer(zoom):
    assert zoom.listen("http://127.0.0.1:9/nobody")["validated"] is False


def test_a_slow_answer_is_a_wrong_one(zoom, monkeypatch):
    """Three seconds, cut short here."""
    assert (hooks.TIME_LIMIT, deliveries.TIME_LIMIT) == (3.0, 10.0)
    monkeypatch.setattr(hooks, "TIME_LIMIT", 0.05)
    enough = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            enough.wait(10)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        assert zoom.listen(f"http://127.0.0.1:{server.server_port}")["validated"] is False
    finally:
        enough.set()
        server.shutdown()
        server.server_close()
    (entry,) = zoom.sandbox.world.deliveries.entries()
    assert entry.error.startswith("ReadTimeout")


def test_the_challenge_comes_again_after_72_hours(zoom, endpoint):
    zoom.listen(endpoint.url)
    zoom.shift(72 * 3600 - 1)
    assert zoom.control("POST", "/validate", {"due": True}) == {}
    zoom.shift(1)
    endpoint.secret = "wrong"
    assert zoom.control("POST", "/validate", {"due": True}) == {"server": False}
    assert zoom.control("POST", "/validate", {"due": True}) == {}
    zoom.made()
    settle(zoom)
    assert endpoint.events == ["meeting.created"]  # one wrong answer stops nothing,
    zoom.control("PUT", "/switches", {"disableOnFailedValidation": True})
    zoom.made()
    settle(zoom)
    assert len(endpoint.letters) == 1  # unless it is said to
    endpoint.secret = SECRET
    zoom.control("POST", "/validate", {"clientId": "server"})
    zoom.made()
    settle(zoom)
    assert (len(endpoint.letters), len(endpoint.challenges)) == (2, 3)


def test_an_unanswered_challenge_keeps_even_the_farewell_away(zoom, endpoint):
    endpoint.secret = "wrong"
    zoom.listen(endpoint.url, USER_APP)
    zoom.connect()
    assert zoom.control("POST", "/deauthorize", {"email": "coach@demo.test"}) == {"count": 1}
    assert endpoint.letters == []
