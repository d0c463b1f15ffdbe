"""Bad input everywhere a person can type: a typed problem or a coded error with a sentence, and nothing half-done."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from harness import AVAILABILITY, CANCEL, CONNECT, EVENT_TYPES, MOVE, ONE_BOOKING, OPERATION, Caller, World, at, iso
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import Booking, BookingChange, Notification, OAuthState, Operation
from models.base import new_id

HUGE = "9" * 400
LONG = "x" * 10_000
IDS = ["", " ", "x", LONG, "' OR '1'='1", '"; DROP TABLE booking; --', "🦊", "../../etc/passwd", "null", "0", "-1", "ä" * 300]
BAD_TIMES = [
    "",
    " ",
    "yesterday",
    "2027-03-02",
    "2027-03-02T09:00:00",
    "2027-03-02 09:00",
    "2027-13-02T09:00:00Z",
    "2027-02-30T09:00:00Z",
    "2027-03-02T25:00:00Z",
    "2027-03-02T09:00:00+25:00",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "10000-01-01T00:00:00Z",
    "2027-03-02T09:00:00Zulu",
    "2027-03-02T09:00:00 Europe/Berlin",
    "🦊",
    LONG,
    "1772442000",
    1772442000,
    17.5,
    True,
    [],
    {},
    "2027-03-02T09:00:00\x00Z",
]
ODD_TIMES = [
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T09:59:59-14:00",
    "2027-03-02T09:00:00.123456789Z",
    "20270302T090000Z",
    "20270302T0900+0100",
]
BAD_ZONES = [
    "",
    "Mars/Olympus",
    "europe/berlin",
    "../../etc/passwd",
    "/etc/localtime",
    "UTC\x00",
    "+01:00",
    LONG,
    7,
    True,
    [],
    {},
    "CEST-1",
]
BAD_NUMBERS = [2**31, -(2**31) - 1, 1.5, "7", True, [], {}, 10**400]
MARK = """mutation($input: MarkNotificationsReadInput!) { markNotificationsRead(input: $input) { __typename
  ... on NotificationsMarkedRead { unreadCount } ... on Problem { code message } } }"""
BOOKINGS = """query($first: Int, $after: String, $filter: BookingFilter, $order: BookingOrder) {
  bookings(first: $first, after: $after, filter: $filter, order: $order) { edges { node { id } } } }"""
COMPLETE = """mutation($input: CompleteConnectionInput!) { completeConnection(input: $input) { __typename
  ... on Problem { code message } } }"""
PROVIDER_MUTATIONS = ("disconnectProvider", "refreshConnection", "createDefaultEventTypes", "syncBookings")
WINDOW = {"start": iso(at(2, 0)), "end": iso(at(3, 0))}


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def booking(world: World, clara: Caller) -> dict[str, Any]:
    world.book(clara, at(2, 9))
    world.jobs()
    (found,) = clara.bookings()
    return found


def raw(caller: Caller, query: str, variables: Any) -> Any:
    """The answer to variables that a client's JSON library may refuse to write."""
    content = json.dumps({"query": query, "variables": variables}, allow_nan=True).encode()
    headers = {"Authorization": f"Bearer {caller.token}", "Content-Type": "application/json"}
    return caller.world.http.post("/graphql", content=content, headers=headers)


def verdict(caller: Caller, query: str, variables: Any) -> str:
    """What came of it: the code of the error or problem, or the name of the type that was answered.

    Whatever it is: 200 or 400, never INTERNAL, a sentence in it, nothing of the inside.
    """
    answer = raw(caller, query, variables)
    shown = json.dumps(variables)[:200]
    assert answer.status_code in {200, 400}, (answer.status_code, shown, answer.text[:500])
    for inside in ("Traceback", "sqlite", "SELECT ", "peewee", "/services/", "INTERNAL"):
        assert inside not in answer.text, (shown, answer.text[:500])
    assert len(answer.content) < 20_000, "an answer does not repeat what was sent at length"
    body = answer.json()
    if errors := body.get("errors"):
        for error in errors:
            assert error["extensions"]["code"] in {"BAD_USER_INPUT", "FORBIDDEN", "TOO_COMPLEX"}, (shown, error)
            assert len(error["message"]) > 10, shown
        return str(errors[0]["extensions"]["code"])
    (value,) = body["data"].values()
    if isinstance(value, dict) and "code" in value:
        assert len(value["message"]) > 10
        return str(value["code"])
    return "null" if value is None else str(value.get("__typename", "answered"))


class Untouched:
    """Nothing was changed here or at the provider while it looks."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _state(self) -> Any:
        rows = [(b.id, b.version, b.start, b.status, b.external_id) for b in Booking.select()]
        counts = [m.select().count() for m in (Operation, BookingChange, OAuthState)]
        unread = Notification.select().where(Notification.read_at.is_null()).count()
        writes = sum(1 for r in self.world.sandbox.requests if r.method != "GET")
        return rows, counts, unread, writes, sorted(self.world.live_uids())

    def __enter__(self) -> None:
        self.before = self._state()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            assert self._state() == self.before


def moves(booking_id: Any, **more: Any) -> dict[str, Any]:
    return {"input": {"bookingId": booking_id, "newStart": iso(at(3, 9)), "idempotencyKey": new_id(), **more}}


def cancels(booking_id: Any, **more: Any) -> dict[str, Any]:
    return {"input": {"bookingId": booking_id, "idempotencyKey": new_id(), **more}}


def available(target: Any, **more: Any) -> dict[str, Any]:
    return {"input": {"target": target, "window": WINDOW, **more}}


# ---- times ------------------------------------------------------------------------------------------------------------------


def test_malformed_times_are_refused_wherever_a_time_is_taken(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    target = {"bookingId": booking["id"]}
    with Untouched(world):
        for bad in BAD_TIMES:
            for query, variables in (
                (MOVE, moves(booking["id"], newStart=bad)),
                (MOVE, moves(booking["id"], newEnd=bad)),
                (BOOKINGS, {"filter": {"startsAfter": bad}}),
                (BOOKINGS, {"filter": {"startsBefore": bad}}),
                (AVAILABILITY, available(target, window={**WINDOW, "start": bad})),
                (AVAILABILITY, available(target, window={**WINDOW, "end": bad})),
            ):
                assert verdict(clara, query, variables) == "BAD_USER_INPUT", (bad, variables)


def test_malformed_times_inside_a_document_are_refused_too(clara: Caller) -> None:
    for literal in ('"yesterday"', '"2027-03-02T09:00:00"', "7", "true", "[]", "{}", "NOW", '"0001-01-01T00:00:00+14:00"'):
        query = f"{{ bookings(filter: {{ startsAfter: {literal} }}) {{ edges {{ cursor }} }} }}"
        assert verdict(clara, query, None) == "BAD_USER_INPUT", literal


def test_a_time_without_an_offset_says_what_is_missing(clara: Caller) -> None:
    (error,) = clara.errors(BOOKINGS, filter={"startsAfter": "2027-03-02T09:00:00"})
    assert "has no offset" in error["message"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}


def test_far_away_times_are_answered(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    with Untouched(world):
        for odd in ODD_TIMES:
            assert verdict(clara, BOOKINGS, {"filter": {"startsAfter": odd}}) == "answered"
            assert verdict(clara, BOOKINGS, {"filter": {"startsBefore": odd}}) == "answered"
        for past in ("1970-01-01T00:00:00Z", iso(at(1, 7))):
            assert verdict(clara, MOVE, moves(booking["id"], newStart=past)) == "INVALID_INPUT"


def test_a_move_to_the_end_of_time_is_refused(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    before = world.live_uids()
    for end in ("2500-12-31T23:59:59Z", "2500-12-31T23:45:00Z", "2200-01-01T09:00:00Z"):
        assert verdict(clara, MOVE, moves(booking["id"], newStart=end)) in {"INVALID_INPUT", "SLOT_UNAVAILABLE"}, end
    assert world.live_uids() == before
    assert Booking.get().start == at(2, 9)
    assert [o.state for o in Operation.select() if o.open] == []


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2500-12-31T00:00:00Z", "2500-12-31T23:59:59Z"),
        ("2500-12-01T00:00:00Z", "2500-12-31T23:59:59Z"),
        ("1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"),
        ("1970-01-01T00:00:00Z", "2500-12-31T23:59:59Z"),
        ("2027-03-03T00:00:00Z", "2027-03-02T00:00:00Z"),
        ("2027-03-02T00:00:00Z", "2027-03-02T00:00:00Z"),
        ("2027-03-02T00:00:00Z", "2027-06-03T00:00:00Z"),
    ],
)
def test_windows_that_make_no_sense(world: World, clara: Caller, booking: dict[str, Any], start: str, end: str) -> None:
    kind = clara.one(EVENT_TYPES)["edges"][0]["node"]["id"]
    with Untouched(world):
        for target in ({"bookingId": booking["id"]}, {"eventTypeId": kind}):
            found = verdict(clara, AVAILABILITY, available(target, window={"start": start, "end": end}))
            assert found in {"INVALID_INPUT", "Availability", "PROVIDER_UNAVAILABLE"}
            if start >= end or (start, end) == ("1970-01-01T00:00:00Z", "2500-12-31T23:59:59Z"):
                assert found == "INVALID_INPUT"


# ---- zones, numbers, names ---------------------------------------------------------------------------------------------------


def test_bad_zones(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    with Untouched(world):
        for bad in BAD_ZONES:
            assert verdict(clara, AVAILABILITY, available({"bookingId": booking["id"]}, timeZone=bad)) == "BAD_USER_INPUT", bad


def test_numbers_of_another_kind(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    target = {"bookingId": booking["id"]}
    with Untouched(world):
        for bad in BAD_NUMBERS:
            assert verdict(clara, BOOKINGS, {"first": bad}) == "BAD_USER_INPUT", bad
            assert verdict(clara, MOVE, moves(booking["id"], expectedVersion=bad)) == "BAD_USER_INPUT", bad
            assert verdict(clara, AVAILABILITY, available(target, durationMinutes=bad)) == "BAD_USER_INPUT", bad
            assert verdict(clara, AVAILABILITY, available(target, maxAgeSeconds=bad)) == "BAD_USER_INPUT", bad


def test_numbers_out_of_range(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    kind = clara.one(EVENT_TYPES)["edges"][0]["node"]["id"]
    with Untouched(world):
        for target in ({"bookingId": booking["id"]}, {"eventTypeId": kind}):
            for minutes in (0, -30, -(2**31), 2**31 - 1, 7):
                assert verdict(clara, AVAILABILITY, available(target, durationMinutes=minutes)) == "INVALID_INPUT", minutes
            for age in (-1, -(2**31)):
                assert verdict(clara, AVAILABILITY, available(target, maxAgeSeconds=age)) == "INVALID_INPUT", age
        for version in (0, -1, 2, 2**31 - 1, -(2**31)):
            assert verdict(clara, MOVE, moves(booking["id"], expectedVersion=version)) == "STALE_BOOKING", version
            assert verdict(clara, CANCEL, cancels(booking["id"], expectedVersion=version)) == "STALE_BOOKING", version


def test_the_greatest_age_is_answered(clara: Caller, booking: dict[str, Any]) -> None:
    assert verdict(clara, AVAILABILITY, available({"bookingId": booking["id"]}, maxAgeSeconds=2**31 - 1)) == "Availability"


def test_unknown_providers_kinds_and_orders(world: World, clara: Caller) -> None:
    with Untouched(world):
        for bad in ("calcom", "ZOHO", "CAL", "", LONG, 7, None, [], {}):
            for name in PROVIDER_MUTATIONS:
                kind = name[0].upper() + name[1:]
                query = f"mutation($input: {kind}Input!) {{ {name}(input: $input) {{ __typename ... on Problem {{ code message }} }} }}"
                assert verdict(clara, query, {"input": {"provider": bad}}) == "BAD_USER_INPUT", (name, bad)
            assert verdict(clara, CONNECT, {"input": {"provider": bad}}) == "BAD_USER_INPUT"
        for bad in ("SERVICE_ACCOUNT", "oauth", 7):
            assert verdict(clara, CONNECT, {"input": {"provider": "CAL_COM", "kind": bad}}) == "BAD_USER_INPUT"
        for bad in ("start_asc", "", 7):
            assert verdict(clara, BOOKINGS, {"order": bad}) == "BAD_USER_INPUT"
            assert verdict(clara, BOOKINGS, {"filter": {"status": [bad]}}) == "BAD_USER_INPUT"
            assert verdict(clara, BOOKINGS, {"filter": {"role": bad}}) == "BAD_USER_INPUT"


def test_inputs_with_missing_or_unknown_fields(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    good = moves(booking["id"])["input"]
    with Untouched(world):
        for name in ("bookingId", "newStart", "idempotencyKey"):
            assert verdict(clara, MOVE, {"input": {k: v for k, v in good.items() if k != name}}) == "BAD_USER_INPUT"
            assert verdict(clara, MOVE, {"input": {**good, name: None}}) == "BAD_USER_INPUT"
        assert verdict(clara, MOVE, {"input": {**good, "force": True}}) == "BAD_USER_INPUT"
        assert verdict(clara, MOVE, {"input": {**good, "acceptConflicts": "yes"}}) == "BAD_USER_INPUT"
        for bad in (None, [], "x", 7):
            assert verdict(clara, MOVE, {"input": bad}) == "BAD_USER_INPUT"


# ---- ids --------------------------------------------------------------------------------------------------------------------


def other_ids(caller: Caller, booking: dict[str, Any]) -> Iterator[str]:
    """Real ids of other things."""
    yield booking["participants"][0]["id"]
    yield booking["eventType"]["host"]["id"]
    yield caller.one("{ viewer { id } }")["id"]
    yield caller.notifications()[0]["id"]
    yield str(booking["externalId"])
    yield str(booking["id"]).lower()


def test_ids_of_nothing(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    strange = [*IDS, *other_ids(clara, booking), new_id(), f" {booking['id']}", f"{booking['id']}\n"]
    with Untouched(world):
        for bad in strange:
            assert verdict(clara, ONE_BOOKING, {"id": bad}) == "null", bad
            assert verdict(clara, OPERATION, {"id": bad}) == "null", bad
            assert verdict(clara, MOVE, moves(bad)) == "NOT_FOUND", bad
            assert verdict(clara, CANCEL, cancels(bad)) == "NOT_FOUND", bad
            assert verdict(clara, AVAILABILITY, available({"bookingId": bad})) == "NOT_FOUND", bad
            assert verdict(clara, AVAILABILITY, available({"eventTypeId": bad})) == "NOT_FOUND", bad


def test_marking_what_is_not_there(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    with Untouched(world):
        for bad in (*IDS, booking["id"], new_id()):
            assert verdict(clara, MARK, {"input": {"ids": [bad]}}) == "NotificationsMarkedRead", bad


def test_ids_that_are_no_ids(world: World, clara: Caller) -> None:
    with Untouched(world):
        for bad in (1.5, True, [], {}, ["x"], None):
            assert verdict(clara, ONE_BOOKING, {"id": bad}) == "BAD_USER_INPUT", bad
            assert verdict(clara, MOVE, moves(bad)) == "BAD_USER_INPUT", bad
        for bad in (1.5, {}, [None], [True], [[]]):
            assert verdict(clara, MARK, {"input": {"ids": bad}}) == "BAD_USER_INPUT", bad


def test_both_or_none_of_what_may_be_one(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    kind = clara.one(EVENT_TYPES)["edges"][0]["node"]["id"]
    with Untouched(world):
        for bad in (
            {},
            {"bookingId": booking["id"], "eventTypeId": kind},
            {"bookingId": None},
            {"eventTypeId": None},
            {"bookingId": booking["id"], "eventTypeId": None},
        ):
            assert verdict(clara, AVAILABILITY, available(bad)) == "BAD_USER_INPUT", bad
        literal = f'{{ availability(input: {{ target: {{}}, window: {{ start: "{WINDOW["start"]}", end: "{WINDOW["end"]}" }} }}) {{ __typename }} }}'
        assert verdict(clara, literal, None) == "BAD_USER_INPUT"


# ---- texts ------------------------------------------------------------------------------------------------------------------


def test_over_long_and_empty_keys(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    with Untouched(world):
        for bad in ("", "   ", "\n", "k" * 201, LONG):
            assert verdict(clara, MOVE, moves(booking["id"], idempotencyKey=bad)) == "INVALID_INPUT", bad
            assert verdict(clara, CANCEL, cancels(booking["id"], idempotencyKey=bad)) == "INVALID_INPUT", bad


def test_over_long_reasons(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    with Untouched(world):
        for bad in ("r" * 1001, LONG):
            assert verdict(clara, MOVE, moves(booking["id"], reason=bad)) == "INVALID_INPUT"
            assert verdict(clara, CANCEL, cancels(booking["id"], reason=bad)) == "INVALID_INPUT"


def test_odd_but_good_texts_are_kept_as_they_are(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    reason = "🦊 O'Hara; DROP TABLE booking; -- <script>\t\n" + "ü" * 900
    moved = clara.move(booking["id"], at(3, 9), key="🦊" * 50, reason=reason)
    assert moved["__typename"] == "BookingRescheduled"
    assert moved["booking"]["history"]["edges"][0]["node"]["reason"] == reason
    assert clara.move(booking["id"], at(3, 9), key="🦊" * 50, reason=reason)["booking"]["id"] == booking["id"]
    assert len(world.live_uids()) == 1


def test_text_with_a_lone_surrogate_or_a_zero(world: World, clara: Caller, booking: dict[str, Any]) -> None:
    """What JSON can carry and databases cannot."""
    headers = {"Authorization": f"Bearer {clara.token}", "Content-Type": "application/json"}
    with Untouched(world):
        for odd in ("\\ud800", "\\u0000", "a\\u0000b", "\\udfff\\ud800"):
            for query, variables in (
                (BOOKINGS, f'{{"filter": {{"text": "{odd}"}}}}'),
                (ONE_BOOKING, f'{{"id": "{odd}"}}'),
                (BOOKINGS, f'{{"after": "{odd}"}}'),
                (MARK, f'{{"input": {{"ids": ["{odd}"]}}}}'),
                (CONNECT, f'{{"input": {{"provider": "CAL_COM", "returnTo": "{odd}"}}}}'),
                (COMPLETE, f'{{"input": {{"state": "{odd}"}}}}'),
            ):
                content = f'{{"query": {json.dumps(query)}, "variables": {variables}}}'.encode()
                answer = world.http.post("/graphql", content=content, headers=headers)
                assert answer.status_code in {200, 400}, odd
                assert "INTERNAL" not in answer.text, (odd, query, answer.text)


def test_long_texts_to_look_for(clara: Caller, booking: dict[str, Any]) -> None:
    for text in (LONG, "%" * 1000, "_" * 5000, "\\" * 1001, "🦊" * 3000, "ß" * 20_000):
        assert verdict(clara, BOOKINGS, {"filter": {"text": text}}) == "BAD_USER_INPUT", text[:10]
        assert verdict(clara, BOOKINGS, {"filter": {"text": text[:200]}}) == "answered", text[:10]


def test_return_addresses_that_are_not_allowed(world: World, clara: Caller) -> None:
    with Untouched(world):
        own = f"{world.url}/oauth/calcom/return"
        for bad in ("", "https://evil.example", f"{own}/", f"{own}?x=1", own.upper(), "javascript:alert(1)", "//evil.example", LONG, "🦊"):
            assert verdict(clara, CONNECT, {"input": {"provider": "CAL_COM", "returnTo": bad}}) == "INVALID_INPUT", bad


def test_states_of_nothing(world: World, clara: Caller) -> None:
    with Untouched(world):
        for bad in IDS:
            assert verdict(clara, COMPLETE, {"input": {"state": bad}}) == "AUTHORIZATION_EXPIRED", bad


def test_cursors_of_nothing(clara: Caller, booking: dict[str, Any]) -> None:
    good = clara.post("{ bookings { edges { cursor } } }").json()["data"]["bookings"]["edges"][0]["cursor"]
    for bad in (*IDS, good[:-3], good + "x", good[1:], good.lower(), f" {good}", "W10", "bnVsbA", "W251bGxd", "=" * 50):
        assert verdict(clara, BOOKINGS, {"after": bad}) == "BAD_USER_INPUT", bad


# ---- whatever else ----------------------------------------------------------------------------------------------------------

anything = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


@anything
@given(cursor=st.one_of(text, st.from_regex(r"\A[A-Za-z0-9_=-]{0,60}\Z")))
def test_no_cursor_is_a_surprise(world: World, cursor: str) -> None:
    assert verdict(world.caller("Dora"), BOOKINGS, {"after": cursor}) == "BAD_USER_INPUT"


@anything
@given(
    name=st.sampled_from(["bookings_asc", "bookings_desc", "history", ""]),
    at_=st.one_of(st.integers(), st.floats(allow_nan=False), st.none(), text, st.booleans()),
    row=st.one_of(text, st.integers(-(2**60), 2**60), st.none(), st.lists(text, max_size=2)),
)
def test_no_forged_cursor_is_a_surprise(world: World, name: str, at_: Any, row: Any) -> None:
    import base64  # noqa: PLC0415

    forged = base64.urlsafe_b64encode(json.dumps([name, at_, row]).encode()).decode().rstrip("=")
    assert verdict(world.caller("Dora"), BOOKINGS, {"after": forged}) in {"BAD_USER_INPUT", "answered"}


@anything
@given(value=text)
def test_no_id_or_time_or_zone_is_a_surprise(world: World, value: str) -> None:
    dora = world.caller("Dora")
    assert verdict(dora, ONE_BOOKING, {"id": value}) == "null"
    assert verdict(dora, MOVE, moves(value)) == "NOT_FOUND"
    assert verdict(dora, BOOKINGS, {"filter": {"startsAfter": value}}) == "BAD_USER_INPUT"
    assert verdict(dora, BOOKINGS, {"filter": {"text": value}}) == "answered"
    assert verdict(dora, AVAILABILITY, available({"bookingId": value}, timeZone=value)) == "BAD_USER_INPUT"


def test_a_zero_character_is_refused_at_the_door(clara: Caller) -> None:
    """PostgreSQL keeps no such text, and what one database refuses the other need not take."""
    answer = raw(clara, ONE_BOOKING, {"id": "a\0b"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == "A text may not contain the character U+0000."
