"""Every parser of foreign bytes: what cannot be read is refused in the one way that its callers expect, and what is read fits.

What comes out must be what the annotations say, be storable in both databases, and be a time that any zone can show.
"""

import base64
import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import SHARE
from system.fuzz_mutations import JSON, ODD, mutated

from schema import connections, scalars
from services.errors import BadAnswer, BadUserInput
from services.providers import oauth2, transport
from services.providers.calcom import payloads as calcom
from services.providers.calcom import webhooks as calcom_webhooks
from services.providers.calcom.client import CalcomDialect
from services.providers.calendly import payloads as calendly
from services.providers.calendly import webhooks as calendly_webhooks
from services.providers.calendly.client import CalendlyDialect
from services.providers.zoom import payloads as zoom
from services.providers.zoom import webhooks as zoom_webhooks
from services.providers.zoom.client import ZoomDialect

QUICK = settings(max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=max(round(20_000 * SHARE), 100), derandomize=False, print_blob=True)

NOW = datetime(2027, 3, 1, 8, tzinfo=UTC)
EARLIEST, LATEST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)
"""Between these, any time zone can show a time, and a day more or less is one as well."""
MOST = 2**31 - 1
"""The largest number that an INTEGER column of PostgreSQL holds."""

# ---- what providers send ---------------------------------------------------------------------------------------------------

CALCOM_PERSON = {"id": 7, "name": "Clara", "email": "clara@example.test", "timeZone": "Europe/Berlin"}
CALCOM_ACCOUNT = {**CALCOM_PERSON, "username": "clara", "organizationId": 3, "defaultScheduleId": 1, "organization": {"id": 3}}
CALCOM_EVENT_TYPE = {
    "id": 12,
    "title": "Session",
    "slug": "session",
    "description": "An hour",
    "lengthInMinutes": 30,
    "lengthInMinutesOptions": [30, 60],
    "hidden": False,
    "users": [{"id": 7, "username": "clara"}],
    "confirmationPolicy": {"type": "always", "disabled": False},
    "seats": {"seatsPerTimeSlot": 3, "disabled": False},
    "bookingUrl": "https://cal.com/clara/session",
    "bookingFields": [
        {"slug": "notes", "isDefault": True, "type": "textarea", "label": "Notes", "required": False},
        {"slug": "why", "type": "select", "label": "Why?", "required": True, "options": ["a", {"value": "b", "label": "B"}]},
    ],
    "beforeEventBuffer": 5,
    "afterEventBuffer": 10,
    "minimumBookingNotice": 120,
}
CALCOM_SCHEDULE = {
    "id": 1,
    "name": "Working hours",
    "timeZone": "Europe/Berlin",
    "isDefault": True,
    "availability": [{"days": ["Monday", "Friday"], "startTime": "09:00", "endTime": "17:00"}],
    "overrides": [{"date": "2027-03-08", "startTime": "10:00", "endTime": "12:00"}],
}
CALCOM_BOOKING = {
    "id": 1,
    "uid": "pQ6rS8tU2vW4xY6zA8bC",
    "title": "Session between Clara and Otto",
    "status": "accepted",
    "start": "2027-03-02T09:00:00.000Z",
    "end": "2027-03-02T09:30:00.000Z",
    "duration": 30,
    "eventType": {"id": 12, "slug": "session"},
    "eventTypeId": 12,
    "hosts": [CALCOM_PERSON],
    "attendees": [
        {"name": "Otto", "email": "otto@example.test", "displayEmail": "otto@example.test", "timeZone": "Europe/London", "absent": False},
        {"name": "", "email": "guest@example.test", "timeZone": "UTC", "absent": True},
    ],
    "guests": ["guest@example.test"],
    "createdAt": "2027-03-01T08:00:00.000Z",
    "updatedAt": "2027-03-01T08:00:00.000Z",
    "rescheduledFromUid": "one-before",
    "rescheduledToUid": "one-behind",
    "location": "integrations:daily",
    "meetingUrl": "https://example.zoom.us/j/12345678901?pwd=x",
    "bookingFieldsResponses": {"name": "Otto", "notes": "Hello", "why": ["a", "b"], "rescheduledReason": "Ill"},
    "cancellationReason": "Ill",
    "cancelledByEmail": "otto@example.test",
    "reschedulingReason": "Ill",
    "rescheduledByEmail": "otto@example.test",
    "absentHost": False,
    "metadata": {"conveneOperation": "01JAAAAAAAAAAAAAAAAAAAAAAA"},
}
CALCOM_PAIR = {
    "accessToken": "a",
    "refreshToken": "b",
    "accessTokenExpiresAt": 1_803_888_000_000,
    "refreshTokenExpiresAt": 1_803_888_000_000,
}

API = "https://api.calendly.com"
CALENDLY_ACCOUNT = {
    "uri": f"{API}/users/U1",
    "name": "Cora",
    "slug": "cora",
    "email": "cora@example.test",
    "timezone": "Europe/Berlin",
    "scheduling_url": "https://calendly.com/cora",
    "current_organization": f"{API}/organizations/O1",
}
CALENDLY_EVENT_TYPE = {
    "uri": f"{API}/event_types/T1",
    "name": "Call",
    "slug": "call",
    "description_plain": "A call",
    "duration": 30,
    "duration_options": [30, 60],
    "secret": False,
    "kind": "solo",
    "scheduling_url": "https://calendly.com/cora/call",
    "active": True,
    "deleted_at": None,
    "booking_method": "instant",
    "custom_questions": [
        {
            "name": "Why?",
            "type": "single_select",
            "position": 0,
            "enabled": True,
            "required": True,
            "answer_choices": ["a"],
            "include_other": False,
        }
    ],
}
CALENDLY_SCHEDULE = {
    "uri": f"{API}/user_availability_schedules/S1",
    "name": "Working hours",
    "timezone": "Europe/Berlin",
    "default": True,
    "rules": [
        {"type": "wday", "wday": "monday", "intervals": [{"from": "09:00", "to": "17:00"}]},
        {"type": "date", "date": "2027-03-08", "intervals": [{"from": "10:00", "to": "12:00"}]},
    ],
}
CALENDLY_EVENT = {
    "uri": f"{API}/scheduled_events/E1",
    "name": "Call",
    "status": "active",
    "start_time": "2027-03-02T09:00:00.000000Z",
    "end_time": "2027-03-02T09:30:00.000000Z",
    "event_type": f"{API}/event_types/T1",
    "location": {"type": "zoom", "status": "pushed", "join_url": "https://zoom.us/j/123456789", "data": {"id": 123456789}},
    "invitees_counter": {"total": 1, "active": 1, "limit": 1},
    "created_at": "2027-03-01T08:00:00.000000Z",
    "updated_at": "2027-03-01T08:00:00.000000Z",
    "event_memberships": [{"user": f"{API}/users/U1", "user_email": "cora@example.test", "user_name": "Cora"}],
    "event_guests": [{"email": "guest@example.test"}],
    "cancellation": {"canceled_by": "Cora", "reason": "Ill", "canceler_type": "host", "created_at": "2027-03-01T08:00:00.000000Z"},
}
CALENDLY_INVITEE = {
    "uri": f"{API}/scheduled_events/E1/invitees/I1",
    "email": "otto@example.test",
    "name": "Otto",
    "first_name": None,
    "last_name": None,
    "status": "active",
    "timezone": "Europe/London",
    "created_at": "2027-03-01T08:00:00.000000Z",
    "updated_at": "2027-03-01T08:00:00.000000Z",
    "questions_and_answers": [{"question": "Why?", "answer": "a", "position": 0}],
    "old_invitee": f"{API}/scheduled_events/E0/invitees/I0",
    "new_invitee": f"{API}/scheduled_events/E2/invitees/I2",
    "tracking": {"utm_term": "convene:01JAAAAAAAAAAAAAAAAAAAAAAA"},
    "payment": None,
    "no_show": {"uri": f"{API}/invitee_no_shows/N1", "created_at": "2027-03-01T08:00:00.000000Z"},
    "cancellation": {"canceled_by": "Otto", "reason": "Ill", "canceler_type": "invitee", "created_at": "2027-03-01T08:00:00.000000Z"},
}
CALENDLY_BOOKING = {"event": CALENDLY_EVENT, "invitee": CALENDLY_INVITEE}

ZOOM_ACCOUNT = {
    "id": "z1",
    "display_name": "Clara",
    "first_name": "Clara",
    "last_name": "C",
    "email": "clara@example.test",
    "timezone": "Europe/Berlin",
    "account_id": "A1",
}
ZOOM_MEETING = {
    "id": 12345678901,
    "join_url": "https://zoom.us/j/12345678901?pwd=x",
    "start_time": "2027-03-02T09:00:00Z",
    "duration": 30,
    "created_at": "2027-03-01T08:00:00Z",
    "agenda": "[convene:01JAAAAAAAAAAAAAAAAAAAAAAA]",
}
ZOOM_RECORDING = {
    "id": 12345678901,
    "uuid": "4444AAAiAAAAAiAiAiiAii==",
    "host_id": "z1",
    "recording_play_passcode": "abc",
    "share_url": "https://zoom.us/rec/share/1",
    "recording_files": [
        {
            "id": "f1",
            "recording_type": "shared_screen",
            "file_type": "MP4",
            "status": "completed",
            "play_url": "https://zoom.us/rec/play/1",
            "recording_start": "2027-03-02T09:00:00Z",
            "recording_end": "2027-03-02T09:30:00Z",
        }
    ],
}
GRANT = {"access_token": "a", "refresh_token": "b", "expires_in": 1800, "scope": "A B", "token_type": "bearer"}

PARSERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "calcom account": (CALCOM_ACCOUNT, lambda raw: calcom.account(raw, "https://app.cal.com")),
    "calcom event type": (CALCOM_EVENT_TYPE, lambda raw: calcom.event_type(raw, "https://app.cal.com")),
    "calcom schedule": (CALCOM_SCHEDULE, calcom.schedule),
    "calcom booking": (CALCOM_BOOKING, calcom.booking),
    "calcom pair": (CALCOM_PAIR, lambda raw: calcom.managed_grant(raw, NOW)),
    "calcom mark": (CALCOM_BOOKING, lambda raw: calcom.booking(calcom.unmarked(raw, "platform"))),
    "calendly account": (CALENDLY_ACCOUNT, calendly.account),
    "calendly event type": (CALENDLY_EVENT_TYPE, calendly.event_type),
    "calendly schedule": (CALENDLY_SCHEDULE, calendly.schedule),
    "calendly occasion": (CALENDLY_EVENT, calendly.occasion),
    "calendly booking": (
        CALENDLY_BOOKING,
        lambda raw: calendly.booking(raw.get("event"), raw.get("invitee")) if isinstance(raw, dict) else None,
    ),
    "calendly cancellation": (
        CALENDLY_EVENT["cancellation"],
        lambda raw: calendly.cancelled(calendly.booking(CALENDLY_EVENT, CALENDLY_INVITEE), raw),
    ),
    "zoom account": (ZOOM_ACCOUNT, zoom.account),
    "zoom meeting": (ZOOM_MEETING, zoom.meeting),
    "zoom mark": (ZOOM_MEETING, zoom.mark),
    "zoom recording": (ZOOM_RECORDING, lambda raw: zoom.recorded(raw, complete=True)),
    "token": (
        GRANT,
        lambda raw: oauth2.grant(as_told(raw)) if isinstance(raw, dict) and isinstance(raw.get("access_token"), str) else None,
    ),
}

DELIVERIES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "calcom": (
        {"triggerEvent": "BOOKING_RESCHEDULED", "createdAt": "2027-03-01T08:00:00Z", "payload": {**CALCOM_BOOKING, "rescheduleUid": "x"}},
        calcom_webhooks.read,
    ),
    "calcom meeting": ({"triggerEvent": "MEETING_ENDED", "uid": "x", "createdAt": "2027-03-01T08:00:00Z"}, calcom_webhooks.read),
    "calendly": (
        {
            "event": "invitee.created",
            "created_at": "2027-03-01T08:00:00.000000Z",
            "payload": {**CALENDLY_INVITEE, "scheduled_event": CALENDLY_EVENT},
        },
        calendly_webhooks.read,
    ),
    "zoom recording": (
        {"event": "recording.completed", "event_ts": 1_803_888_000_000, "payload": {"account_id": "A1", "object": ZOOM_RECORDING}},
        zoom_webhooks.read,
    ),
    "zoom meeting": (
        {"event": "meeting.updated", "event_ts": 1_803_888_000_000, "payload": {"object": {"id": 1, "start_time": "2027-03-02T09:00:00Z"}}},
        zoom_webhooks.read,
    ),
    "zoom deauthorized": ({"event": "app_deauthorized", "payload": {"user_id": "z1", "account_id": "A1"}}, zoom_webhooks.read),
    "zoom challenge": (
        {"event": "endpoint.url_validation", "payload": {"plainToken": "abc"}},
        lambda raw: zoom_webhooks.challenge(["secret"], raw),
    ),
}


# ---- what must come out ----------------------------------------------------------------------------------------------------


def misfits(value: Any, kind: Any, path: str = "") -> list[str]:  # noqa: PLR0911 - one per kind
    """Where a value is not what its annotation says, or cannot be stored or shown."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        tries = [misfits(value, one, path) for one in inner]
        return min(tries, key=len)
    if origin is tuple:
        if not isinstance(value, tuple):
            return [f"{path} is no tuple but {value!r:.60}"]
        kinds = [inner[0]] * len(value) if inner[-1] is ... else inner
        return [one for number, (item, k) in enumerate(zip(value, kinds, strict=True)) for one in misfits(item, k, f"{path}[{number}]")]
    if kind is Any or origin is typing.Literal:
        return []
    if kind is type(None):
        return [] if value is None else [f"{path} is not None"]
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, kind):  # type: ignore[arg-type]
            return [f"{path} is {value!r:.60}"]
        hints = typing.get_type_hints(kind)
        return [one for f in dataclasses.fields(kind) for one in misfits(getattr(value, f.name), hints[f.name], f"{path}.{f.name}")]
    if type(value) is not kind and not (kind is float and type(value) is int):
        return [f"{path} is {value!r:.60} and no {kind.__name__}"]
    return [f"{path} is {value!r:.60}"] if not _fits(value) else []


def _fits(value: Any) -> bool:  # noqa: PLR0911 - one per kind
    if isinstance(value, str):
        return "\0" not in value and _encodable(value)
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -MOST <= value <= MOST
    if isinstance(value, datetime):
        return value.tzinfo is not None and EARLIEST <= value <= LATEST
    if isinstance(value, date):
        return date(1, 1, 3) <= value <= date(9999, 12, 29)
    if isinstance(value, timedelta):
        return abs(value) <= timedelta(days=365 * 200)
    return True


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits(found: Any) -> None:
    if dataclasses.is_dataclass(found):
        wrong = misfits(found, type(found), type(found).__name__)
        assert not wrong, wrong


def as_told(raw: dict[str, Any]) -> dict[str, Any]:
    """A token endpoint's answer as the transport hands it on."""
    return {name: value for name, value in raw.items() if name != "expires_in" or transport._is_life(value)}


def reads(name: str, raw: Any) -> None:
    """It is refused as an answer that cannot be read, or what was read fits."""
    _, parse = PARSERS[name]
    try:
        found = parse(raw)
    except BadAnswer:
        return
    fits(found)


def hears(name: str, raw: Any) -> None:
    """A delivery is always read as something."""
    _, parse = DELIVERIES[name]
    found = parse(raw)
    fits(found)


def both(test: Callable[..., None]) -> Any:
    """The same test twice: a short one, and a long one."""
    deep = pytest.mark.deep
    return pytest.mark.parametrize("how", [pytest.param(QUICK, id="short"), pytest.param(LONG, id="deep", marks=deep)])(test)


@both
@pytest.mark.parametrize("name", PARSERS)
def test_answers(name: str, how: settings) -> None:
    @how
    @given(mutated(PARSERS[name][0]))
    def check(raw: Any) -> None:
        reads(name, raw)

    check()


@both
@pytest.mark.parametrize("name", DELIVERIES)
def test_deliveries(name: str, how: settings) -> None:
    @how
    @given(mutated(DELIVERIES[name][0]))
    def check(raw: Any) -> None:
        hears(name, raw)

    check()


def test_samples_are_read() -> None:
    """What is mutated is good to begin with."""
    for sample, parse in (*PARSERS.values(), *DELIVERIES.values()):
        found = parse(sample)
        assert found is not None
        fits(found)


# ---- refusals ---------------------------------------------------------------------------------------------------------------

HEADER = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=40) | st.sampled_from(
    ["nan", "inf", "1e300", "-1", "0", "9" * 5000, "٣", "60", "0.5", "", "Mon, 01 Mar 2027 08:00:00 GMT"]
)
NAMES = st.sampled_from(
    [
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-ratelimit-limit",
        "x-ratelimit-remaining-default",
        "x-ratelimit-reset-default",
        "x-ratelimit-type",
    ]
)
BODY = (
    JSON
    | st.sampled_from(ODD).filter(lambda odd: repr(odd) != "GONE")
    | mutated(
        {
            "error": {"code": "x", "message": "insufficient_scope Required: A, B."},
            "message": "no [a,b]",
            "code": 4711,
            "required_scopes": ["a"],
            "title": "t",
        }
    )
)


@both
@pytest.mark.parametrize("dialect", [CalcomDialect(), CalendlyDialect(), ZoomDialect()], ids=lambda one: one.slug)
def test_how_providers_say_no(dialect: Any, how: settings) -> None:
    """Whatever stands in the body and the headers of a refusal, it is one."""

    @how
    @given(st.sampled_from([400, 401, 403, 404, 409, 429, 498]), BODY, st.dictionaries(NAMES, HEADER))
    def check(status: int, body: Any, headers: Mapping[str, str]) -> None:
        assert isinstance(dialect.token_refused(status, body), bool)
        scopes = dialect.missing_scopes(status, body)
        assert scopes is None or all(isinstance(scope, str) for scope in scopes)
        limits = dialect.limits(headers)
        assert limits is None or isinstance(limits.reset_after, timedelta)
        assert isinstance(dialect.all_spent(headers), bool)
        said = dialect.says(body)
        assert isinstance(said, str)
        assert len(said) <= 200

    check()


@both
@pytest.mark.parametrize(
    "genuine", [calcom_webhooks.genuine, calendly_webhooks.genuine, zoom_webhooks.genuine], ids=["calcom", "calendly", "zoom"]
)
def test_signatures(genuine: Any, how: settings) -> None:
    """No header that was not made with the secret passes, and none is too strange to be looked at."""
    names = ("X-Cal-Signature-256", "Calendly-Webhook-Signature", "x-zm-signature", "x-zm-request-timestamp")
    value = st.text(st.characters(codec="utf-8"), max_size=200) | st.text(
        st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF), max_size=3
    )
    shaped = value.map(lambda text: f"t={text},v1={text}") | value.map(lambda text: f"v0={text}") | value

    @how
    @given(
        st.fixed_dictionaries(dict.fromkeys(names, shaped)), st.binary(max_size=200), st.lists(st.text(min_size=1, max_size=20), max_size=3)
    )
    def check(headers: dict[str, str], body: bytes, secrets: list[str]) -> None:
        assert genuine(secrets, headers, body) is False

    check()


# ---- what callers send --------------------------------------------------------------------------------------------------------

KEY = connections.Key("bookings", None, None, lambda row: row.at)
TIMES = st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", fullmatch=True)


@both
def test_cursors(how: settings) -> None:
    """A cursor is one of ours, or bad input."""
    encoded = (JSON | st.tuples(st.just("bookings"), JSON, JSON)).map(
        lambda content: base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    )

    @how
    @given(st.text(max_size=60) | st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)) | encoded)
    def check(cursor: str) -> None:
        try:
            at, row_id = connections._decode(KEY, cursor)
        except BadUserInput:
            return
        assert isinstance(at, int)
        assert -(2**63) <= at < 2**63
        assert "\0" not in row_id
        assert _encodable(row_id)

    check()


def explained(error: BadUserInput) -> None:
    assert len(error.message) > 10


@both
def test_times(how: settings) -> None:
    """A DateTime is read as a moment of UTC that every other zone can show as well, or refused with a sentence."""

    @how
    @given(TIMES | st.text(max_size=40) | JSON)
    def check(value: Any) -> None:
        try:
            at = scalars._parse(value)
        except BadUserInput as error:
            explained(error)
            return
        assert at.tzinfo is UTC
        assert scalars._parse(scalars._serialize(at)) == at

    check()


@both
def test_time_zones(how: settings) -> None:
    @how
    @given(st.text(max_size=40) | JSON | st.sampled_from(["../../etc/passwd", "UTC\0", "Europe/Berlin", "posix/UTC", "/etc/localtime"]))
    def check(value: Any) -> None:
        try:
            assert scalars._parse_zone(value) == value
        except BadUserInput as error:
            explained(error)

    check()
