"""What the tests of the sandbox speak with: a house with people and an OAuth client, and an inbox for webhooks."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from sandbox.app import Sandbox

NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)  # a Tuesday, 09:00 in Berlin
SCOPES = "PROFILE_READ PROFILE_WRITE BOOKING_READ BOOKING_WRITE EVENT_TYPE_READ EVENT_TYPE_WRITE SCHEDULE_READ SCHEDULE_WRITE APPS_READ WEBHOOK_READ WEBHOOK_WRITE"
CALLBACK = "http://127.0.0.1:9/callback"
MAX = {"name": "Max Mentee", "email": "mentee@demo.test", "timeZone": "America/New_York", "language": "en"}


@dataclass
class House:
    sandbox: Sandbox
    http: httpx.Client
    ids: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"/_sandbox{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def api(self, method: str, path: str, *, version: str | None = None, who: str | None = None, **more: Any) -> httpx.Response:
        headers = dict(more.pop("headers", {}))
        if version:
            headers["cal-api-version"] = version
        if who:
            headers["Authorization"] = f"Bearer {self.token(who)}"
        return self.http.request(method, f"/calcom/v2{path}", headers=headers, **more)

    def consent(self, who: str, scope: str = SCOPES, **more: Any) -> httpx.Response:
        form = {
            "client_id": "client",
            "redirect_uri": CALLBACK,
            "state": "s",
            "scope": scope,
            "user": f"{who}@demo.test",
            "decision": "approve",
        }
        return self.http.post("/calcom/auth/oauth2/authorize", data=form | more)

    def code(self, who: str, scope: str = SCOPES, **more: Any) -> str:
        return parse_qs(urlsplit(self.consent(who, scope, **more).headers["location"]).query)["code"][0]

    def exchange(self, code: str, **more: Any) -> httpx.Response:
        body = {
            "client_id": "client",
            "client_secret": "shh",
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
        }
        return self.http.post("/calcom/v2/auth/oauth2/token", json=body | more)

    def refresh(self, token: str, **more: Any) -> httpx.Response:
        body = {"client_id": "client", "client_secret": "shh", "grant_type": "refresh_token", "refresh_token": token}
        return self.http.post("/calcom/v2/auth/oauth2/token", json=body | more)

    def connect(self, who: str, scope: str = SCOPES) -> dict[str, Any]:
        answer = self.exchange(self.code(who, scope))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self, who: str) -> str:
        if who not in self.tokens:
            self.tokens[who] = self.connect(who)
        return self.tokens[who]["access_token"]

    def book(self, start: str, kind: str = "session", **more: Any) -> httpx.Response:
        who, version = more.pop("who", None), more.pop("version", "2026-02-25")
        body = {"eventTypeId": self.ids[kind], "start": start, "attendee": MAX} | more
        return self.api("POST", "/bookings", version=version, who=who, json=body)

    def booked(self, start: str, kind: str = "session", **more: Any) -> dict[str, Any]:
        answer = self.book(start, kind, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    def move(self, uid: str, start: str, who: str | None = None, **more: Any) -> httpx.Response:
        return self.api("POST", f"/bookings/{uid}/reschedule", version="2026-02-25", who=who, json={"start": start} | more)

    def moved(self, uid: str, start: str, who: str | None = None, **more: Any) -> dict[str, Any]:
        answer = self.move(uid, start, who, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    def do(self, uid: str, action: str, who: str | None = None, **body: Any) -> httpx.Response:
        return self.api("POST", f"/bookings/{uid}/{action}", version="2026-02-25", who=who, json=body)

    def get(self, uid: str) -> dict[str, Any]:
        return self.api("GET", f"/bookings/{uid}", version="2026-02-25").json()["data"]

    def slots(self, start: str = "2026-12-02", end: str = "2026-12-02", kind: str = "session", **query: Any) -> dict[str, Any]:
        query = {"eventTypeId": self.ids[kind], "start": start, "end": end} | query
        answer = self.api("GET", "/slots", version="2024-09-04", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def starts(self, **query: Any) -> list[str]:
        return [slot["start"][11:16] for slots in self.slots(**query).values() for slot in slots]

    def subscribe(self, url: str, triggers: list[str], who: str = "coach", path: str = "/webhooks", **more: Any) -> dict[str, Any]:
        body = {"active": True, "subscriberUrl": url, "triggers": triggers} | more
        answer = self.api("POST", path, who=who, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]


@dataclass
class Letter:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def event(self) -> str:
        return self.json["triggerEvent"]


class Inbox:
    """A subscriber that keeps what it is sent, answers `status`, and may act while it handles a letter."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.status = 200
        self.location: str | None = None
        self.during: Callable[[Letter], None] | None = None
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                letter = Letter(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                inbox.letters.append(letter)
                if inbox.during is not None:
                    inbox.during(letter)
                self.send_response(inbox.status)
                if inbox.location:
                    self.send_header("Location", inbox.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def events(self) -> list[str]:
        return [letter.event for letter in self.letters]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
