"""Every example answer of the fact sheet that applies: the same keys at every depth, and error bodies word for word.

Where the examples are not at hand there are no cases here.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "examples" / "calcom"
V = "2026-02-25"
LINK = "https://meet.example/room"


def _confirmable(house: Any) -> dict[str, Any]:
    return house.booked("2026-12-02T09:00:00Z", "dive")


def _get(path: str, who: str | None = "coach", version: str | None = None) -> Callable[[Any], Any]:
    return lambda house: house.api("GET", path, who=who, version=version).json()


def _fresh(house: Any, **more: Any) -> dict[str, Any]:
    return house.booked("2026-12-02T09:00:00Z", metadata={"case": "A-19"}, **more)


def _twice_cancelled(house: Any) -> Any:
    uid = _fresh(house)["uid"]
    house.do(uid, "cancel")
    return house.do(uid, "cancel").json()


def _cancelled_after_move(house: Any) -> Any:
    moved = house.moved(_fresh(house)["uid"], "2026-12-02T10:00:00Z")
    return house.do(moved["uid"], "cancel", cancellationReason="ill").json()


def _moved_pending(house: Any) -> Any:
    body = {"rescheduledBy": "mentee@demo.test", "reschedulingReason": "room change"}
    booking = house.booked("2026-12-02T09:00:00Z", "dive", metadata={"case": "A-19"})
    return house.move(booking["uid"], "2026-12-02T11:00:00Z", **body).json()


def _moved(house: Any) -> Any:
    body = {"rescheduledBy": "coach@demo.test", "reschedulingReason": "room change"}
    return house.move(_fresh(house)["uid"], "2026-12-02T10:00:00Z", **body).json()


def _old(house: Any) -> Any:
    uid = _fresh(house)["uid"]
    house.moved(uid, "2026-12-02T10:00:00Z", rescheduledBy="coach@demo.test")
    return house.api("GET", f"/bookings/{uid}", version=V).json()


def _already(house: Any) -> Any:
    uid = _fresh(house)["uid"]
    house.moved(uid, "2026-12-02T10:00:00Z")
    return house.move(uid, "2026-12-02T11:00:00Z").json()


def _move_cancelled(house: Any) -> Any:
    uid = _fresh(house)["uid"]
    house.do(uid, "cancel")
    return house.move(uid, "2026-12-02T10:00:00Z").json()


def _move_rejected(house: Any) -> Any:
    uid = _confirmable(house)["uid"]
    house.do(uid, "decline", "coach")
    return house.move(uid, "2026-12-02T12:00:00Z").json()


def _move_too_late(house: Any) -> Any:
    rule = {"disableRescheduling": {"disabled": False, "minutesBefore": 6000}}
    house.api("PATCH", f"/event-types/{house.ids['session']}", version="2024-06-14", who="coach", json=rule)
    return house.move(_fresh(house)["uid"], "2026-12-02T10:00:00Z").json()


def _confirmed_after_move(house: Any) -> Any:
    uid = _moved_pending(house)["data"]["uid"]
    answer = house.do(uid, "confirm", "coach").json()
    answer["data"].pop("reschedulingReason")  # the example's chain was moved without a reason
    answer["data"]["bookingFieldsResponses"].pop("rescheduledReason")
    return answer


def _declined(house: Any) -> Any:
    return house.do(_confirmable(house)["uid"], "decline", "coach", reason="no").json()


def _again(house: Any) -> Any:
    return house.do(_fresh(house)["uid"], "confirm", "coach").json()


def _stranger(house: Any) -> Any:
    return house.do(_confirmable(house)["uid"], "confirm", "mentee").json()


def _absent(house: Any) -> Any:
    booking = _fresh(house)
    house.sandbox.world.clock.shift(2 * 86400)
    house.tokens.clear()
    return house.do(booking["uid"], "mark-absent", "coach", attendees=[{"email": "mentee@demo.test", "absent": True}]).json()


def _list(version: str) -> Callable[[Any], Any]:
    def run(house: Any) -> Any:
        _moved(house)
        limit = "limit" if version == "2026-05-01" else "take"
        answer = house.api("GET", "/bookings", who="coach", version=version, params={limit: 1, "sortStart": "desc"})
        return answer.json()

    return run


def _reserved_twice(house: Any) -> Any:
    body = {"eventTypeId": house.ids["session"], "slotStart": "2026-12-02T09:00:00Z"}
    house.api("POST", "/slots/reservations", version="2024-09-04", json=body)
    return house.api("POST", "/slots/reservations", version="2024-09-04", json=body).json()


def _reservation(house: Any) -> Any:
    body = {"eventTypeId": house.ids["session"], "slotStart": "2026-12-02T09:00:00Z"}
    return house.api("POST", "/slots/reservations", version="2024-09-04", json=body).json()


def _slots(**query: Any) -> Callable[[Any], Any]:
    def run(house: Any) -> Any:
        params = {"eventTypeId": house.ids["session"], "start": "2026-12-02", "end": "2026-12-02"} | query
        return house.api("GET", "/slots", version="2024-09-04", params=params).json()

    return run


def _scope(house: Any) -> Any:
    token = house.connect("coach", "BOOKING_READ")["access_token"]
    uid = _confirmable(house)["uid"]
    return house.api("POST", f"/bookings/{uid}/confirm", version=V, headers={"Authorization": f"Bearer {token}"}).json()


def _too_many(house: Any) -> Any:
    house.control("PUT", "/calcom/limits", {"token": 1})
    house.api("GET", "/me", who="coach")
    return house.api("GET", "/me", who="coach").json() | {"_headers": {}}


def _conflict(house: Any) -> Any:
    first = _fresh(house)
    house.sandbox.world.calcom.bookings[first["uid"]].committed += 10  # as if it came while the next call was under way
    return house.book("2026-12-02T09:00:00Z").json()


def _event_type(house: Any) -> Any:
    body = {
        "title": "Intake",
        "slug": "intake",
        "lengthInMinutes": 30,
        "confirmationPolicy": {"type": "always", "blockUnconfirmedBookingsInBooker": False},
    }
    body["locations"] = [{"type": "link", "link": LINK}]
    return house.api("POST", "/event-types", version="2024-06-14", who="coach", json=body).json()


def _same_slug(house: Any) -> Any:
    body = {"title": "Intake", "slug": "session", "lengthInMinutes": 30}
    return house.api("POST", "/event-types", version="2024-06-14", who="coach", json=body).json()


def _no_length(house: Any) -> Any:
    return house.api("POST", "/event-types", version="2024-06-14", who="coach", json={"title": "Intake", "slug": "intake"}).json()


def _deleted_type(house: Any) -> Any:
    return house.api("DELETE", f"/event-types/{house.ids['session']}", version="2024-06-14", who="coach").json()


def _schedule(house: Any) -> Any:
    hours = {"days": ["Monday", "Wednesday"], "startTime": "09:00", "endTime": "17:00"}
    body = {"name": "Office", "timeZone": "Europe/Lisbon", "isDefault": True, "availability": [hours]}
    body["overrides"] = [{"date": "2027-02-24", "startTime": "13:00", "endTime": "15:00"}]
    return house.api("POST", "/schedules", version="2024-06-11", who="coach", json=body).json()


def _busy(house: Any) -> Any:
    house.control("POST", "/calcom/busy", {"email": "coach@demo.test", "start": "2026-12-02T11:00:00Z", "end": "2026-12-02T12:00:00Z"})
    query = {"dateFrom": "2026-12-02", "dateTo": "2026-12-02", "timeZone": "Europe/Berlin"}
    return house.api("GET", "/calendars/busy-times", who="coach", params=query).json()


def _hook(house: Any) -> Any:
    body = {"active": True, "subscriberUrl": "https://app.example/hooks", "triggers": ["BOOKING_CREATED"], "secret": "x"}
    answer = house.api("POST", "/webhooks", who="coach", json=body).json()
    assert answer["data"].pop("version") == "2021-10-20"  # newer servers add it
    return answer


def _same_hook(house: Any) -> Any:
    _hook(house)
    body = {"active": True, "subscriberUrl": "https://app.example/hooks", "triggers": ["BOOKING_CREATED"]}
    return house.api("POST", "/webhooks", who="coach", json=body).json()


def _platform(house: Any) -> dict[str, str]:
    body = {"clientId": "plat", "clientSecret": "top", "defaultEventTypes": True, "redirectUris": ["http://app.example"]}
    house.control("POST", "/calcom/platform-clients", body)
    return {"x-cal-secret-key": "top"}


def _managed(house: Any, **more: Any) -> Any:
    body = {"email": "nadia@clinic.example", "name": "Nadia", "timeZone": "Europe/Lisbon", "metadata": {"tenant": "t"}} | more
    return house.api("POST", "/oauth-clients/plat/users", headers=_platform(house), json=body).json()


def _managed_me(house: Any) -> Any:
    token = _managed(house)["data"]["accessToken"]
    return house.api("GET", "/me", headers={"Authorization": f"Bearer {token}"}).json()


def _managed_twice(house: Any) -> Any:
    _managed(house)
    return _managed(house)


def _managed_list(house: Any) -> Any:
    _managed(house)
    return house.api("GET", "/oauth-clients/plat/users", headers=_platform(house)).json()


def _managed_types(house: Any) -> Any:
    token = _managed(house)["data"]["accessToken"]
    return house.api("GET", "/event-types", version="2024-06-14", headers={"Authorization": f"Bearer {token}"}).json()


def _managed_refresh(token: str | None = None, secret: str = "top") -> Callable[[Any], Any]:
    def run(house: Any) -> Any:
        given = token or _managed(house)["data"]["refreshToken"]
        _platform(house)
        return house.api("POST", "/oauth/plat/refresh", headers={"x-cal-secret-key": secret}, json={"refreshToken": given}).json()

    return run


def _managed_expired(house: Any) -> Any:
    token = _managed(house)["data"]["accessToken"]
    house.sandbox.world.clock.shift(3601)
    return house.api("GET", "/me", headers={"Authorization": f"Bearer {token}"}).json()


def _lost_race(house: Any) -> Any:
    token = _managed(house)["data"]["refreshToken"]
    call = {"headers": {"x-cal-secret-key": "top"}, "json": {"refreshToken": token}}
    house.api("POST", "/oauth/plat/refresh", **call)
    house.sandbox.world.calcom.rotated[token] += 10  # as if it had gone while the next call was under way
    return house.api("POST", "/oauth/plat/refresh", **call).json()


CASES: dict[str, Callable[[Any], Any]] = {
    "api.booking.cancel.200.json": _cancelled_after_move,
    "api.booking.cancel.400-twice.json": _twice_cancelled,
    "api.booking.confirm.200.json": _confirmed_after_move,
    "api.booking.confirm.400-again.json": _again,
    "api.booking.confirm.401-stranger.json": _stranger,
    "api.booking.create.201.json": lambda house: house.book("2026-12-02T09:00:00Z", metadata={"case": "A-19"}).json(),
    "api.booking.create.400-past.json": lambda house: house.book("2026-11-30T09:00:00Z").json(),
    "api.booking.create.400-unavailable.json": lambda house: house.book("2026-12-02T03:00:00Z").json(),
    "api.booking.create.pending.201.json": lambda house: house.book("2026-12-02T09:00:00Z", "dive", metadata={"case": "A-19"}).json(),
    "api.booking.decline.200.json": _declined,
    "api.booking.get.404.json": lambda house: house.api("GET", "/bookings/unknown", version=V).json(),
    "api.booking.mark-absent.200.json": _absent,
    "api.booking.old-after-reschedule.200.json": _old,
    "api.booking.request-reschedule.200.json": lambda house: house.do(_fresh(house)["uid"], "request-reschedule", "coach").json(),
    "api.booking.reschedule.201.json": _moved,
    "api.booking.reschedule.400-already.json": _already,
    "api.booking.reschedule.400-cancelled.json": _move_cancelled,
    "api.booking.reschedule.403-notice.json": _move_too_late,
    "api.booking.reschedule.404-rejected.json": _move_rejected,
    "api.booking.reschedule.pending.201.json": _moved_pending,
    "api.bookings.list.2024-08-13.200.json": _list("2024-08-13"),
    "api.bookings.list.2026-05-01.200.json": _list("2026-05-01"),
    "api.busy-times.200.json": _busy,
    "api.calendars.empty.200.json": _get("/calendars"),
    "api.error.400-validation-list.json": _no_length,
    "api.error.400-validation-text.json": lambda house: house.move(_fresh(house)["uid"], "2026-12-02T10:00:00Z", end="x").json(),
    "api.error.400-zod.json": lambda house: house.move(_fresh(house)["uid"], "2026-12-02T10:00:00Z", rescheduledBy="x").json(),
    "api.error.401-client-secret.json": _managed_refresh("x", "wrong"),
    "api.error.401-invalid-api-key.json": lambda house: house.api("GET", "/me", headers={"Authorization": "Bearer cal_x"}).json(),
    "api.error.401-invalid-token.json": lambda house: house.api("GET", "/me", headers={"Authorization": "Bearer x"}).json(),
    "api.error.401-none.json": _get("/me", None),
    "api.error.403-no-auth.json": _get("/bookings", None, "2026-05-01"),
    "api.error.403-scope.json": _scope,
    "api.error.404-version.json": lambda house: house.api("GET", "/slots?eventTypeId=88&start=2027-02-15&end=2027-02-16").json(),
    "api.error.409-core.json": _conflict,
    "api.error.429.json": _too_many,
    "api.error.498.json": _managed_expired,
    "api.event-type.400-slug.json": _same_slug,
    "api.event-type.create.201.json": _event_type,
    "api.event-type.delete.200.json": _deleted_type,
    "api.event-types.default-managed.200.json": _managed_types,
    "api.managed-user.create.201.json": _managed,
    "api.managed-user.create.409.json": _managed_twice,
    "api.managed-user.get.404.json": lambda house: house.api("GET", "/oauth-clients/plat/users/99", headers=_platform(house)).json(),
    "api.managed-user.list.200.json": _managed_list,
    "api.me.200.json": _managed_me,
    "api.oauth2.client.200.json": _get("/auth/oauth2/clients/client"),
    "api.oauth2.token.200.json": lambda house: house.connect("coach"),
    "api.platform.refresh.200.json": _managed_refresh(),
    "api.platform.refresh.400.json": _managed_refresh("unknown"),
    "api.platform.refresh.404-race.json": _lost_race,
    "api.provider.200.json": lambda house: (_platform(house), house.api("GET", "/provider/plat").json())[1],
    "api.schedule.create.201.json": _schedule,
    "api.slot-reservation.201.json": _reservation,
    "api.slot-reservation.422.json": _reserved_twice,
    "api.slot-reservation.get-unknown.200.json": _get("/slots/reservations/unknown", None, "2024-09-04"),
    "api.slots.empty.200.json": _slots(start="2026-12-05", end="2026-12-05"),
    "api.slots.range.200.json": _slots(format="range", timeZone="America/Toronto"),
    "api.slots.time.200.json": _slots(timeZone="Europe/Lisbon"),
    "api.slots.unknown.404.json": _slots(eventTypeId=99999),
    "api.slots.utc.200.json": _slots(),
    "api.webhook.create.201.json": _hook,
    "api.webhook.create.409.json": _same_hook,
}
OURS_TO_CHOOSE = {"metadata", "constraints", "target"}  # their keys come from what was sent


def shape(value: Any) -> Any:
    """Keys at every depth; a list by its first entry, and a map of days by its first day."""
    if isinstance(value, dict):
        if value and all(re.fullmatch(r"\d{4}-\d\d-\d\d", name) for name in value):
            return {"<day>": shape(next(iter(value.values())))}
        return {name: ... if name in OURS_TO_CHOOSE else shape(inner) for name, inner in value.items() if name != "_headers"}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None if value is None else "value"


def loosely(value: Any) -> Any:
    """Null and a value are the same here: which of the two it is depends on the case."""
    if isinstance(value, dict):
        return {name: loosely(inner) for name, inner in value.items()}
    return [loosely(one) for one in value] if isinstance(value, list) else "leaf" if value != ... else ...


def masked(body: Any) -> str:
    """Without what differs from call to call: moments, paths, uids and ids."""
    text = json.dumps(body, sort_keys=True)
    text = re.sub(r'"(timestamp|path)": "[^"]*"', r'"\1"', text)
    text = re.sub(r"uid=\w{22}", "uid=U", text)
    text = re.sub(r"\b\w{22}\b", "U", text)
    return re.sub(r"ID=\d+", "ID=N", text)


FOUND = sorted(path.name for path in EXAMPLES.glob("api.*.json")) if EXAMPLES.is_dir() else []
REQUESTS = {
    "api.booking.create.request.json",
    "api.booking.reschedule.request.json",
    "api.oauth2.token.errors.json",
    "api.error.500-core.json",
}


def answers_look_like_the_example(house, name):
    expected = json.loads((EXAMPLES / name).read_text())
    actual = CASES[name](house)
    assert loosely(shape(actual)) == loosely(shape(expected))
    assert list(actual) == [key for key in expected if key in actual]
    if "error" in expected and not name.startswith(("api.error.404-version",)):
        expected.pop("_headers", None)
        actual.pop("_headers", None)
        assert masked(actual) == masked(expected)
    if "statusCode" in expected:
        assert actual == expected


WEBHOOKS = sorted(path.name for path in EXAMPLES.glob("webhook.*.json")) if EXAMPLES.is_dir() else []


def _cause(house: Any, name: str) -> None:
    kind = "dive" if name in {"booking_requested", "booking_rejected"} else "session"
    booking = house.booked("2026-12-02T09:00:00Z", kind, metadata={"case": "A-19"})
    if name == "booking_rescheduled":
        house.moved(booking["uid"], "2026-12-02T10:00:00Z", rescheduledBy="coach@demo.test", reschedulingReason="room change")
    elif name == "booking_cancelled":
        house.do(booking["uid"], "cancel", cancellationReason="ill")
    elif name == "booking_rejected":
        house.do(booking["uid"], "decline", "coach", reason="no capacity")
    elif name in {"meeting_started", "recording_ready"}:
        house.control("POST", "/calcom/events", {"bookingUid": booking["uid"], "event": name.upper()})


def deliveries_look_like_the_example(house, inbox, file):
    expected = json.loads((EXAMPLES / file).read_text())
    house.subscribe(inbox.url, [expected["triggerEvent"]], secret="x")
    _cause(house, file.removeprefix("webhook.").removesuffix(".json"))
    (letter,) = inbox.letters
    assert loosely(shape(letter.json)) == loosely(shape(expected))


if FOUND:  # where the examples are absent there are fewer tests
    answered = pytest.mark.parametrize("name", [name for name in FOUND if name not in REQUESTS])
    test_answers_look_like_the_example = answered(answers_look_like_the_example)
    test_deliveries_look_like_the_example = pytest.mark.parametrize("file", WEBHOOKS)(deliveries_look_like_the_example)
