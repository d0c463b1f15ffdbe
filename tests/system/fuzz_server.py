"""A whole installation to be fuzzed: gunicorn with its jobs, the sandbox beside it, people with data, and what it must never say."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from system.test_server import Server

PATIENCE = 25
"""Seconds after which a request counts as hanging: longer than a provider's call may take."""
INSIDE = ("Traceback (most recent", "site-packages", "sqlite3.", "peewee.", "/services/", '"SELECT ', 'File \\"')
GRAPHQL_CODES = {
    "UNAUTHENTICATED", "FORBIDDEN", "BAD_USER_INPUT", "TOO_COMPLEX", "INTROSPECTION_DISABLED", "PERSISTED_QUERY_NOT_FOUND",
    "PERSISTED_QUERY_NOT_SUPPORTED", "DOCUMENT_NOT_TRUSTED", "TOO_MANY_REQUESTS", "TIMEOUT", "TOO_LARGE", "METHOD_NOT_ALLOWED",
}  # fmt: skip
"""Of docs/errors.md; UNAVAILABLE and INTERNAL are what must not come."""
REST_CODES = {
    "BAD_USER_INPUT", "AUTHORIZATION_EXPIRED", "BAD_SIGNATURE", "TOO_OLD", "UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED",
    "TIMEOUT", "TOO_MANY_REQUESTS", "TOO_LARGE", "CONNECTION_UNUSABLE", "RATE_LIMITED", "REFRESH_IN_PROGRESS",
}  # fmt: skip
A_TOKEN = re.compile(r"eyJ[\w-]{8,}\.eyJ[\w-]+\.[\w-]+")
"""Cal.com's tokens are JWTs. Two answers may hold one, each for its owner alone."""
JSON_TYPES = {"application/json", "application/graphql-response+json"}


class FuzzedServer(Server):
    """Without limits on how often one may ask, and with a log that tells each surprise."""

    def __enter__(self) -> Self:
        self.log = (self.folder / "log.txt").open("ab")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CONVENE_", "PYTEST_"))}
        unlimited = {"CONVENE_REQUESTS_PER_USER": "0", "CONVENE_REQUESTS_PER_ADDRESS": "0", "CONVENE_LOG_LEVEL": "WARNING"}
        self.process = subprocess.Popen(
            [sys.executable, "scripts/development.py", "--port", str(self.port), "--sandbox-port", str(self.sandbox_port)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**clean, **unlimited},
        )
        assert self.process.stdout is not None
        self.said = b""
        while b"State is kept" not in self.said:
            line = self.process.stdout.readline()
            assert line, (self.folder / "log.txt").read_text()[-2000:]
            self.said += line
        return self

    def logged(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")

    def rss(self) -> float:
        """MB that gunicorn's worker holds."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                command = (status.parent / "cmdline").read_bytes()
                if b"gunicorn" in command and (status.parent / "cwd").resolve() == self.folder.resolve():
                    found.append(int(next(line for line in status.read_text().splitlines() if line.startswith("VmRSS")).split()[1]))
            except (OSError, StopIteration):
                continue  # it ended meanwhile
        return max(found) / 1024

    def secrets(self) -> set[str]:
        """What must be in no answer and in no line of the log: the providers' tokens and secrets, and the installation's own."""
        state = httpx.get(f"{self.sandbox}/_sandbox/state", timeout=30).json()
        found = set(json.loads((self.folder / "var" / "development.json").read_text()).values())
        for provider in state.values():
            if not isinstance(provider, dict):
                continue
            tokens, hooks = _rows(provider.get("tokens", [])), _rows(provider.get("webhooks", []))
            found |= {row.get(name) for row in tokens for name in ("access", "refresh", "previous", "text")}
            found |= {row.get("secret") for row in hooks}
        return {one for one in found if isinstance(one, str) and len(one) >= 16}

    def uids(self) -> set[str]:
        """Whoever knows one can cancel the booking: in no line of the log."""
        state = httpx.get(f"{self.sandbox}/_sandbox/state", timeout=30).json()
        return {row["uid"] for row in _rows(state["calcom"]["bookings"])}


def _rows(table: Any) -> list[dict[str, Any]]:
    rows = table.values() if isinstance(table, dict) else table
    return [row for row in rows if isinstance(row, dict)]


@dataclass
class Judge:
    """Sends requests and looks at what comes back; what is wrong is kept, with the request that shows it."""

    server: FuzzedServer
    secrets: set[str]
    wrong: dict[str, list[str]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.server.url, timeout=PATIENCE, verify=False)
        self._tokens: dict[str, tuple[str, float]] = {}

    def token(self, email: str) -> str:
        value, at = self._tokens.get(email, ("", 0.0))
        if time.monotonic() - at > 600:
            value, at = self.server.token(email), time.monotonic()
            self._tokens[email] = value, at
        return value

    def graphql(self, email: str, content: bytes, **headers: str) -> None:
        """One operation of that person's."""
        sent = {"Authorization": f"Bearer {self.token(email)}", "Content-Type": "application/json", **headers}
        answer = self.send("POST", "/graphql", content=content, headers=sent)
        if answer is None:
            return
        shown = f"{email}: {content[:1500].decode(errors='replace')}"
        try:
            body = answer.json()
        except ValueError:
            self.blame("a GraphQL answer that is not JSON", shown)
            return
        if answer.headers.get("Content-Type") not in JSON_TYPES or not isinstance(body, dict) or not {"data", "errors"} & body.keys():
            self.blame("an answer that is not GraphQL's", shown)
            return
        for error in body.get("errors") or ():
            code = (error.get("extensions") or {}).get("code")
            self.seen[f"graphql {code}"] += 1
            if code not in GRAPHQL_CODES or not isinstance(error.get("message"), str) or len(error["message"]) < 10:
                self.blame(f"the code {code} at {'.'.join(map(str, error.get('path') or ()))}", f"{shown} -> {error}")
        if not body.get("errors"):
            self.seen["graphql data"] += 1
            for value in (body.get("data") or {}).values():
                if isinstance(value, dict) and isinstance(value.get("__typename"), str):
                    self.seen[f"answer {value['__typename']}"] += 1

    def rest(self, method: str, path: str, **rest: Any) -> None:
        answer = self.send(method, path, **rest)
        if answer is None:
            return
        self.seen[f"rest {answer.status_code}"] += 1
        kind = answer.headers.get("Content-Type", "")
        shown = f"{method} {path[:300]} {rest}"[:900]
        if answer.status_code < 400 or method == "HEAD":
            return
        if path.startswith("/tokens/cal/refresh") and answer.status_code == 401:
            if answer.json() != {"accessToken": ""}:
                self.blame("another 401 than Atoms want", shown)
            return
        if path.startswith("/graphql"):
            if kind not in JSON_TYPES or "errors" not in answer.json():
                self.blame("an answer that is not GraphQL's", shown)
            return
        if kind != "application/json":
            self.blame(f"a refusal as {kind or 'nothing'}", shown)
            return
        body = answer.json()
        error = body.get("error") if isinstance(body, dict) else None
        good = isinstance(error, dict) and set(body) == {"data", "error"} and set(error) == {"code", "message", "details"}
        if not good or error["code"] not in REST_CODES:  # type: ignore[index] - only where it is one
            self.blame("a refusal outside our envelope", f"{shown} -> {answer.text[:200]}")

    def send(self, method: str, path: str, **rest: Any) -> httpx.Response | None:
        begin = time.monotonic()
        shown = f"{method} {path[:300]} {rest}"[:2500]
        try:
            answer = self._asked(method, path, **rest)
        except httpx.TimeoutException:
            self.blame("no answer in time", shown)
            return None
        except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeEncodeError):
            self.seen["not sent"] += 1  # our own client refuses to send it
            return None
        except httpx.HTTPError as error:
            self.blame(f"no answer ({type(error).__name__})", shown)
            return None
        self.slowest = max(self.slowest, time.monotonic() - begin)
        self.seen["sent"] += 1
        if answer.status_code >= 500:
            self.blame(f"{answer.status_code}", f"{shown} -> {answer.text[:300]}")
        if not answer.headers.get("X-Request-Id") and answer.headers.get("Server", "").lower() != "gunicorn":
            self.blame("no request id", shown)
        text = answer.text
        if any(word in text for word in INSIDE):
            self.blame("something of the inside", f"{shown} -> {text[:300]}")
        if self._tells(path, text):
            self.blame("a secret", shown)
        return answer

    def _asked(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            return self.client.request(method, path, **rest)
        except httpx.RemoteProtocolError:
            # a connection that was idle for too long may be closed while the next request is on its way: once more, on a new one
            self.seen["connected again"] += 1
            return self.client.request(method, path, **rest)

    def _tells(self, path: str, text: str) -> bool:
        """Whether there is a secret in it."""
        if A_TOKEN.search(text) and path != "/dev/token" and '"accessToken"' not in text:
            return True
        return any(one in text for one in self.secrets)

    def blame(self, what: str, how: str) -> None:
        self.wrong.setdefault(what, []).append(how)

    def verdict(self) -> str:
        """What was wrong, each kind with its first cases."""
        lines = [
            f"{what} ({len(cases)})\n    " + "\n    ".join(case[:1200] for case in cases[:3]) for what, cases in sorted(self.wrong.items())
        ]
        return "\n".join(lines)
