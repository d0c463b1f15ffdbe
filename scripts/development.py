"""What scripts/server runs: migrates, starts Convene and the sandbox, seeds the demo people through the public faces.

The demo accounts are linked as a person would link them: connectProvider, the consent page, the callback,
completeConnection. Nothing is written into the database behind Convene's back.
"""

import argparse
import base64
import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
LINKED = {
    "coach@demo.test": "CAL_COM",
    "mentee@demo.test": "CAL_COM",
    "coach2@demo.test": "CALENDLY",
    "mentee2@demo.test": "CALENDLY",
}
EVERYBODY = (*LINKED, "guest@demo.test", "admin@demo.test")
CLIENT_ID = "convene-development"
ZOOM_ACCOUNT = "convene-development-account"
PLATFORM_CLIENT_ID = "convene-platform"
MAIL_FROM = "Convene <notifications@convene.test>"
PATIENCE = 60
HIGHEST_PORT = 65535
PR_SET_PDEATHSIG = 1


class Stopped(Exception):
    """SIGTERM or Ctrl-C."""


def main() -> int:
    options = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    children: list[subprocess.Popen[bytes]] = []
    try:
        _run(options, children)
    except Stopped:
        print("\nStopping ...", flush=True)
    except StartError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    finally:
        _end(children)
    return 0


class StartError(Exception):
    """What kept the server from starting, for a person."""


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number from 1 to {HIGHEST_PORT}")
    return int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/server", description="Convene and the sandbox, ready to use.")
    parser.add_argument("--port", type=_port, default=8000, help="Convene's port (8000)")
    parser.add_argument("--sandbox-port", type=_port, default=8001, help="the sandbox's port (8001)")
    parser.add_argument("--no-sandbox", action="store_true", help="real providers, from CONVENE_<PROVIDER>_* in the environment")
    return parser.parse_args()


def _run(options: argparse.Namespace, children: list[subprocess.Popen[bytes]]) -> None:
    VAR.mkdir(exist_ok=True)
    lock = (VAR / "server.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StartError("Another scripts/server of this checkout is running: they would share var/. Stop it first.") from error
    convene, sandbox = f"http://127.0.0.1:{options.port}", f"http://127.0.0.1:{options.sandbox_port}"
    environment = _environment(options.port, None if options.no_sandbox else sandbox)
    if options.port == options.sandbox_port and not options.no_sandbox:
        raise StartError("Convene and the sandbox need two different ports: --port, --sandbox-port.")
    for port in [options.port] + ([] if options.no_sandbox else [options.sandbox_port]):
        _check_free(port)
    if not options.no_sandbox:
        state = VAR / "sandbox.json"
        arguments = ["-m", "sandbox", "--port", str(options.sandbox_port), "--state", str(state), "--demo"]
        mail_port = _free_port()
        environment |= {"CONVENE_SMTP_URL": f"smtp://127.0.0.1:{mail_port}", "CONVENE_MAIL_FROM": MAIL_FROM}
        arguments += ["--smtp-port", str(mail_port), "--mailbox", str(VAR / "mail")]
        children.append(_start(arguments, environment))
        _wait(f"{sandbox}/_sandbox/clock", children[-1], "The sandbox")
        _register_clients(sandbox, convene, environment)
    subprocess.run([sys.executable, "scripts/migrate"], check=True, cwd=ROOT, env=environment)
    children.append(_start(["-m", "gunicorn", "--log-level", "warning", "app:create_app()"], environment))
    _wait(f"{convene}/ready", children[-1], "Convene")
    if not options.no_sandbox:
        _register_zoom(sandbox, convene, environment)
        for email in EVERYBODY:
            _seed(convene, email)
        _wait_for_bookings(convene)
    _say(convene, None if options.no_sandbox else sandbox)
    while all(child.poll() is None for child in children):
        time.sleep(0.5)
    raise StartError("One of the processes ended by itself; the log above says why.")


# ---- environment and processes -----------------------------------------------------------------------------------------


def _environment(port: int, sandbox: str | None) -> dict[str, str]:
    kept = _kept_secrets()
    own = {
        "CONVENE_DEVELOPMENT": "1",
        "CONVENE_HOST": "127.0.0.1",
        "CONVENE_PORT": str(port),
        "CONVENE_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CONVENE_SEALING_KEYS": kept["sealing_keys"],
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }
    if sandbox:
        own |= {
            "CONVENE_CALCOM_API_URL": f"{sandbox}/calcom",
            "CONVENE_CALCOM_APP_URL": f"{sandbox}/calcom",
            "CONVENE_CALCOM_CLIENT_ID": CLIENT_ID,
            "CONVENE_CALCOM_CLIENT_SECRET": kept["client_secret"],
            "CONVENE_CALCOM_PLATFORM_CLIENT_ID": PLATFORM_CLIENT_ID,
            "CONVENE_CALCOM_PLATFORM_CLIENT_SECRET": kept["client_secret"],
            "CONVENE_CALENDLY_API_URL": f"{sandbox}/calendly/api",
            "CONVENE_CALENDLY_AUTH_URL": f"{sandbox}/calendly/auth",
            "CONVENE_CALENDLY_APP_URL": f"{sandbox}/calendly/web",
            "CONVENE_CALENDLY_CLIENT_ID": CLIENT_ID,
            "CONVENE_CALENDLY_CLIENT_SECRET": kept["client_secret"],
            "CONVENE_CALENDLY_WEBHOOK_SIGNING_KEYS": kept["signing_key"],
            "CONVENE_ZOOM_API_URL": f"{sandbox}/zoom/api",
            "CONVENE_ZOOM_AUTH_URL": f"{sandbox}/zoom/web",
            "CONVENE_ZOOM_CLIENT_ID": CLIENT_ID,
            "CONVENE_ZOOM_CLIENT_SECRET": kept["client_secret"],
            "CONVENE_ZOOM_ACCOUNT_ID": ZOOM_ACCOUNT,
            "CONVENE_ZOOM_ACCOUNT_CLIENT_ID": f"{CLIENT_ID}-account",
            "CONVENE_ZOOM_ACCOUNT_CLIENT_SECRET": kept["client_secret"],
            "CONVENE_ZOOM_WEBHOOK_SECRETS": kept["signing_key"],
        }
    defaults = {"CONVENE_LOG_LEVEL": "WARNING"}
    return {**defaults, **os.environ, **own}


def _kept_secrets() -> dict[str, str]:
    """Made once for this checkout, so that what is sealed under var/ can be opened after a restart."""
    path = VAR / "development.json"
    made = {
        "sealing_keys": f"dev:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "client_secret": secrets.token_urlsafe(24),
        "signing_key": secrets.token_urlsafe(32),
    }
    before: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    kept = made | before
    if kept != before:
        VAR.mkdir(exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(kept))
    return kept


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartError(f"Port {port} is taken. Stop what listens there, or choose others: --port, --sandbox-port.") from error


def _free_port() -> int:
    """One that nobody has to know, so it need not be the same at the next start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # a session of its own: Ctrl-C reaches this process alone, which then stops the children in order
    return subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509
    )


def _die_with_parent() -> None:
    """On Linux: end when this process is killed outright, so that no orphan keeps the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for child in reversed(children):
        child.terminate()
        try:
            child.wait(35)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


# ---- talking to what was started ---------------------------------------------------------------------------------------


def _call(url: str, body: Any = None, headers: dict[str, str] | None = None, *, form: bool = False) -> Any:
    data = None if body is None else (urlencode(body, doseq=True) if form else json.dumps(body)).encode()
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    request = urllib.request.Request(url, data=data, headers={"Content-Type": kind, **(headers or {})})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
        return json.loads(response.read() or b"null")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _location(url: str, body: dict[str, Any] | None = None) -> str:
    """Where a page sends the browser."""
    data = None if body is None else urlencode(body, doseq=True).encode()
    try:
        urllib.request.build_opener(_NoRedirect).open(url, data=data, timeout=20)
    except urllib.error.HTTPError as answer:
        if answer.code in {302, 303}:
            return str(answer.headers["Location"])
        raise
    raise StartError(f"{urlsplit(url).path} did not send the browser on.")


def _wait(url: str, child: subprocess.Popen[bytes], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if child.poll() is not None:
            break
        with contextlib.suppress(OSError):
            _call(url)
            return
        time.sleep(0.1)
    raise StartError(f"{what} did not start; the log above says why.")


def _register_clients(sandbox: str, convene: str, environment: dict[str, str]) -> None:
    """Ours for consent pages, and ours for managed users; Cal.com lets a browser use the latter from listed origins only."""
    secret = environment["CONVENE_CALCOM_CLIENT_SECRET"]
    frontends = [origin.strip() for origin in environment.get("CONVENE_ALLOWED_ORIGINS", "").split(",") if origin.strip()]
    _call(
        f"{sandbox}/_sandbox/calcom/platform-clients",
        {"clientId": PLATFORM_CLIENT_ID, "clientSecret": secret, "redirectUris": [convene, *frontends], "name": "Convene"},
    )
    _call(
        f"{sandbox}/_sandbox/calcom/oauth-clients",
        {
            "clientId": CLIENT_ID,
            "clientSecret": secret,
            "redirectUris": [f"{convene}/oauth/calcom/callback"],
            "name": "Convene",
            "type": "CONFIDENTIAL",
        },
    )
    _call(
        f"{sandbox}/_sandbox/calendly/apps",
        {
            "clientId": CLIENT_ID,
            "clientSecret": secret,
            "redirectUris": [f"{convene}/oauth/calendly/callback"],
            "webhookSigningKey": environment["CONVENE_CALENDLY_WEBHOOK_SIGNING_KEYS"],
            "name": "Convene",
        },
    )


def _register_zoom(sandbox: str, convene: str, environment: dict[str, str]) -> None:
    """After Convene is up: Zoom asks at once whether the webhook's address knows the secret."""
    hook = {"webhookUrl": f"{convene}/webhooks/zoom", "secretToken": environment["CONVENE_ZOOM_WEBHOOK_SECRETS"], "name": "Convene"}
    secret = environment["CONVENE_ZOOM_CLIENT_SECRET"]
    callback = [f"{convene}/oauth/zoom/callback"]
    _call(f"{sandbox}/_sandbox/zoom/apps", {"clientId": CLIENT_ID, "clientSecret": secret, "redirectUris": callback, **hook})
    account = {"clientId": f"{CLIENT_ID}-account", "clientSecret": secret, "accountId": ZOOM_ACCOUNT}
    _call(f"{sandbox}/_sandbox/zoom/apps", {**account, **hook})


def _graphql(convene: str, token: str, query: str, variables: dict[str, Any] | None = None) -> Any:
    answer = _call(f"{convene}/graphql", {"query": query, "variables": variables}, {"Authorization": f"Bearer {token}"})
    if answer.get("errors"):
        raise StartError(f"Seeding failed: {answer['errors'][0]['message']}")
    return answer["data"]


def _token(convene: str, email: str) -> str:
    return str(_call(f"{convene}/dev/token", {"email": email})["accessToken"])


def _seed(convene: str, email: str) -> None:
    """Sign in once, and link the sandbox account of those who have one, as a browser would."""
    token, provider = _token(convene, email), LINKED.get(email, "CAL_COM")
    status = _graphql(convene, token, f"{{ viewer {{ id }} connectionStatus(provider: {provider}) {{ state }} }}")
    if email not in LINKED or status["connectionStatus"]["state"] not in {"NOT_CONNECTED", "NEEDS_RECONNECT"}:
        return
    begun = _graphql(
        convene,
        token,
        "mutation($provider: Provider!) { connectProvider(input: {provider: $provider}) {"
        " ... on AuthorizationRedirect { authorizationUrl state } } }",
        {"provider": provider},
    )["connectProvider"]
    consent = begun["authorizationUrl"]
    fields = {**{k: v[0] for k, v in parse_qs(urlsplit(consent).query).items()}, "user": email, "decision": "approve"}
    _location(_location(consent.split("?")[0], fields))
    linked = _graphql(
        convene,
        token,
        "mutation($state: String!) { completeConnection(input: {state: $state}) { __typename ... on Problem { message } } }",
        {"state": begun["state"]},
    )["completeConnection"]
    if linked["__typename"] != "ProviderLinked":
        raise StartError(f"{email} could not be linked: {linked.get('message')}")


def _wait_for_bookings(convene: str) -> None:
    until = time.monotonic() + PATIENCE
    query = "query($provider: Provider!) { connectionStatus(provider: $provider) { linkedAccount { sync { lastSyncedAt webhooks } } } }"
    for email, provider in LINKED.items():
        token = _token(convene, email)
        while time.monotonic() < until:
            account = _graphql(convene, token, query, {"provider": provider})["connectionStatus"]["linkedAccount"]
            if account is None or (account["sync"]["lastSyncedAt"] and account["sync"]["webhooks"] == "RECEIVING"):
                break
            time.sleep(0.1)


def _say(convene: str, sandbox: str | None) -> None:
    page = "" if (VAR / "assets" / "graphiql" / ".stamp").exists() else "  (its files are missing: run scripts/assets)"
    print(f"\nConvene   {convene}/graphql{page}")
    if sandbox:
        print(f"Sandbox   {sandbox}/  (stand-in for Cal.com, Calendly and Zoom: book as an outsider, switch faults on)")
        print(f"Mailbox   {sandbox}/mail  (every e-mail that Convene sends; kept under var/mail)")
    print("\nSign in as " + ", ".join(EVERYBODY) + ": GraphiQL has them in its bar, or")
    print(f"  curl -s {convene}/dev/token -H 'Content-Type: application/json' -d '{{\"email\": \"coach@demo.test\"}}'")
    print("\nCtrl-C stops everything. State is kept under var/.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
