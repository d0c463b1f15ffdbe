"""Every 2xx answer of a long walk through the API, checked against the OpenAPI document where it is at hand."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema

DOCUMENT = Path(__file__).resolve().parents[2].parent / "shared" / "openapi" / "calcom-v2.patched-2026-09.json"
SPEC: dict[str, Any] = json.loads(DOCUMENT.read_text()) if DOCUMENT.is_file() else {}
OLD = ("/v2/organizations", "/v2/teams")
# Where the document contradicts what was measured, the measured shape wins (the sheet, sections 5 and 8).
KNOWN_TO_BE_WRONG = {"GET /v2/slots/reservations/{uid}", "GET /v2/calendars"}


def _loose(schema: Any) -> Any:
    """`nullable` as JSON Schema knows it; a bare `object` says nothing in this document; oneOf of look-alikes is any of them."""
    if isinstance(schema, list):
        return [_loose(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {("anyOf" if name == "oneOf" else name): _loose(value) for name, value in schema.items() if name not in {"example", "format"}}
    if made.get("type") == "object" and "properties" not in made and "additionalProperties" not in made:
        made.pop("type")
    if made.pop("nullable", False):
        return {"anyOf": [made, {"type": "null"}]}
    return made


def _corrected(schemas: dict[str, Any]) -> dict[str, Any]:
    """The document against the observed examples: nulls it forgets, days as a list, HH:MM, seats that are off."""
    loose = {name: _loose(schema) for name, schema in schemas.items()}
    for name in ("UserWebhookOutputDto", "EventTypeWebhookOutputDto", "OAuthClientWebhookOutputDto"):
        loose[name]["properties"]["payloadTemplate"] = {}
    loose["BookingOutput_2024_08_13"]["properties"]["rating"] = {}
    loose["BookingOutput_2024_08_13"]["properties"]["rescheduledByEmail"] = {}
    loose["ScheduleAvailabilityInput_2024_06_11"] = loose["ScheduleOverrideInput_2024_06_11"] = {}
    loose["EventTypeOutput_2024_06_14"]["properties"] |= {
        name: {} for name in ("recurrence", "users", "bookingWindow", "bookingFields", "seats")
    }
    return loose


def _operations() -> list[tuple[str, str, Any]]:
    found = []
    for path, operations in SPEC.get("paths", {}).items():
        pattern = re.sub(r"\{[^}]+\}", r"[^/]+", path)
        for method, operation in operations.items():
            if path.startswith(OLD) or not isinstance(operation, dict):
                continue
            for status, answer in operation.get("responses", {}).items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema")
                if status.startswith("2") and schema:
                    found.append((f"{method.upper()} {path}", f"{method.upper()} {status} {pattern}", schema))
    return sorted(found, key=lambda one: one[1].count("[^/]+"))


def _walk(house: Any) -> list[Any]:
    answers = []
    house.http.event_hooks["response"].append(lambda answer: (answer.read(), answers.append(answer)))
    ids = house.ids
    for version in ("2024-06-14", "2026-06-12"):
        house.api("GET", "/event-types", version=version, who="coach")
    house.api("GET", f"/event-types/{ids['session']}", version="2024-06-14", who="coach")
    house.api("PATCH", f"/event-types/{ids['session']}", version="2024-06-14", who="coach", json={"description": "new"})
    house.api("GET", "/me", who="coach")
    house.api("PATCH", "/me", who="coach", json={"bio": "x"})
    schedule = {"name": "Other", "timeZone": "Europe/Berlin", "isDefault": False}
    made = house.api("POST", "/schedules", version="2024-06-11", who="coach", json=schedule).json()["data"]
    for path in ("/schedules", "/schedules/default", f"/schedules/{made['id']}"):
        house.api("GET", path, version="2024-06-11", who="coach")
    house.api("PATCH", f"/schedules/{made['id']}", version="2024-06-11", who="coach", json={"name": "y"})
    house.api("DELETE", f"/schedules/{made['id']}", version="2024-06-11", who="coach")
    house.slots(timeZone="Europe/Berlin", format="range")
    reservation = {"eventTypeId": ids["session"], "slotStart": "2026-12-03T09:00:00Z"}
    uid = house.api("POST", "/slots/reservations", version="2024-09-04", json=reservation).json()["data"]["reservationUid"]
    house.api("DELETE", f"/slots/reservations/{uid}", version="2024-09-04")
    first = house.booked("2026-12-02T09:00:00Z", guests=["g@demo.test"])
    second = house.moved(first["uid"], "2026-12-02T10:00:00Z", reschedulingReason="why")
    for part in ("", "/attendees", "/calendar-links", "/references"):
        house.api("GET", f"/bookings/{second['uid']}{part}", version="2026-02-25", who="coach")
    house.do(second["uid"], "guests", "coach", guests=[{"email": "h@demo.test"}])
    house.do(second["uid"], "attendees", "coach", name="I", email="i@demo.test", timeZone="Europe/Paris")
    place = {"location": {"type": "address", "address": "Here 1"}}
    house.api("PATCH", f"/bookings/{second['uid']}/location", version="2026-02-25", who="coach", json=place)
    house.do(house.booked("2026-12-03T09:00:00Z", "dive")["uid"], "confirm", "coach")
    house.do(house.booked("2026-12-03T11:00:00Z", "dive")["uid"], "decline", "coach")
    house.do(house.booked("2026-12-03T13:00:00Z")["uid"], "request-reschedule", "coach")
    house.do(second["uid"], "cancel")
    house.api("GET", "/bookings", version="2026-05-01", who="coach")
    hook = house.subscribe("http://127.0.0.1:9/a", ["BOOKING_CREATED"])
    house.api("GET", "/webhooks", who="coach")
    house.api("PATCH", f"/webhooks/{hook['id']}", who="coach", json={"active": False})
    house.api("DELETE", f"/webhooks/{hook['id']}", who="coach")
    path = f"/event-types/{ids['session']}/webhooks"
    hook = house.subscribe("http://127.0.0.1:9/a", ["BOOKING_CREATED"], path=path)
    house.api("GET", path, who="coach")
    house.api("GET", f"{path}/{hook['id']}", who="coach")
    house.api("DELETE", path, who="coach")
    house.api("GET", "/calendars/busy-times", who="coach", params={"dateFrom": "2026-12-01", "dateTo": "2026-12-05", "timeZone": "UTC"})
    house.api("GET", "/calendars", who="coach")
    house.api("GET", "/auth/oauth2/clients/client", who="coach")
    house.api("GET", "/allowlists")
    house.refresh(house.connect("coach")["refresh_token"])
    house.control("POST", "/calcom/platform-clients", {"clientId": "plat", "clientSecret": "top"})
    secret, person = {"x-cal-secret-key": "top"}, {"email": "n@clinic.example", "name": "N", "timeZone": "Europe/Lisbon"}
    user = house.api("POST", "/oauth-clients/plat/users", headers=secret, json=person).json()["data"]
    house.api("GET", "/oauth-clients/plat/users", headers=secret)
    one = f"/oauth-clients/plat/users/{user['user']['id']}"
    house.api("GET", one, headers=secret)
    house.api("POST", f"{one}/force-refresh", headers=secret)
    house.api("DELETE", one, headers=secret)
    return answers


def every_answer_matches_the_document(house):
    operations = _operations()
    schemas = {"components": {"schemas": _corrected(SPEC["components"]["schemas"])}}
    checked, problems = set(), []
    for answer in _walk(house):
        path = answer.url.path.removeprefix("/calcom")
        if not path.startswith("/v2/") or answer.status_code >= 300:
            assert answer.status_code < 300 or answer.status_code == 302, answer.text
            continue
        asked = f"{answer.request.method} {answer.status_code} {path}"
        name, _, schema = next(one for one in operations if re.fullmatch(one[1], asked))
        if name in KNOWN_TO_BE_WRONG:
            continue
        checked.add(name)
        validator = jsonschema.Draft202012Validator(schemas | _loose(schema))
        problems += [f"{name}: {list(error.absolute_path)} {error.message[:200]}" for error in validator.iter_errors(answer.json())]
    assert problems == []
    assert len(checked) >= 45


if SPEC:  # where the document is absent there is one test less
    test_every_answer_matches_the_document = every_answer_matches_the_document
