"""Keys: sealing everything anew while it is used, not starting without a key that is needed, and secrets that are replaced."""

import ast
import hashlib
import hmac
import io
import os
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from calendly_people import calendly_coach
from harness import CLIENT_ID, CLIENT_SECRET, CONNECT, DISCONNECT, LEGACY_SECRET, REFRESH, SYNC, ZOOM_ACCOUNT, Caller, World, at
from processes import Process, Task, all_at_once

import settings
from models import (
    AuditChain,
    AuditEntry,
    Delivery,
    InstallationToken,
    LinkedAccount,
    Notification,
    PendingRevocation,
    TokenRotation,
    WebhookEvent,
    WebhookSubscription,
)
from models.base import db
from models.sealed import SEALED, SealingKey
from services import installation_tokens, key_rotation
from services.errors import InvalidClient, OutcomeUnknown
from services.providers.calcom.client import CalcomDialect
from services.providers.oauth2 import ClientSecrets
from services.providers.registry import PROVIDERS
from services.vault import Vault, new_key, place

ROOT = Path(__file__).parent.parent
NEW = new_key("new")
ACCOUNT_APP = "convene-account"
REASON = "A dentist, and nobody's business"


def environment(world: World, *keys: str) -> dict[str, str]:
    """As an operator would set it, for another process on the world's database."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CONVENE_", "PYTEST_"))}
    return clean | {
        "CONVENE_DATABASE_URL": world.database_url,
        "CONVENE_PUBLIC_URL": world.url,
        "CONVENE_SEALING_KEYS": ",".join(keys),
        "CONVENE_IDENTITY_ISSUER": world.issuer.url,
        "CONVENE_IDENTITY_AUDIENCE": "convene-tests",
        "CONVENE_CALCOM_CLIENT_ID": CLIENT_ID,
        "CONVENE_CALCOM_CLIENT_SECRET": CLIENT_SECRET,
        "CONVENE_LOG_LEVEL": "ERROR",
    }


def script(_task: Task, given: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run scripts/rotate-keys as if it were this process's own; exit code, output and errors."""
    os.environ.clear()
    os.environ.update(given)
    sys.argv[1:] = arguments
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / "rotate-keys"), run_name="__main__")
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def run(world: World, *arguments: str, keys: tuple[str, ...]) -> tuple[int, str, str]:
    """The script in a process of its own."""
    db.close()
    with Process(world, script) as process:
        found: tuple[int, str, str] = process.go(environment(world, *keys), *arguments).result()
        return found


def old(world: World) -> str:
    return world.rt.settings.sealing_keys[0]


def use(world: World, *keys: str) -> None:
    """The server runs with these keys from now on."""
    world.rt.vault = Vault(keys)


def opened(*keys: str) -> dict[tuple[str, str], str]:
    """Everything that is sealed, by column and row, opened with these keys alone."""
    vault, found = Vault(keys), {}
    for column in SEALED:
        table, model = column.model._meta.table_name, column.model
        for row_id, envelope in model.select(model.id, column).where(column.is_null(False)).tuples():
            found[key_rotation.name(column), row_id] = vault.open(envelope, place(table, row_id, column.column_name))
    db.close()
    return found


def sealed_with() -> Counter[str]:
    found = sum((key_rotation.count(column) for column in SEALED), Counter[str]())
    db.close()
    return found


@pytest.fixture
def clara(world: World) -> Caller:
    """Somebody with something in every sealed column: most by what people do, the rest of them put there."""
    clara = world.coach()
    clara.begin()
    world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    assert clara.move(booking["id"], at(3, 13), reason=REASON)["__typename"] == "BookingRescheduled"
    world.jobs()
    InstallationToken.create(provider="zoom")
    PendingRevocation.create(provider="zoom", token="")
    Delivery.create(notification=Notification.get(), channel="EMAIL", address="x", message_id="<x>", due_at=world.clock.now(), state="SENT")
    if not AuditChain.select().exists():
        AuditChain.create(hash="", anchor_hash="", mac="", key="")
    for column in SEALED:
        model = column.model
        if not model.select().where(column.is_null(False) & (column != "")).exists():
            row_id = model.select(model.id).scalar()
            value = world.rt.vault.seal("[]", place(model._meta.table_name, row_id, column.column_name))
            model.update({column: value}).where(model.id == row_id).execute()
    assert {column for column, _ in opened(old(world))} == {key_rotation.name(column) for column in SEALED}
    return clara


# ---- sealing keys ----------------------------------------------------------------------------------------------------------


def test_every_column_that_is_sealed_is_on_the_list() -> None:
    """Who seals names table and column in the source; what is not on the list would be lost with its key."""
    found = set()
    for path in (ROOT / "services").rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            called = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if called in {"place", "seal", "unseal"} and len(texts) == 2:
                found.add(tuple(texts))
            if called == "_place" and path.stem == "tokens" and texts:
                found.add(("linked_account", *texts))
            if called == "place" and path.stem == "webhook_secrets" and texts:
                found.add(("webhook_subscription", *texts))
    assert found == {(column.model._meta.table_name, column.column_name) for column in SEALED}


def test_everything_is_sealed_anew_while_it_is_used_and_the_old_key_can_go(world: World, clara: Caller) -> None:
    keys = (NEW, old(world))
    number = sealed_with()["test"]
    assert run(world, "--check", keys=keys)[1].splitlines()[-1].split(maxsplit=1) == ["together", f"test: {number}"]

    use(world, old(world), NEW)  # every server can open what the new key seals, before any seals with it
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"
    assert set(sealed_with()) == {"test"}
    use(world, *keys)
    before, account = opened(*keys), LinkedAccount.get()
    code, out, err = run(world, keys=keys)
    assert (code, err) == (0, "")
    assert "linked_account.refresh_token            1 done, 0 left\n" in out
    assert "Every value is sealed with 'new' and opens. Other keys may go after " in out
    assert opened(NEW).items() >= before.items()
    recorded = AuditEntry.select(AuditEntry.action).where(AuditEntry.action.startswith("keys.")).order_by(AuditEntry.id)
    assert [row.action for row in recorded] == ["keys.rotation_started", "keys.rotated"]
    assert LinkedAccount.get().updated_at == account.updated_at == world.clock.now()
    assert REASON in opened(NEW).values()

    use(world, NEW)
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"
    world.book(clara, at(4, 9), name="Ida")
    world.jobs()
    assert {event.state for event in WebhookEvent.select()} == {"APPLIED"}
    assert REASON in [e["node"]["reason"] for b in clara.bookings() for e in b["history"]["edges"]]
    assert run(world, keys=(NEW,))[0] == 0


def test_it_goes_on_where_it_was_stopped_and_runs_twice_at_once(world: World) -> None:
    many = 3 * key_rotation.BATCH
    seal = world.rt.vault.seal
    ids = [f"{number:026}" for number in range(many)]
    PendingRevocation.insert_many(
        [{"id": i, "provider": "zoom", "token": seal(i, place("pending_revocation", i, "token"))} for i in ids]
    ).execute()

    class Killed(Exception):
        pass

    def die(_done: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        key_rotation.seal_anew(Vault((NEW, old(world))), PendingRevocation.token, die)
    assert sealed_with() == {"new": key_rotation.BATCH, "test": many - key_rotation.BATCH}
    with Process(world, script) as one, Process(world, script) as other:
        told = all_at_once([one, other], environment(world, NEW, old(world)))
    assert [(code, err) for code, _, err in told] == [(0, ""), (0, "")]
    assert set(opened(NEW).items()) >= {(("pending_revocation.token", i), i) for i in ids}


class Interrupted(Vault):
    """Does something between the reading of a value and its writing."""

    def __init__(self, *keys: str, meanwhile: Callable[[], object]) -> None:
        super().__init__(keys)
        self.meanwhile = meanwhile

    def open(self, envelope: str, where: bytes) -> str:
        found = super().open(envelope, where)
        self.meanwhile()
        return found


def test_a_token_that_is_renewed_in_between_is_not_overwritten(world: World) -> None:
    clara = world.coach()
    use(world, NEW, old(world))
    refreshed: list[str] = []

    def refresh() -> None:
        if not refreshed:
            refreshed.append(clara.one(REFRESH, force=True)["__typename"])

    for column in (LinkedAccount.refresh_token, LinkedAccount.access_token):
        key_rotation.seal_anew(Interrupted(NEW, old(world), meanwhile=refresh), column, lambda _done: None)
    assert refreshed == ["ConnectionRefreshed"]
    use(world, NEW)
    assert clara.one(SYNC)["__typename"] == "BookingsSynced"
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"
    assert LinkedAccount.get().token_version == 3


def test_what_cannot_be_opened_is_named_and_the_rest_is_done_all_the_same(world: World, clara: Caller) -> None:
    """One value whose key is lost, one that was copied from elsewhere."""
    lost = Vault((new_key("lost"),))
    account, hook = LinkedAccount.get(), WebhookSubscription.get()
    LinkedAccount.update(access_token=lost.seal("s3cret", place("linked_account", account.id, "access_token"))).execute()
    WebhookSubscription.update(secret=account.refresh_token).execute()
    code, out, err = run(world, keys=(NEW, old(world)))
    assert code == 1
    assert err.splitlines() == [
        f"linked_account.access_token of {account.id} cannot be opened: sealed with a key that is not configured",
        f"webhook_subscription.secret of {hook.id} cannot be opened: the envelope was altered or belongs elsewhere",
        "2 values cannot be opened. Everything else is done.",
    ]
    assert "may go" not in out
    numbers = sealed_with()
    assert (numbers["lost"], numbers["test"]) == (1, 1)
    code, out, err = run(world, "--check", keys=(NEW, old(world)))
    assert (code, out.splitlines()[-1].split(maxsplit=1)) == (1, ["together", f"lost: 1, new: {numbers['new']}, test: 1"])
    assert err == "Not configured: 'lost'. Such values cannot be opened.\n"


def starts(_task: Task, given: dict[str, str]) -> str | None:
    """What keeps a server with this environment from starting."""
    return key_rotation.refusal(settings.load(given)[0])


def refusal(world: World, *keys: str) -> str | None:
    db.close()
    with Process(world, starts) as process:
        found: str | None = process.go(environment(world, *keys)).result()
        return found


def test_a_server_does_not_start_without_a_key_that_is_needed(world: World, clara: Caller) -> None:
    numbers = {key_rotation.name(column): key_rotation.count(column)["test"] for column in SEALED}
    lines = [f"  {n} value{'s' if n > 1 else ''} in {c} need{'s' if n == 1 else ''} the sealing key 'test'." for c, n in numbers.items()]
    for _ in range(2):  # none was noted, and then this one
        told = refusal(world, NEW)
        assert told is not None
        assert told.splitlines()[:-1] == ["Convene cannot start:", *lines]
    assert [row.key_id for row in SealingKey.select()] == ["test"]
    assert refusal(world, NEW, old(world)) is None

    assert run(world, keys=(NEW, old(world)))[0] == 0
    assert {row.key_id for row in SealingKey.select()} == {"test", "new"}
    assert refusal(world, NEW) is None
    assert [row.key_id for row in SealingKey.select()] == ["new"], "nothing needs it any more, so that nobody has to look again"
    assert "the sealing key 'new'." in str(refusal(world, old(world)))


def test_gunicorn_ends_before_it_makes_a_worker(world: World) -> None:
    key_rotation.note(world.rt.vault)
    world.coach()
    db.close()
    command = [sys.executable, "-W", "ignore", "-m", "gunicorn", "--bind", "127.0.0.1:0", "app:create_app()"]
    ended = subprocess.run(command, cwd=ROOT, env=environment(world, NEW), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Convene cannot start:\n  1 value in linked_account.access_token needs the sealing key 'test'.\n" in ended.stderr
    assert "Booting worker" not in ended.stderr


def test_starting_goes_on_when_the_database_is_away_or_not_migrated(world: World, fresh_database: str) -> None:
    for url in (fresh_database, "postgresql://127.0.0.1:1/nothing"):
        world.database_url = url
        assert refusal(world, NEW) is None


def test_ready_says_when_another_server_seals_with_a_key_that_is_not_known_here(world: World) -> None:
    assert world.http.get("/ready").json()["sealingKeys"] is True
    key_rotation.note(Vault((NEW,)))
    answer = world.http.get("/ready")
    assert (answer.status_code, answer.json()["sealingKeys"]) == (503, False)
    use(world, old(world), NEW)
    assert world.http.get("/ready").json()["sealingKeys"] is True


# ---- secrets of webhooks ---------------------------------------------------------------------------------------------------


def deliver(world: World, path: str, secret: str, body: bytes) -> int:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return world.http.post(path, content=body, headers={"X-Cal-Signature-256": signature}).status_code


def test_a_subscription_gets_a_new_secret_and_the_old_one_is_accepted_for_a_while(world: World) -> None:
    clara = world.coach()
    (hook,) = world.sandbox.world.calcom.webhooks.values()
    path, first = hook.url.removeprefix(world.url), hook.secret
    assert first
    code, out, err = run(world, "--webhooks", keys=(old(world),))
    assert (code, out, err) == (0, "1 subscriptions get a new secret from the job `webhooks` of a running server.\n", "")
    # nobody has told Cal.com yet, however long that takes
    world.move_clock(hours=30)
    assert deliver(world, path, first, b"{}") == 200
    lost = world.sandbox.fault({"kind": "drop", "when": "after"}, method="PATCH", path="/calcom/v2/webhooks/*")
    world.jobs()
    second = hook.secret
    assert second not in {None, first}
    assert lost.describe()["hits"] == 1
    assert WebhookSubscription.get().secret_told_at is None, "whether it arrived is not known"
    assert deliver(world, path, first, b'{"n": 1}') == deliver(world, path, second, b'{"n": 2}') == 200
    world.move_clock(minutes=2)
    world.jobs()
    assert [h.secret for h in world.sandbox.world.calcom.webhooks.values()] == [second]
    assert run(world, "--webhooks", keys=(old(world),))[1].splitlines() == [
        "0 subscriptions get a new secret from the job `webhooks` of a running server.",
        "1 got one a short while ago and keep it: their last one is still accepted.",
    ]
    world.book(clara, at(4, 9))
    world.jobs()
    assert len(clara.bookings()) == 1, "signed with the new one"

    world.move_clock(hours=24)
    assert deliver(world, path, first, b'{"n": 3}') == 200
    world.move_clock(hours=1)
    before = WebhookEvent.select().count()
    assert deliver(world, path, first, b'{"n": 4}') == 401
    assert WebhookEvent.select().count() == before
    assert deliver(world, path, second, b'{"n": 5}') == 200
    world.jobs()
    row = WebhookSubscription.get()
    assert (row.state, row.previous_secret, row.secret_told_at) == ("active", None, None)


def test_the_secret_of_existing_webhooks_may_be_several(world: World) -> None:
    path = "/webhooks/cal/booking.created"
    world.rt.legacy_webhook_secret = f"newer,{LEGACY_SECRET}"
    assert [deliver(world, path, secret, f'["{secret}"]'.encode()) for secret in ("newer", LEGACY_SECRET, "other")] == [200, 200, 401]


# ---- secrets of clients ----------------------------------------------------------------------------------------------------


def configure(world: World, slug: str, **secrets: str) -> None:
    """Deploy the provider's settings with other secrets."""
    config = world.providers[slug].model_copy(update=secrets)
    kind: Any = PROVIDERS[slug]
    world.rt.providers[slug] = kind(config, world.rt.transport, world.clock.now)


def answers(world: World, path: str) -> list[int]:
    """The statuses that the token endpoint answered since the last look."""
    found = [r.status for r in world.sandbox.requests if r.method == "POST" and r.path.endswith(path)]
    world.sandbox_call("requests", method="DELETE")
    return found


def with_zoom(world: World) -> Caller:
    clara = world.caller("Clara")
    world.sandbox_call("zoom/users", email=clara.email, name=clara.name)
    return clara.link(provider="ZOOM")


@pytest.mark.parametrize("slug", ["calcom", "calendly", "zoom"])
def test_a_client_secret_is_replaced_without_a_gap(world: World, slug: str) -> None:
    linked = {"calcom": world.coach, "calendly": lambda: calendly_coach(world), "zoom": lambda: with_zoom(world)}[slug]()
    apps: Any = getattr(world.sandbox.world, slug)
    app = (apps.clients if slug == "calcom" else apps.apps)[CLIENT_ID]
    refused = 400 if slug == "zoom" else 401

    provider = {"calcom": "CAL_COM"}.get(slug, slug.upper())

    def refresh() -> str:
        found: dict[str, Any] = linked.one(REFRESH, force=True, provider=provider)
        return str(found.get("code") or found["__typename"])

    configure(world, slug, client_secret=f"newer, {CLIENT_SECRET}")
    answers(world, "/token")
    assert (refresh(), answers(world, "/token")) == ("ConnectionRefreshed", [refused, 200])
    assert (refresh(), answers(world, "/token")) == ("ConnectionRefreshed", [200])
    app.secret = "newer"
    assert (refresh(), answers(world, "/token")) == ("ConnectionRefreshed", [refused, 200])
    assert (refresh(), answers(world, "/token")) == ("ConnectionRefreshed", [200])
    assert LinkedAccount.get().token_version == 5, "one exchange per version"

    app.secret = "another"
    assert (refresh(), answers(world, "/token")) == ("CLIENT_MISCONFIGURED", [refused, refused])
    waiting = TokenRotation.get(TokenRotation.state == "open")
    assert (waiting.attempt, waiting.owner, waiting.last_error) == (0, "", "CLIENT_MISCONFIGURED")
    app.secret = CLIENT_SECRET
    world.move_clock(minutes=5)
    assert refresh() == "ConnectionRefreshed"
    assert LinkedAccount.get().token_version == 6
    configure(world, slug, client_secret=f"newer,{CLIENT_SECRET}")
    assert linked.one(DISCONNECT, provider=provider)["revokedUpstream"] is (slug != "calcom")


def test_the_secret_of_a_whole_accounts_app_is_replaced_without_a_gap(world: World) -> None:
    world.sandbox_call("zoom/apps", clientId=ACCOUNT_APP, clientSecret=CLIENT_SECRET, accountId=ZOOM_ACCOUNT)
    configure(world, "zoom", account_client_secret=f"newer,{CLIENT_SECRET}")
    first = installation_tokens.current(world.rt, "zoom")
    assert answers(world, "/token") == [400, 200]
    world.sandbox.world.zoom.apps[ACCOUNT_APP].secret = "newer"
    assert installation_tokens.another(world.rt, "zoom", first.version).version == first.version + 1
    assert answers(world, "/token") == [400, 200]
    db.close()


def test_the_secret_of_a_platform_client_is_replaced_without_a_gap(world: World) -> None:
    world.sandbox_call("calcom/platform-clients", clientId="platform", clientSecret="older")
    configure(world, "calcom", platform_client_id="platform", platform_client_secret="newer,older")
    clara = world.caller("Clara", time_zone="Europe/Berlin")
    assert clara.one(CONNECT, input={"provider": "CAL_COM", "kind": "MANAGED_USER"})["__typename"] == "ProviderLinked"
    answers(world, "/refresh")
    world.sandbox.world.calcom.platform_clients["platform"].secret = "newer"
    version = LinkedAccount.get().token_version
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"
    assert answers(world, "/refresh") == [401, 200]
    assert LinkedAccount.get().token_version == version + 1


def test_all_tries_together_have_the_time_of_one(world: World) -> None:
    """The lease was long enough for one exchange when it was looked at."""
    world.sandbox.fault(
        {"kind": "latency", "seconds": 0.3, "when": "before"}, method="POST", path="/calcom/v2/auth/oauth2/token", times=None
    )

    def ask(secret: str) -> Any:
        url = f"{world.sandbox.url}/calcom/v2/auth/oauth2/token"
        return world.rt.transport.token_request(
            CalcomDialect(), "refresh", url, client_id=CLIENT_ID, client_secret=secret, refresh_token="none"
        )

    with pytest.raises(OutcomeUnknown):
        ClientSecrets("wrong,wrong as well").send(ask, limit=timedelta(seconds=0.4))
    with pytest.raises(InvalidClient):
        ClientSecrets("wrong,wrong as well").send(ask, limit=timedelta(seconds=5))
