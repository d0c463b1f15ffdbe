"""What the tests of the sandbox's Zoom speak with: two hosts, a server-to-server app, a user OAuth app, and an endpoint.

Test modules take the fixtures with `pytest_plugins = ["zoom_fixtures"]`.
"""

import hashlib
import hmac
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
from sandbox_house import Letter

from sandbox.app import Sandbox
from sandbox.zoom.rows import Meeting

CALLBACK = "http://127.0.0.1:9/zoom"
SECRET = "zoom-secret-token"
SERVER = {"clientId": "server", "clientSecret": "shh", "accountId": "account-1"}
USER_APP = {"clientId": "app", "clientSecret": "sss", "redirectUris": [CALLBACK]}
START = "2026-12-03T09:00:00Z"


@dataclass
class ZoomHouse:
    sandbox: Sandbox
    http: httpx.Client
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def meetings(self) -> dict[int, Meeting]:
        return self.sandbox.world.zoom.meetings

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"/_sandbox/zoom{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def build(self) -> None:
        for name in ("coach", "coach2"):
            self.control("POST", "/users", {"email": f"{name}@demo.test", "name": f"{name.title()} Host", "timeZone": "Europe/Berlin"})
        self.control("POST", "/apps", SERVER)
        self.control("POST", "/apps", USER_APP)

    def listen(self, url: str, app: dict[str, Any] = SERVER, **more: Any) -> dict[str, Any]:
        return self.control("POST", "/apps", app | {"webhookUrl": url, "secretToken": SECRET} | more)

    def ask_token(self, app: dict[str, Any] = SERVER, **form: Any) -> httpx.Response:
        return self.http.post("/zoom/web/oauth/token", data=form, auth=(app["clientId"], app["clientSecret"]))

    def server_token(self) -> dict[str, Any]:
        answer = self.ask_token(grant_type="account_credentials", account_id="account-1")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def consent(self, who: str = "coach", **more: Any) -> httpx.Response:
        form = {"client_id": "app", "redirect_uri": CALLBACK, "state": "s", "user": f"{who}@demo.test", "decision": "approve"}
        return self.http.post("/zoom/web/oauth/authorize", data=form | more)

    def code(self, who: str = "coach", **more: Any) -> str:
        return parse_qs(urlsplit(self.consent(who, **more).headers["location"]).query)["code"][0]

    def exchange(self, code: str, **more: Any) -> httpx.Response:
        return self.ask_token(USER_APP, **({"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK} | more))

    def refresh(self, token: str) -> httpx.Response:
        return self.ask_token(USER_APP, grant_type="refresh_token", refresh_token=token)

    def connect(self, who: str = "coach", **more: Any) -> dict[str, Any]:
        answer = self.exchange(self.code(who, **more))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def token(self, who: str) -> str:
        """Of the server-to-server app, or of a person who uses the user app."""
        if who not in self.tokens:
            self.tokens[who] = (self.server_token() if who == "server" else self.connect(who))["access_token"]
        return self.tokens[who]

    def api(self, method: str, path: str, *, who: str | None = "server", token: str | None = None, **more: Any) -> httpx.Response:
        held = token or (self.token(who) if who else None)
        headers = {"Authorization": f"Bearer {held}"} if held else {}
        return self.http.request(method, f"/zoom/api/v2{path}", headers=headers, **more)

    def create(self, host: str = "coach@demo.test", who: str = "server", **more: Any) -> httpx.Response:
        body = {"topic": "Session", "type": 2, "start_time": START, "duration": 30, "agenda": "booking-1"} | more
        return self.api("POST", f"/users/{host}/meetings", who=who, json=body)

    def made(self, host: str = "coach@demo.test", who: str = "server", **more: Any) -> dict[str, Any]:
        answer = self.create(host, who, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def get(self, meeting_id: int) -> dict[str, Any]:
        answer = self.api("GET", f"/meetings/{meeting_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def listed(self, host: str = "coach@demo.test", **query: Any) -> dict[str, Any]:
        answer = self.api("GET", f"/users/{host}/meetings", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def shift(self, seconds: float) -> None:
        self.sandbox.world.clock.shift(seconds)


def twice(uuid: str) -> str:
    return quote(quote(uuid, safe=""), safe="")


def signature(timestamp: str, body: bytes, secret: str = SECRET) -> str:
    return "v0=" + hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()


class Endpoint:
    """Answers challenges (rightly, unless told otherwise), keeps the events, and answers them with `status`."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.challenges: list[Letter] = []
        self.status = 200
        self.secret = SECRET
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                letter = Letter(self.path, {name.lower(): value for name, value in self.headers.items()}, raw)
                status, answer = endpoint.receive(letter)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def receive(self, letter: Letter) -> tuple[int, bytes]:
        if letter.json["event"] != "endpoint.url_validation":
            self.letters.append(letter)
            return self.status, b""
        self.challenges.append(letter)
        plain = letter.json["payload"]["plainToken"]
        proof = hmac.new(self.secret.encode(), plain.encode(), hashlib.sha256).hexdigest()
        return 200, json.dumps({"plainToken": plain, "encryptedToken": proof}).encode()

    @property
    def events(self) -> list[str]:
        return [letter.json["event"] for letter in self.letters]

    def of(self, event: str) -> dict[str, Any]:
        (found,) = [letter.json for letter in self.letters if letter.json["event"] == event]
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
