"""What the tests of the sandbox's Calendly speak with: a host, a colleague, a person with an account of their own, an app."""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from sandbox_house import Letter

from sandbox.app import Sandbox

NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)  # a Tuesday, 09:00 in Berlin
CALLBACK = "http://127.0.0.1:9/callback"
SCOPES = "users:read organizations:read event_types:write availability:write scheduled_events:write webhooks:write scheduling_links:write"
KEY = "the app's signing key"
MIA = {"name": "Mia Mentee", "email": "mia@demo.test", "timeZone": "America/New_York"}
GINA = {"name": "Gina Guest", "email": "gina@demo.test", "timeZone": "Europe/London"}
ROOM = [{"kind": "custom", "location": "https://meet.example/room"}]
TYPES: list[dict[str, Any]] = [
    {"name": "Talk", "duration": 30, "locations": ROOM},
    {"name": "Long talk", "duration": 60, "buffers": {"before": 15, "after": 15}},
    {"name": "Workshop", "duration": 45, "kind": "group", "limit": 3},
    {"name": "Call", "duration": 30, "locations": [{"kind": "zoom_conference"}]},
]


@dataclass
class CalendlyHouse:
    sandbox: Sandbox
    http: httpx.Client
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)

    def control(self, method: str, path: str, body: Any = None, *, provider: str = "/calendly") -> Any:
        answer = self.http.request(method, f"/_sandbox{provider}{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def switch(self, **values: Any) -> None:
        self.control("PUT", "/switches", values)

    def forward(self, seconds: float) -> None:
        self.sandbox.world.clock.shift(seconds)

    def person(self, who: str, **more: Any) -> dict[str, Any]:
        body = {"email": f"{who}@demo.test", "name": f"{who.title()} Test", "timeZone": "Europe/Berlin"} | more
        self.people[who] = self.control("POST", "/users", body)
        return self.people[who]

    def user(self, who: str = "cora") -> str:
        return str(self.people[who]["user"]["uri"])

    def organization(self, who: str = "cora") -> str:
        return str(self.people[who]["organization"]["uri"])

    def kind(self, name: str, who: str = "cora") -> str:
        return next(str(one["uri"]) for one in self.people[who]["eventTypes"] if one["name"] == name)

    # ---- OAuth ------------------------------------------------------------------------------------------------------

    def consent(self, who: str = "cora", scope: str = SCOPES, **more: Any) -> httpx.Response:
        form = {"client_id": "app", "redirect_uri": CALLBACK, "state": "s", "scope": scope, "user": f"{who}@demo.test"}
        return self.http.post("/calendly/auth/oauth/authorize", data=form | {"decision": "approve"} | more)

    def code(self, who: str = "cora", scope: str = SCOPES, **more: Any) -> str:
        return parse_qs(urlsplit(self.consent(who, scope, **more).headers["location"]).query)["code"][0]

    def token_call(self, body: dict[str, Any], basic: str = "app:shh") -> httpx.Response:
        headers = {"Authorization": "Basic " + base64.b64encode(basic.encode()).decode()} if basic else {}
        return self.http.post("/calendly/auth/oauth/token", data=body, headers=headers)

    def exchange(self, code: str, **more: Any) -> httpx.Response:
        return self.token_call({"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK} | more)

    def refresh(self, token: str) -> httpx.Response:
        return self.token_call({"grant_type": "refresh_token", "refresh_token": token})

    def connect(self, who: str = "cora", scope: str = SCOPES) -> dict[str, Any]:
        answer = self.exchange(self.code(who, scope))
        assert answer.status_code == 200, answer.text
        return answer.json()

    # ---- the API ----------------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, *, who: str | None = "cora", token: str | None = None, **more: Any) -> httpx.Response:
        """`path` under the API, or a whole URI."""
        if who is not None and token is None:
            if who not in self.tokens:
                self.tokens[who] = self.connect(who)
            token = self.tokens[who]["access_token"]
        address = path if path.startswith("http") else f"/calendly/api{path}"
        return self.http.request(method, address, headers={"Authorization": f"Bearer {token}"} if token else {}, **more)

    def get(self, path: str, **params: Any) -> Any:
        answer = self.api("GET", path, params=params or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def starts(self, kind: str = "Talk", begin: str = "2026-12-02T00:00:00Z", end: str = "2026-12-03T00:00:00Z") -> list[str]:
        rows = self.get("/event_type_available_times", event_type=self.kind(kind), start_time=begin, end_time=end)["collection"]
        return [row["start_time"][11:16] for row in rows]

    def book(self, start: str, kind: str = "Talk", **more: Any) -> dict[str, Any]:
        """By an outsider on the scheduling page: `{event, invitee}`."""
        return self.control("POST", "/bookings", {"eventType": self.kind(kind), "start": start, "invitee": MIA} | more)

    def invite(self, start: str, kind: str = "Long talk", who: str = "cora", **more: Any) -> httpx.Response:
        body = {"event_type": self.kind(kind), "start_time": start, "invitee": {"name": "Mia", "email": "mia@demo.test", "timezone": "UTC"}}
        return self.api("POST", "/invitees", who=who, json=body | more)

    def subscribe(self, url: str, events: list[str] | None = None, who: str = "cora", **more: Any) -> httpx.Response:
        body = {
            "url": url,
            "events": events or ["invitee.created", "invitee.canceled"],
            "organization": self.organization(who),
            "user": self.user(who),
            "scope": "user",
        }
        return self.api("POST", "/webhook_subscriptions", who=who, json=body | more)

    def settle(self) -> None:
        self.sandbox.settle()


def furnished(sandbox: Sandbox) -> Iterator[CalendlyHouse]:
    with httpx.Client(base_url=sandbox.url, timeout=15) as http:
        house = CalendlyHouse(sandbox, http)
        app = {"clientId": "app", "clientSecret": "shh", "redirectUris": [CALLBACK], "webhookSigningKey": KEY}
        house.control("POST", "/apps", app)
        house.person("cora", name="Cora Coach", eventTypes=TYPES)
        house.person("mia", name="Mia Mentee", timeZone="America/New_York")
        yield house
        sandbox.settle()


def signature_fits(letter: Letter, key: str = KEY) -> bool:
    """As the documentation checks it, with any of the v1 values."""
    parts = [part.partition("=") for part in letter.headers["calendly-webhook-signature"].split(",")]
    stamp = next(value for name, _, value in parts if name == "t")
    digest = hmac.new(key.encode(), f"{stamp}.".encode() + letter.body, hashlib.sha256).hexdigest()
    return digest in [value for name, _, value in parts if name == "v1"]
