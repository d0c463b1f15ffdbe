"""Adding a provider touches one folder and one line: tried with a tiny one, in a copy of the sources.

`TINY` is a whole provider of the smallest kind: people can link their account, and that is all it can do. What a provider
with event types, or one with meetings, has to have besides is in services/providers/base.py.
"""

import difflib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import COMPLETE, CONNECTION, DEFAULTS, Issuer

from models import migrate
from services.providers.base import Provider
from services.providers.registry import PROVIDERS
from services.vault import new_key

TINY = '''"""Tiny: an address book. One can link one's account, so that Convene knows its name."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.providers.base import Auth, Capabilities, Delivery, Grant, Headers, ProviderSettings, RemoteAccount
from services.providers.transport import TokenAuth, Transport


class TinySettings(ProviderSettings):
    model_config = SettingsConfigDict(env_prefix="CONVENE_TINY_", frozen=True, extra="ignore")

    api_url: str = Field(default="https://api.tiny.example", description="Tiny's API.")
    client_id: str = Field(default="", description="OAuth client id (tiny.example, Settings, Apps).")
    client_secret: str = Field(default="", description="OAuth client secret.", repr=False)


class TinyDialect:
    """How Tiny says no."""

    slug = "tiny"
    token_limit_by_address = False
    token_auth: TokenAuth = "client_secret_post"

    def grant_refused(self, error: str, grant_type: str) -> bool:
        return error == "invalid_grant"

    def token_refused(self, status: int, body: Any) -> bool:
        return status == 401

    def missing_scopes(self, status: int, body: Any) -> list[str] | None:
        return None

    def limits(self, headers: Any) -> None:
        return None

    def all_spent(self, headers: Any) -> bool:
        return True

    def says(self, body: Any) -> str:
        return "refused"


class TinyProvider:
    slug: ClassVar[str] = "tiny"
    enum_name: ClassVar[str] = "TINY"
    label: ClassVar[str] = "Tiny"
    settings: ClassVar[type[TinySettings]] = TinySettings
    required_scopes: ClassVar[tuple[str, ...]] = ("profile",)
    capabilities: ClassVar[Capabilities] = Capabilities(processing_limit=timedelta(seconds=30))
    webhook_keys: tuple[str, ...] = ()

    def __init__(self, settings: TinySettings, transport: Transport, now: Callable[[], datetime]) -> None:
        self._url, self._transport, self._dialect = settings.api_url.rstrip("/"), transport, TinyDialect()
        self._credentials = {"client_id": settings.client_id, "client_secret": settings.client_secret}
        self.link_kinds = frozenset(["OAUTH"] if settings.on else [])

    def authorization_url(self, *, redirect_uri: str, state: str, verifier: str) -> str:
        asked = {"client_id": self._credentials["client_id"], "redirect_uri": redirect_uri, "state": state, "response_type": "code"}
        return f"{self._url}/authorize?{urlencode(asked)}"

    def exchange_code(self, *, code: str, redirect_uri: str, verifier: str) -> Grant:
        return self._grant("exchange_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier)

    def refresh(self, refresh_token: str) -> Grant:
        return self._grant("refresh", refresh_token=refresh_token)

    def _grant(self, operation: str, **grant: str) -> Grant:
        told = self._transport.token_request(self._dialect, operation, f"{self._url}/token", **self._credentials, **grant)
        return Grant(told["access_token"], told.get("refresh_token"), timedelta(seconds=told["expires_in"]), None)

    def account(self, auth: Auth) -> RemoteAccount:
        told = self._transport.call(self._dialect, "me", "GET", f"{self._url}/me", auth=auth)
        return RemoteAccount(external_id=str(told["id"]), name=told["name"])

    def genuine(self, secrets: Iterable[str], headers: Headers, body: bytes) -> bool:
        return False

    def read_delivery(self, payload: Any) -> Delivery:
        return Delivery("nothing")

    def challenge(self, secrets: Sequence[str], payload: Any) -> dict[str, str] | None:
        return None


PROVIDER = TinyProvider
'''
ROOT = Path(migrate.__file__).parent.parent
SOURCES = ("schema", "routes", "services", "models", "app.py", "settings.py")
REGISTRY = Path("services/providers/registry.py")
FOLDER = Path("services/providers/tiny")
LINE = '    "tiny",\n'
CREDENTIALS = {"CONVENE_TINY_CLIENT_ID": "convene-at-tiny", "CONVENE_TINY_CLIENT_SECRET": "only-for-tests"}
LINK = "mutation { connectProvider(input: {provider: TINY}) { __typename ... on AuthorizationRedirect { authorizationUrl state } } }"
# ---- what runs in the copy: its own schema, settings and faces, never this process's ----
EXPORT = "from schema.root import schema; print(schema.as_str())"
LOAD = "import settings; settings.load()"
SERVE = """
import json, sys
from app import create_app
from models.base import connect
from models.migrate import migrate
import settings
connect(settings.load()[0].database_url)
migrate()
browser = create_app().test_client()
for asked in json.loads(sys.stdin.read()):
    answer = browser.open(**asked)
    print(json.dumps([answer.status_code, answer.headers.get("Location"), answer.get_json(silent=True)]))
"""


@dataclass(frozen=True)
class Copy:
    """The project's sources with one provider more."""

    folder: Path
    environment: dict[str, str]

    def run(self, program: str, *, told: object = None, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self.folder), **self.environment, **environment},
            input=json.dumps(told),
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, *requests: dict[str, Any], **environment: str) -> list[tuple[int, str | None, Any]]:
        """(status, where it redirects to, body) of each request, by a Convene that is started for them."""
        done = self.run(SERVE, told=requests, **CREDENTIALS, **environment)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        return [tuple(answer) for answer in answers]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Copy:
    folder = tmp_path_factory.mktemp("fourth")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)  # with what is compiled: each process would do it again
        else:
            shutil.copy(ROOT / name, folder)
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "__init__.py").touch()
    (folder / FOLDER / "provider.py").write_text(TINY)
    text = (folder / REGISTRY).read_text()
    (folder / REGISTRY).write_text(text.replace("FOLDERS = (\n", f"FOLDERS = (\n{LINE}"))
    return Copy(
        folder,
        {
            "CONVENE_PUBLIC_URL": "http://127.0.0.1:8000",
            "CONVENE_SEALING_KEYS": new_key("test"),
            "CONVENE_DATABASE_URL": f"sqlite:///{folder / 'convene.db'}",
            "CONVENE_IDENTITY_ISSUER": issuer.url,
            "CONVENE_IDENTITY_AUDIENCE": Issuer.audience,
            "CONVENE_IDENTITY_ALGORITHMS": "ES256",
            "CONVENE_CALCOM_CLIENT_ID": "convene",
            "CONVENE_CALCOM_CLIENT_SECRET": "only-for-tests",
        },
    )


def files(folder: Path) -> dict[str, str]:
    """Every source by its place, generated files left out."""
    found = [path for name in SOURCES for path in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*"))]
    return {p.relative_to(folder).as_posix(): p.read_text() for p in found if p.is_file() and "__pycache__" not in p.parts}


def graphql(issuer: Issuer, query: str, who: str = "somebody", **variables: Any) -> dict[str, Any]:
    token = issuer.token(datetime.now(UTC), f"test|{who}", email=f"{who}@example.test", email_verified=True)
    body = {"query": query, "variables": variables}
    return {"path": "/graphql", "method": "POST", "json": body, "headers": {"Authorization": f"Bearer {token}"}}


def test_it_is_a_folder_and_a_line_and_nothing_else_differs(copy: Copy) -> None:
    ours, theirs = files(ROOT), files(copy.folder)
    assert set(theirs) - set(ours) == {f"{FOLDER.as_posix()}/__init__.py", f"{FOLDER.as_posix()}/provider.py"}
    assert set(ours) <= set(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == [REGISTRY.as_posix()]
    changed = difflib.ndiff(ours[REGISTRY.as_posix()].splitlines(True), theirs[REGISTRY.as_posix()].splitlines(True))
    assert [line for line in changed if not line.startswith("  ")] == [f"+ {LINE}"]


def test_it_has_all_that_a_provider_must_have(copy: Copy) -> None:
    """The Protocol is what base.py says; a member that is added there is one that each provider needs."""
    wanted = sorted({name for name in (*vars(Provider), *Provider.__annotations__) if not name.startswith("_")})
    told = copy.run(
        "import json, sys; from services.providers.registry import PROVIDERS\n"
        "from services.providers.tiny.provider import TinyProvider, TinySettings\n"
        "one = PROVIDERS['tiny'](TinySettings(), None, None)\n"
        "print(json.dumps([name for name in json.loads(sys.stdin.read()) if not hasattr(one, name)]))",
        told=wanted,
    )
    assert json.loads(told.stdout) == [], told.stderr
    assert {"slug", "capabilities", "link_kinds", "authorization_url", "genuine"} <= set(wanted)


def test_it_is_in_the_enum_and_the_schema_is_otherwise_the_same(copy: Copy) -> None:
    exported = copy.run(EXPORT)
    assert exported.returncode == 0, exported.stderr
    committed = (ROOT / "schema" / "schema.graphql").read_text().rstrip("\n").splitlines()
    changed = difflib.ndiff(committed, exported.stdout.rstrip("\n").splitlines())
    assert [line for line in changed if line[0] in "+-"] == ["+   TINY"]


def test_its_settings_are_read_and_half_of_them_are_refused(copy: Copy) -> None:
    half = copy.run(LOAD, CONVENE_TINY_CLIENT_ID="convene-at-tiny")
    assert half.returncode != 0
    told = [line.strip() for line in half.stderr.splitlines() if line.strip().startswith("CONVENE_")]
    assert told == ["CONVENE_TINY_CLIENT_SECRET is missing. OAuth client secret."]
    assert copy.run(LOAD, **CREDENTIALS).returncode == 0
    assert copy.run(LOAD).returncode == 0


def test_the_routes_know_it(copy: Copy) -> None:
    """An unknown state at its callback is the answer for a provider that is there; a provider that is not gets another."""
    callback, elsewhere, page, hook, own = copy.ask(
        {"path": "/oauth/tiny/callback?state=unknown-unknown-unknown&code=x"},
        {"path": "/oauth/none/callback?state=unknown-unknown-unknown&code=x"},
        {"path": "/oauth/tiny/return"},
        {"path": "/webhooks/tiny", "method": "POST", "json": {}},
        {"path": "/webhooks/tiny/x", "method": "POST", "json": {}},
    )
    assert (callback[0], callback[2]["error"]["code"]) == (400, "AUTHORIZATION_EXPIRED")
    assert (elsewhere[0], elsewhere[2]["error"]["code"]) == (400, "BAD_USER_INPUT")
    assert page[0] == 200
    for refused in (hook, own):
        assert (refused[0], refused[2]["error"]["code"]) == (404, "NOT_FOUND")


def test_linking_begins_at_its_address_and_comes_back_to_ours(copy: Copy, issuer: Issuer) -> None:
    # somebody else than who links an account in another test, in whichever order they run
    status, begun = copy.ask(graphql(issuer, CONNECTION, "newcomer", provider="TINY"), graphql(issuer, LINK, "newcomer"))
    told = status[2]["data"]["connectionStatus"]
    assert (told["provider"], told["state"], told["sandbox"]) == ("TINY", "NOT_CONNECTED", False)
    assert told["message"] == "Tiny is not connected. Connect it with connectProvider."
    found = begun[2]["data"]["connectProvider"]
    assert found["__typename"] == "AuthorizationRedirect"
    address = urlsplit(found["authorizationUrl"])
    asked = {name: value for name, (value,) in parse_qs(address.query).items()}
    assert f"{address.scheme}://{address.netloc}{address.path}" == "https://api.tiny.example/authorize"
    assert asked == {
        "client_id": "convene-at-tiny",
        "redirect_uri": "http://127.0.0.1:8000/oauth/tiny/callback",
        "state": found["state"],
        "response_type": "code",
    }
    ((code, location, _),) = copy.ask({"path": f"/oauth/tiny/callback?state={found['state']}&error=access_denied"})
    assert (code, urlsplit(str(location)).path) == (303, "/oauth/tiny/return")


class Tiny(BaseHTTPRequestHandler):
    """Tiny's own server: any code is worth a token, and the token's account is always the same."""

    def do_POST(self) -> None:
        self._answer({"access_token": "of-tiny", "refresh_token": "next", "expires_in": 3600, "token_type": "Bearer"})

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == "Bearer of-tiny"
        self._answer({"id": 7, "name": "Somebody at Tiny"} if known else {}, 200 if known else 401)

    def _answer(self, told: dict[str, Any], status: int = 200) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def tiny() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Tiny) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_account_is_linked_and_what_it_cannot_do_is_told(copy: Copy, issuer: Issuer, tiny: str) -> None:
    here = {"CONVENE_TINY_API_URL": tiny}
    ((_, _, begun),) = copy.ask(graphql(issuer, LINK), **here)
    state = begun["data"]["connectProvider"]["state"]
    back, done, listed, defaults = copy.ask(
        {"path": f"/oauth/tiny/callback?state={state}&code=given"},
        graphql(issuer, COMPLETE, input={"state": state}),
        graphql(issuer, "{ linkedAccounts { provider kind state account { externalId name } } schedules { id } }"),
        graphql(issuer, DEFAULTS, provider="TINY"),
        **here,
    )
    assert (back[0], done[2]["data"]["completeConnection"]["__typename"]) == (303, "ProviderLinked")
    told = done[2]["data"]["completeConnection"]["status"]
    assert (told["state"], told["sandbox"], told["message"]) == ("ACTIVE", True, "Tiny is connected.")
    account = {"provider": "TINY", "kind": "OAUTH", "state": "ACTIVE", "account": {"externalId": "7", "name": "Somebody at Tiny"}}
    assert listed[2]["data"] == {"linkedAccounts": [account], "schedules": []}
    refused = defaults[2]["data"]["createDefaultEventTypes"]
    assert (refused["code"], refused["message"]) == ("NOT_SUPPORTED", "Tiny has no event types and no bookings.")


def test_this_process_does_not_know_it() -> None:
    assert "tiny" not in PROVIDERS
