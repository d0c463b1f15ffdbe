"""The audit trail: what is written down, how it is chained, what shows when it was tampered with, and who may read it."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from harness import CLIENT_ID, CLIENT_SECRET, DISCONNECT, REFRESH, Caller, Issuer, World, at, clean

from models import AuditChain, AuditEntry, User, WebhookEvent
from models.base import db, new_id, to_ms
from sandbox.app import Sandbox
from services import audit, audit_chain, audit_check, claims, jobs, origins
from services.vault import Vault, new_key, place

ROOT = Path(__file__).parent.parent
FIELDS = """id seq at action subjectType subjectId ownerId actorKind actorId actorName actorEmail face origin address userAgent requestId
  reason changes { field before after } erased hash"""
LIST = f"""query($first: Int, $after: String, $filter: AuditFilter) {{ auditEntries(first: $first, after: $after, filter: $filter) {{
  edges {{ node {{ {FIELDS} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"""
POLICY = """mutation($input: UpdatePolicyInput!) { updatePolicy(input: $input) { __typename } }"""
REPLAY = """mutation($input: ReplayWebhookEventsInput!) { replayWebhookEvents(input: $input) { __typename
  ... on WebhookEventsReplayed { replayed } } }"""
SCHEDULES = "query { schedules { id name } }"
SCHEDULE = "mutation($input: UpdateScheduleInput!) { updateSchedule(input: $input) { __typename } }"
KINDS = "query { eventTypes { edges { node { id } } } }"
KIND = "mutation($input: UpdateEventTypeInput!) { updateEventType(input: $input) { __typename ... on Problem { message } } }"
NEW_KIND = "mutation($input: CreateEventTypeInput!) { createEventType(input: $input) { __typename ... on Problem { message } } }"


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def admin(world: World) -> Caller:
    return world.caller("Ada", admin=True)


def listed(admin: Caller, first: int = 100, **wanted: Any) -> list[dict[str, Any]]:
    return [edge["node"] for edge in admin.one(LIST, first=first, filter=wanted)["edges"]]


def changes(entry: dict[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    return {change["field"]: (change["before"], change["after"]) for change in entry["changes"]}


def who(caller: Caller) -> str:
    return str(caller.one("{ viewer { id } }")["id"])


def chain(world: World) -> None:
    """As the scheduler would."""
    claims.schedule("chain_audit", "", world.clock.now())
    assert jobs.JOBS["chain_audit"](world.rt) == 1
    db.close()


def fill(world: World, count: int) -> None:
    for number in range(count):
        audit.record(world.rt, "policy.updated", ("Policy", f"p{number}"), after={"most_moves": number}, reason=f"reason {number}")
    chain(world)


# ---- what is written down ---------------------------------------------------------------------------------------------------


def test_a_link_and_a_move_are_written_down_once_each_with_who_and_from_where(world: World, clara: Caller, admin: Caller) -> None:
    uid = world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    (booking,) = clara.bookings()
    moved = clara.post(
        "mutation($input: RescheduleBookingInput!) { rescheduleBooking(input: $input) { __typename } }",
        {"input": {"bookingId": booking["id"], "newStart": "2027-03-03T13:00:00Z", "idempotencyKey": "k", "reason": "A dentist"}},
        **{"X-Request-Id": "move-1", "User-Agent": "tests/1 " + "x" * 500},
    )
    assert moved.json()["data"]["rescheduleBooking"]["__typename"] == "BookingRescheduled"
    world.jobs()  # our own webhook arrives, and the list is read
    world.move_clock(hours=2)
    world.jobs()
    clara.cancel(booking["id"])
    world.jobs()
    clara.one(DISCONNECT)
    found = listed(admin)[::-1]
    told = [(e["action"], e["actorKind"], e["actorName"], e["face"], e["origin"]) for e in found]
    assert told == [
        ("linked_account.connected", "USER", "Clara", "GRAPHQL", None),
        ("booking.created", "PROVIDER", None, "JOB", "apply_webhooks"),
        ("booking.moved", "USER", "Clara", "GRAPHQL", None),
        ("booking.cancelled", "USER", "Clara", "GRAPHQL", None),
        ("linked_account.disconnected", "USER", "Clara", "GRAPHQL", None),
    ]
    link, created, move, _, unlink = found
    assert (link["subjectType"], link["ownerId"], link["actorId"]) == ("LinkedAccount", who(clara), who(clara))
    assert (changes(link)["email"], changes(unlink)["email"]) == ((None, clara.email), (clara.email, None))
    assert (created["subjectType"], created["subjectId"], created["ownerId"]) == ("Booking", booking["id"], None)
    assert (move["requestId"], move["address"], move["userAgent"]) == ("move-1", "127.0.0.1", "tests/1 " + "x" * 152)
    assert (move["actorEmail"], move["actorId"], move["at"]) == (clara.email, who(clara), "2027-03-01T08:00:00Z")
    assert changes(move)["start"] == ("2027-03-02T09:00:00Z", "2027-03-03T13:00:00Z")
    assert changes(move)["source"] == (None, "CONVENE")
    # nothing that opens anything, and nothing that people wrote into the booking
    everything = json.dumps([audit.personal_of(world.rt, entry) for entry in AuditEntry.select()])
    assert "Otto" not in everything
    assert "dentist" not in everything
    assert uid not in everything
    assert not [b.uid for b in world.sandbox.world.calcom.bookings.values() if b.uid in everything]


def test_whoever_moved_it_is_named_though_a_job_comes_to_record_it(world: World, clara: Caller, admin: Caller) -> None:
    """Cal.com tells us of our own move before it answers, and here it does not answer at all."""
    world.book(clara, at(2, 9))
    world.jobs()
    (booking,) = clara.bookings()
    world.sandbox.fault({"kind": "drop", "when": "after"}, method="POST", path="/calcom/v2/bookings/*/reschedule")
    away = world.sandbox.fault({"kind": "status", "status": 503}, method="GET", path="/calcom/v2/bookings*", times=None)
    assert clara.move(booking["id"], at(3, 13))["__typename"] == "RescheduleInProgress"
    away.remove()
    world.rt.transport._breakers.clear()
    world.move_clock(minutes=5)
    world.jobs()
    assert clara.bookings()[0]["start"] == "2027-03-03T13:00:00Z"
    (move,) = listed(admin, actions=["booking.moved"])
    assert (move["actorKind"], move["actorName"], move["face"], move["address"]) == ("USER", "Clara", "GRAPHQL", "127.0.0.1")


def test_links_that_break_recover_renew_and_switch(world: World, clara: Caller, admin: Caller) -> None:
    world.sandbox_call("calcom/tokens/revoke", email=clara.email)
    assert clara.one(REFRESH, force=True)["__typename"] == "ConnectionUnusable"
    clara.link()  # the same account again: it is well, and that is one thing
    clara.link()
    other = world.caller("Otherclara")
    world.account(other)
    clara.link(user=other.email, switchAccount=True)
    found = listed(admin, subjectType="LinkedAccount")[::-1]
    assert [(e["action"], e["actorKind"]) for e in found] == [
        ("linked_account.connected", "USER"),
        ("linked_account.broken", "PROVIDER"),
        ("linked_account.reconnected", "USER"),
        ("linked_account.reconnected", "USER"),
        ("linked_account.switched", "USER"),
    ]
    assert changes(found[1])["problem_code"] == (None, "REVOKED")
    assert changes(found[2])["problem_code"] == ("REVOKED", None)
    assert changes(found[4])["email"] == (clara.email, other.email)


def test_rules_hours_event_types_and_what_admins_do(world: World, clara: Caller, admin: Caller) -> None:
    for wish in ({"maxMoves": 2}, {"maxMoves": 2}, {"maxMoves": 3}):
        assert clara.one(POLICY, input=wish)["__typename"] == "PolicyUpdated"
    schedule = clara.one(SCHEDULES)[0]
    assert clara.one(SCHEDULE, input={"scheduleId": schedule["id"], "name": "Summer"})["__typename"] == "ScheduleUpdated"
    kind = clara.one(KINDS)["edges"][0]["node"]["id"]
    assert clara.one(KIND, input={"eventTypeId": kind, "title": "Talk"})["__typename"] == "EventTypeUpdated"
    assert clara.one(NEW_KIND, input={"provider": "CAL_COM", "title": "New", "durationMinutes": 45})["__typename"] == "EventTypeCreated"
    world.book(clara, at(2, 9))
    world.jobs()
    event = WebhookEvent.get()
    WebhookEvent.update(state="DEAD").execute()
    db.close()
    assert admin.one(REPLAY, input={"ids": [event.id]}) == {"__typename": "WebhookEventsReplayed", "replayed": 1}
    resolve = "mutation($input: ResolveAttentionInput!) { resolveAttention(input: $input) { __typename } }"
    WebhookEvent.update(state="DEAD").execute()
    db.close()
    assert admin.one(resolve, input={"id": event.id, "action": "TRY_AGAIN"})["__typename"] == "AttentionResolved"
    assert clara.one(REPLAY, input={"allDead": True})["__typename"] == "NotPermitted"
    skipped = {"linked_account.connected", "booking.created"}
    found = [e for e in listed(admin)[::-1] if e["action"] not in skipped]
    assert [(e["action"], e["actorKind"], e["subjectType"]) for e in found] == [
        ("policy.updated", "USER", "Policy"),
        ("policy.updated", "USER", "Policy"),
        ("schedule.updated", "USER", "Schedule"),
        ("event_type.updated", "USER", "EventType"),
        ("event_type.created", "USER", "EventType"),
        ("webhook.replayed", "ADMIN", "WebhookEvent"),
        ("attention.resolved", "ADMIN", "WebhookEvent"),
    ]
    assert [changes(e) for e in found[:4]] == [
        {"most_moves": (None, "2")},
        {"most_moves": ("2", "3")},
        {"name": (schedule["name"], "Summer")},
        {"title": ("Session", "Talk")},
    ]
    assert [e["subjectId"] for e in found[5:]] == [event.id, event.id]
    assert changes(found[6]) == {"action": (None, "TRY_AGAIN")}


def test_an_entry_lives_and_dies_with_its_change(world: World, clara: Caller) -> None:
    before = AuditEntry.select().count()
    with db.atomic() as transaction:
        audit.record(world.rt, "policy.updated", ("Policy", None))
        transaction.rollback()
    assert AuditEntry.select().count() == before
    assert clara.one(POLICY, input={"maxMoves": 1000})["__typename"] == "InvalidInput"
    assert AuditEntry.select().count() == before


# ---- the chain ----------------------------------------------------------------------------------------------------------------


def test_who_becomes_visible_late_is_chained_late(world: World) -> None:
    early = audit.record(world.rt, "policy.updated", ("Policy", "early"))
    late = audit.record(world.rt, "policy.updated", ("Policy", "late"))
    assert early < late
    # a transaction that has not committed yet
    (hidden,) = AuditEntry.select().where(AuditEntry.id == early).dicts()
    AuditEntry.delete().where(AuditEntry.id == early).execute()
    chain(world)
    AuditEntry.insert(**hidden).execute()
    chain(world)
    chain(world)
    assert {row.id: row.seq for row in AuditEntry.select()} == {late: 1, early: 2}
    assert audit_check.check(world.rt).wrong is None
    db.close()


def test_any_number_of_processes_chain_without_a_gap_or_a_double(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "BATCH", 20)
    written, barrier, failed = 30, threading.Barrier(8), []

    def run(do: Callable[[], object]) -> None:
        barrier.wait()
        try:
            do()
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)
        finally:
            db.close()

    def write() -> None:
        for number in range(written):
            audit.record(world.rt, "policy.updated", ("Policy", str(number)))

    def chains() -> None:
        for _ in range(10):
            audit_chain.extend(world.rt)

    threads = [threading.Thread(target=run, args=[do]) for do in (write, chains) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    audit_chain.extend(world.rt)
    assert [row.seq for row in AuditEntry.select().order_by(AuditEntry.seq)] == list(range(1, 4 * written + 1))
    report = audit_check.check(world.rt)
    assert (report.wrong, report.entries, report.waiting) == (None, 4 * written, 0)
    assert (world.rt.metrics.audit_seq._value.get(), world.rt.metrics.audit_waiting._value.get()) == (4 * written, 0)
    assert world.logged.getvalue().count("audit head") == 1, "hourly"
    db.close()


def test_an_end_that_somebody_moved_is_not_continued(world: World) -> None:
    fill(world, 3)
    AuditChain.update(seq=2).execute()
    audit.record(world.rt, "policy.updated", ("Policy", "4"))
    with pytest.raises(audit_chain.ChainBrokenError, match="verify-audit"):
        audit_chain.extend(world.rt)
    assert AuditEntry.select().where(AuditEntry.seq.is_null()).count() == 1
    db.close()


@contextmanager
def tampered(*statements: str) -> Iterator[None]:
    """By somebody who has the database; taken back afterwards."""
    with db.atomic() as transaction:
        for statement in statements:
            db.execute_sql(statement)
        yield
        transaction.rollback()


def rebuilt() -> list[str]:
    """The whole chain after entry 5 was made another's, with hashes that fit, by somebody who lacks the key."""
    rows = list(AuditEntry.select().order_by(AuditEntry.seq))
    rows[4].actor_kind, last, found = "ADMIN", rows[3].hash, []
    for row in rows[4:]:
        here = audit_chain.hash_of(row, row.seq, last)
        found.append(
            f"UPDATE audit_entry SET actor_kind = '{row.actor_kind}', previous_hash = '{last}', hash = '{here}' WHERE seq = {row.seq}"
        )
        last = here
    return found


def test_what_was_tampered_with_shows_and_where(world: World) -> None:
    fill(world, 8)
    old = AuditChain.get()
    fill(world, 4)
    ids = {row.seq: row.id for row in AuditEntry.select()}
    place_of = "UPDATE audit_entry SET seq = {} WHERE seq = {}".format
    copy = (
        "INSERT INTO audit_entry SELECT '{id}', created_at, updated_at, at, actor_kind, actor_id, owner_id, action, subject_type, subject_id,"
        " request_id, face, personal, personal_digest, erased_by, {seq}, previous_hash, hash, mac FROM audit_entry WHERE seq = 6"
    ).format
    put_back = (
        f"UPDATE audit_chain SET seq = {old.seq}, hash = '{old.hash}', anchor_seq = 0, anchor_hash = '{old.anchor_hash}', mac = '{old.mac}'"
    )
    changed, cut = "its content or its place was changed", "DELETE FROM audit_entry WHERE seq > 8"
    forged = new_id()
    cases: list[tuple[tuple[str, ...], int | None, str | None, str]] = [
        (("UPDATE audit_entry SET action = 'x' WHERE seq = 5",), 5, ids[5], changed),
        ((f"UPDATE audit_entry SET at = {to_ms(at(9, 9))} WHERE seq = 7",), 7, ids[7], changed),
        (("UPDATE audit_entry SET personal = NULL WHERE seq = 3",), 3, ids[3], "what it told of people is gone, and no erasure took it"),
        (
            ("UPDATE audit_entry SET personal = (SELECT personal FROM audit_entry WHERE seq = 2) WHERE seq = 3",),
            3,
            ids[3],
            "cannot be opened",
        ),
        (("DELETE FROM audit_entry WHERE seq IN (4, 5)",), 4, None, "2 entries were removed, up to number 5"),
        (("DELETE FROM audit_entry WHERE seq = 1",), 1, None, "1 entries were removed, up to number 1"),
        ((place_of(99, 5), place_of(5, 6), place_of(6, 99)), 5, ids[6], changed),
        ((copy(id=forged, seq=13),), 13, forged, "it stands behind the end of the chain"),
        ((copy(id=forged, seq="NULL"),), None, forged, "was not written by this installation"),
        (tuple(rebuilt()), 5, ids[5], "it was not chained by this installation"),
        ((cut,), 9, None, "4 entries were removed, up to number 12"),
        ((cut, "UPDATE audit_chain SET seq = 8"), 8, None, "the row about the chain was altered"),
        (("DELETE FROM audit_chain",), None, None, "the row about the chain is missing"),
    ]
    for statements, seq, entry_id, why in cases:
        with tampered(*statements):
            wrong = audit_check.check(world.rt).wrong
            assert wrong is not None, statements
            assert ((wrong.seq, wrong.entry_id), why in wrong.why) == ((seq, entry_id), True), (statements, wrong)
    whole = audit_check.check(world.rt)
    assert (whole.wrong, whole.entries, whole.erased, whole.waiting, whole.removed) == (None, 12, 0, 0, 0)
    # somebody who kept an old copy of the chain's row cuts the end off: only an end that was kept elsewhere shows that
    with tampered(cut, put_back):
        assert audit_check.check(world.rt).wrong is None
        wrong = audit_check.check(world.rt, whole.head).wrong
        assert wrong is not None
        assert (wrong.seq, "its end was cut off" in wrong.why) == (9, True)
    assert audit_check.check(world.rt, whole.head).wrong is None
    assert audit_check.check(world.rt, (8, old.hash)).wrong is None
    wrong = audit_check.check(world.rt, (8, "0" * 64)).wrong
    assert wrong is not None
    assert (wrong.seq, "the chain was written anew" in wrong.why) == (8, True)
    # what was forged before it had a place never gets one, and keeps nobody else from theirs
    with db.atomic() as transaction:
        db.execute_sql(copy(id="0" * 26, seq="NULL"))
        audit.record(world.rt, "policy.updated", ("Policy", "13"))
        audit_chain.extend(world.rt)
        assert [row.id for row in audit_chain.waiting()] == ["0" * 26]
        assert AuditChain.get().seq == 13
        transaction.rollback()
    db.close()


def test_the_chain_goes_on_under_new_sealing_keys(world: World) -> None:
    fill(world, 2)
    old, new = world.rt.settings.sealing_keys[0], new_key("second")
    audit.record(world.rt, "policy.updated", ("Policy", "by the old key"))
    world.rt.vault = Vault((new, old))
    audit.record(world.rt, "policy.updated", ("Policy", "by the new key"))
    chain(world)
    assert audit_check.check(world.rt).entries == 4
    before = AuditChain.get().key
    where = place("audit_chain", audit_chain.ROW, "key")
    AuditChain.update(key=world.rt.vault.seal(world.rt.vault.open(before, where), where)).execute()
    for row in AuditEntry.select():
        where = place("audit_entry", row.id, "personal")
        AuditEntry.update(personal=world.rt.vault.seal(world.rt.vault.open(row.personal, where), where)).where(
            AuditEntry.id == row.id
        ).execute()
    world.rt.vault = Vault((new,))
    report = audit_check.check(world.rt)
    assert (report.wrong, report.entries) == (None, 4)
    db.close()


def verify(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "CONVENE_DATABASE_URL": world.database_url,
        "CONVENE_PUBLIC_URL": world.url,
        "CONVENE_SEALING_KEYS": ",".join(world.rt.settings.sealing_keys),
        "CONVENE_IDENTITY_ISSUER": world.issuer.url,
        "CONVENE_IDENTITY_AUDIENCE": Issuer.audience,
        "CONVENE_CALCOM_CLIENT_ID": CLIENT_ID,
        "CONVENE_CALCOM_CLIENT_SECRET": CLIENT_SECRET,
    }
    command = [sys.executable, str(ROOT / "scripts" / "verify-audit"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_script_says_so(world: World) -> None:
    fill(world, 3)
    chain_ = AuditChain.get()
    db.close()
    good = verify(world, "--head", f"3:{chain_.hash}")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.splitlines() == [
        "entries 3, erased 0, waiting 0, removed by retention 0",
        f"checked up to 3:{chain_.hash}",
        "The audit trail is whole.",
    ]
    second = AuditEntry.get(AuditEntry.seq == 2)
    AuditEntry.update(subject_id="p7").where(AuditEntry.seq == 2).execute()
    db.close()
    bad = verify(world)
    assert bad.returncode == 1
    assert bad.stdout.splitlines()[-1] == f"WRONG: number 2, entry {second.id}: its content or its place was changed."


# ---- reading --------------------------------------------------------------------------------------------------------------------


def test_admins_read_filter_and_page_in_a_constant_number_of_statements(world: World, clara: Caller, admin: Caller) -> None:
    (refused,) = clara.errors("{ auditEntries { edges { node { id } } } }")
    assert (refused["extensions"]["code"], refused["path"]) == ("FORBIDDEN", ["auditEntries"])
    clara.one(POLICY, input={"maxMoves": 2})
    world.move_clock(hours=1)
    clara.one(POLICY, input={"maxMoves": 3})
    everything = [e["id"] for e in listed(admin)]
    assert everything == sorted(everything, reverse=True)
    assert len(everything) == 3
    (policy,) = {e["subjectId"] for e in listed(admin, actions=["policy.updated"])}
    assert [len(listed(admin, **wanted)) for wanted in ({"actorId": who(clara)}, {"actorId": who(admin)}, {"ownerId": who(clara)})] == [
        3,
        0,
        3,
    ]
    assert [len(listed(admin, **wanted)) for wanted in ({"subjectId": policy}, {"subjectType": "LinkedAccount"})] == [2, 1]
    assert len(listed(admin, since="2027-03-01T09:00:00Z")) == 1
    assert len(listed(admin, until="2027-03-01T09:00:00Z", actions=["policy.updated"])) == 1
    pages, after = [], None
    for _ in range(3):
        found = admin.one(LIST, first=1, after=after)
        pages += [edge["node"]["id"] for edge in found["edges"]]
        after = found["pageInfo"]["endCursor"]
    assert (pages, found["pageInfo"]["hasNextPage"]) == (everything, False)
    (bad,) = admin.errors(LIST, filter={"actions": ["x"] * 21})
    assert bad["extensions"]["code"] == "BAD_USER_INPUT"

    def statements(count: int) -> int:
        seen: list[Any] = []
        db.obj.query_hooks.append(seen.append)
        try:
            assert len(listed(admin)) == count
        finally:
            db.obj.query_hooks.remove(seen.append)
        return len(seen)

    few = statements(3)
    fill(world, 50)
    assert statements(53) == few
    first = listed(admin)[0]
    assert (first["seq"], first["hash"]) == (53, AuditChain.get().hash)
    db.close()


def test_the_export_is_whole_resumable_and_checked_without_us(world: World, clara: Caller, admin: Caller, tmp_path: Path) -> None:
    fill(world, 5)

    def export(person: Caller, **asked: Any) -> httpx.Response:
        return world.http.get("/audit/export", params=asked, headers={"Authorization": f"Bearer {person.token}"})

    refused = export(clara)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    assert world.http.get("/audit/export").status_code == 401
    assert [export(admin, **bad).status_code for bad in ({"after": "-1"}, {"since": "2027-03-01"}, {"until": "x"})] == [400, 400, 400]
    assert AuditEntry.select().where(AuditEntry.action == "admin.exported").count() == 0
    answer = export(admin)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    lines = answer.content.splitlines()
    told = [orjson.loads(line) for line in lines]
    assert [line["seq"] for line in told] == list(range(1, 8))
    assert answer.headers["X-Audit-Head"] == f"7:{told[-1]['hash']}"
    assert (told[-1]["action"], told[-1]["actor_kind"], told[-1]["actor_id"]) == ("admin.exported", "ADMIN", who(admin))
    assert told[-1]["personal"]["actor"] == {"name": "Ada", "email": admin.email}
    assert [line["personal"]["reason"] for line in told if line["subject_id"] == "p2"] == ["reason 2"]
    assert [orjson.loads(line)["seq"] for line in export(admin, after=5).content.splitlines()] == [6, 7, 8]
    world.move_clock(hours=1)
    assert [orjson.loads(line)["seq"] for line in export(admin, since="2027-03-01T08:30:00Z").content.splitlines()] == [9]
    file = tmp_path / "export.jsonl"
    file.write_bytes(answer.content)
    good = verify(world, "--file", str(file))
    assert (good.returncode, good.stdout.splitlines()[1]) == (0, f"checked up to {answer.headers['X-Audit-Head']}")
    for bad, seq in (
        (lines[:3] + lines[4:], 5),
        ([line.replace(b"reason 2", b"reason 9") for line in lines], next(line["seq"] for line in told if line["subject_id"] == "p2")),
        (
            [line.replace(b'"subject_id":"p3"', b'"subject_id":"p9"') for line in lines],
            next(n["seq"] for n in told if n["subject_id"] == "p3"),
        ),
    ):
        wrong = audit_check.check_lines(bad).wrong
        assert wrong is not None
        assert wrong.seq == seq
    db.close()


# ---- retention --------------------------------------------------------------------------------------------------------------------


def test_what_is_older_than_the_setting_goes_and_the_rest_stays_one_piece(
    database_url: str, issuer: Issuer, shared_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_chain, "TRIMMED_AT_ONCE", 2)
    shared_sandbox.reset()
    with World(database_url, issuer, shared_sandbox, audit_days=30) as world:
        clean()
        fill(world, 3)
        old = AuditChain.get()
        world.move_clock(days=20)
        fill(world, 2)
        world.move_clock(days=11)
        with origins.within(origins.job("clean_up")):
            assert audit_chain.trim(world.rt) == 3
            assert audit_chain.trim(world.rt) == 0
        chain(world)
        report = audit_check.check(world.rt, (3, old.hash))
        assert (report.wrong, report.removed, report.entries) == (None, 3, 4)
        assert [(row.seq, row.action, row.actor_kind) for row in AuditEntry.select().where(AuditEntry.action == "audit.trimmed")] == [
            (6, "audit.trimmed", "JOB"),
            (7, "audit.trimmed", "JOB"),
        ]
        # a beginning that somebody else removed is none that retention removed
        with tampered("DELETE FROM audit_entry WHERE seq = 4", "UPDATE audit_chain SET anchor_seq = 4"):
            assert audit_check.check(world.rt).wrong is not None
        db.close()


def test_nothing_is_removed_unless_it_is_asked_for(world: World) -> None:
    fill(world, 2)
    world.move_clock(days=4000)
    assert audit_chain.trim(world.rt) == 0
    assert (AuditEntry.select().count(), User.select().count()) == (2, 0)
    db.close()
