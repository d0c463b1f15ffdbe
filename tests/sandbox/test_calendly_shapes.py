"""Calendly's answers and deliveries against the examples and the OpenAPI document, where they are at hand.

Of an example every key at every depth must be there, and error bodies word for word. Elsewhere there are no cases here.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from calendly_house import GINA, furnished

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
EXAMPLES = SHARED / "examples" / "calendly"
DOCUMENT = SHARED / "openapi" / "calendly.subset-2026.openapi.yaml"
SPEC: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text()) if DOCUMENT.is_file() else {}
START = "2026-12-02T09:00:00Z"
DAY = {"start_time": "2026-12-02T00:00:00Z", "end_time": "2026-12-03T00:00:00Z"}
KIND = {
    "name": "Full",
    "description": "A talk.",
    "duration_options": [30, 45],
    "locations": [{"kind": "zoom_conference"}],
    "questions": [{"name": "Which?", "type": "single_select", "required": True, "answer_choices": ["a"], "include_other": True}, "More?"],
    "buffers": {"before": 15, "after": 15},
}
NEW = {"name": "Review", "duration": 45, "duration_options": [45], "description": "x", "locations": [{"kind": "zoom_conference"}]}
RULES = [{"type": "date", "date": "2026-12-24", "intervals": []}]


@pytest.fixture
def calendly(sandbox):
    for house in furnished(sandbox):
        house.person("full", eventTypes=[KIND])
        house.person("helper", organization="full@demo.test")
        yield house


def ask(house: Any, method: str, path: str, **more: Any) -> Any:
    answer = house.api(method, path, who="full", **more)
    return answer.json() if answer.content else None


def book(house: Any, start: str = START, **more: Any) -> Any:
    answers = {"Which?": "a", "More?": "b"}
    body = {"eventType": house.kind("Full", "full"), "start": start, "invitee": GINA, "answers": answers, "guests": ["g@demo.test"]}
    made = house.control("POST", "/bookings", body | more)
    house.forward(5)
    return made


def invite(house: Any, **more: Any) -> Any:
    sent = {"name": "Gina", "email": "gina@demo.test", "timezone": "UTC"}
    rows = [{"question": "Which?", "answer": "a", "position": 0}, {"question": "More?", "answer": "b", "position": 1}]
    body = {"event_type": house.kind("Full", "full"), "start_time": START, "invitee": sent, "location": {"kind": "zoom_conference"}}
    return ask(house, "POST", "/invitees", json=body | {"questions_and_answers": rows} | more)


def invite_legacy(house: Any) -> Any:
    house.switch(legacyInviteeAnswer=True)
    return invite(house)


def cancel(house: Any) -> Any:
    return ask(house, "POST", book(house)["event"]["uri"] + "/cancellation", json={"reason": "ill"})


def cancel_twice(house: Any) -> Any:
    event = book(house)["event"]["uri"]
    ask(house, "POST", event + "/cancellation")
    return ask(house, "POST", event + "/cancellation")


def canceled_event(house: Any) -> Any:
    event = book(house, guests=[])["event"]["uri"]
    ask(house, "POST", event + "/cancellation")
    return ask(house, "GET", event)


def events(house: Any) -> Any:
    book(house)
    return ask(house, "GET", "/scheduled_events", params={"user": house.user("full"), "count": 1})


def busy(house: Any) -> Any:
    book(house)
    house.control("POST", "/busy", {"email": "full@demo.test", "start": "2026-12-02T13:00:00Z", "end": "2026-12-02T14:00:00Z"})
    return ask(house, "GET", "/user_busy_times", params={"user": house.user("full"), **DAY})


def broken_calendar(house: Any) -> Any:
    house.switch(brokenCalendars=["full@demo.test"])
    return ask(house, "GET", "/user_busy_times", params={"user": house.user("full"), **DAY})


def first_page(house: Any) -> Any:
    house.api("POST", "/event_types", who="full", json=NEW | {"owner": house.user("full")})
    return ask(house, "GET", "/event_types", params={"user": house.user("full"), "count": 1})


def new_type(house: Any) -> Any:
    return ask(house, "POST", "/event_types", json=NEW | {"owner": house.user("full")})


def changed_type(house: Any) -> Any:
    return ask(house, "PATCH", new_type(house)["resource"]["uri"], json={"active": True})


def schedules(house: Any) -> Any:
    return ask(house, "GET", "/user_availability_schedules", params={"user": house.user("full")})


def absent(house: Any) -> Any:
    return ask(house, "POST", "/invitee_no_shows", json={"invitee": book(house)["invitee"]["uri"]})


def subscribe(house: Any, url: str = "http://127.0.0.1:9/x", *names: str) -> Any:
    body = {"url": url, "events": list(names) or ["invitee.created"], "organization": house.organization("full"), "scope": "user"}
    return ask(house, "POST", "/webhook_subscriptions", json=body | {"user": house.user("full")})


def subscriptions(house: Any) -> Any:
    subscribe(house)
    params = {"organization": house.organization("full"), "scope": "user", "user": house.user("full")}
    return ask(house, "GET", "/webhook_subscriptions", params=params)


def link(house: Any) -> Any:
    return ask(
        house, "POST", "/scheduling_links", json={"max_event_count": 1, "owner": house.kind("Full", "full"), "owner_type": "EventType"}
    )


def no_scope(house: Any) -> Any:
    return house.api("POST", "/webhook_subscriptions", token=house.connect("full", "users:read")["access_token"], json={}).json()


def limited(house: Any) -> Any:
    house.control("PUT", "/limits", {"general": 0})
    return ask(house, "GET", "/users/me")


def members(house: Any) -> Any:
    return ask(house, "GET", "/organization_memberships", params={"organization": house.organization("full")})


def introspect(house: Any, *, alive: bool = True) -> Any:
    token = house.connect("full")["access_token"] if alive else "unknown"
    body = {"client_id": "app", "client_secret": "shh", "token": token}
    return house.http.post("/calendly/auth/oauth/introspect", data=body).json()


def revoke(house: Any) -> Any:
    return house.http.post("/calendly/auth/oauth/revoke", data={"client_id": "app", "client_secret": "shh", "token": "x"}).json()


def available(house: Any, **change: str) -> Any:
    return ask(house, "GET", "/event_type_available_times", params={"event_type": house.kind("Full", "full"), **DAY} | change)


def type_schedules(house: Any) -> Any:
    return ask(house, "GET", "/event_type_availability_schedules", params={"event_type": house.kind("Full", "full")})


def stale(house: Any) -> Any:
    return ask(house, "GET", "/event_types", params={"user": house.user("full"), "page_token": "old"})


def invitees(house: Any) -> Any:
    return ask(house, "GET", book(house)["event"]["uri"] + "/invitees")


CASES: dict[str, Callable[[Any], Any]] = {
    "cancellation.201.json": cancel,
    "create_invitee.201.json": invite,
    "create_invitee.legacy_2025-10.201.json": invite_legacy,
    "error_400_available_times_past.json": lambda house: available(
        house, start_time="2026-11-30T00:00:00Z", end_time="2026-12-01T00:00:00Z"
    ),
    "error_400_invalid_argument.json": lambda house: ask(house, "GET", "/event_types", params={"count": 101}),
    "error_400_stale_page_token.json": stale,
    "error_401_unauthenticated.json": lambda house: house.api("GET", "/users/me", who=None).json(),
    "error_403_event_already_canceled.json": cancel_twice,
    "error_403_insufficient_scope.json": no_scope,
    "error_403_permission_denied.json": lambda house: ask(house, "GET", house.user("mia")),
    "error_404_not_found.json": lambda house: ask(house, "GET", "/users/unknown"),
    "error_409_webhook_exists.json": lambda house: [subscribe(house), subscribe(house)][1],
    "error_424_external_calendar.json": broken_calendar,
    "error_429_rate_limited.json": limited,
    "event_type.200.json": lambda house: ask(house, "GET", house.kind("Full", "full")),
    "event_type_availability_schedules.200.json": type_schedules,
    "event_type_available_times.200.json": available,
    "event_type_create.201.json": new_type,
    "event_type_update.200.json": changed_type,
    "event_types_list_page1.200.json": first_page,
    "invitee.200.json": lambda house: ask(house, "GET", book(house)["invitee"]["uri"]),
    "invitee_no_show.201.json": absent,
    "invitees_list.200.json": invitees,
    "oauth_error_invalid_client.401.json": lambda house: house.token_call({"grant_type": "refresh_token"}, "app:x").json(),
    "oauth_error_invalid_grant.400.json": lambda house: house.refresh("x").json(),
    "oauth_error_invalid_request.400.json": lambda house: house.token_call({}).json(),
    "oauth_introspect_active.200.json": introspect,
    "oauth_introspect_inactive.200.json": lambda house: introspect(house, alive=False),
    "oauth_revoke.200.json": revoke,
    "oauth_token_authorization_code.200.json": lambda house: house.connect("full"),
    "oauth_token_refresh.200.json": lambda house: house.refresh(house.connect("full")["refresh_token"]).json(),
    "organization.200.json": lambda house: ask(house, "GET", house.organization("full")),
    "organization_memberships.200.json": members,
    "scheduled_event.200.json": lambda house: ask(house, "GET", book(house)["event"]["uri"]),
    "scheduled_event_canceled.200.json": canceled_event,
    "scheduled_events_list.200.json": events,
    "scheduling_link.201.json": link,
    "user_availability_schedule.200.json": lambda house: ask(house, "GET", schedules(house)["collection"][0]["uri"]),
    "user_availability_schedules.200.json": schedules,
    "user_busy_times.200.json": busy,
    "users_me.200.json": lambda house: ask(house, "GET", "/users/me"),
    "webhook_subscription_create.201.json": subscribe,
    "webhook_subscriptions_list.200.json": subscriptions,
}


def shape(value: Any) -> Any:
    """Keys at every depth; a list by its first entry. Null and a value are the same, since that depends on the case."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value and isinstance(value[0], dict) else "list"
    return "leaf"


def loosely(expected: Any, actual: Any) -> list[str]:
    """Where the two differ; what is empty on one side says nothing about the other."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        missing = [f"{name}" for name in expected.keys() ^ actual.keys()]
        return missing + [f"{name}.{found}" for name in expected.keys() & actual.keys() for found in loosely(expected[name], actual[name])]
    if isinstance(expected, list) and isinstance(actual, list):
        return [f"[].{found}" for found in loosely(expected[0], actual[0])]
    return []


def answers_look_like_the_example(calendly, name):
    expected, actual = json.loads((EXAMPLES / name).read_text()), CASES[name](calendly)
    assert loosely(shape(expected), shape(actual)) == []
    if "error" in name:
        assert actual == expected


def _told(house: Any, inbox: Any, cause: Callable[[Any], Any], event: str) -> Any:
    subscribe(house, inbox.url, event)
    cause(house)
    house.settle()
    return inbox.letters[-1].json


DELIVERIES: dict[str, Callable[[Any], Any]] = {
    "webhook_invitee.created.json": book,
    "webhook_invitee.canceled_by_host.json": cancel,
    "webhook_invitee_no_show.created.json": absent,
    "webhook_event_type.created.json": new_type,
    "webhook_event_type.updated.json": changed_type,
}


def deliveries_look_like_the_example(calendly, inbox, name):
    expected = json.loads((EXAMPLES / name).read_text())
    actual = _told(calendly, inbox, DELIVERIES[name], expected["event"])
    assert loosely(shape(expected), shape(actual)) == []


# ---- the document ---------------------------------------------------------------------------------------------------


def _plain(schema: Any) -> Any:
    """`nullable` as JSON Schema knows it, also for what is referred to."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _plain(value) for name, value in schema.items() if name not in {"example", "format"}}
    return {"anyOf": [made, {"type": "null"}]} if made.pop("nullable", False) is True else made


def _walk(house: Any) -> list[Any]:
    answers: list[Any] = []
    house.http.event_hooks["response"].append(lambda answer: (answer.read(), answers.append(answer)))
    for name, case in sorted(CASES.items()):
        if name in {"error_429_rate_limited.json", "create_invitee.legacy_2025-10.201.json", "oauth_token_refresh.200.json"}:
            continue
        house.sandbox.world.calendly.events.clear()
        house.sandbox.world.calendly.subscriptions.clear()
        house.switch(brokenCalendars=[])
        house.forward(61)
        case(house)
    mark = absent(house)["resource"]["uri"]
    ask(house, "GET", mark)
    ask(house, "DELETE", mark)
    ask(house, "GET", house.user("full"))
    hook = subscribe(house, "http://127.0.0.1:9/y")["resource"]["uri"]
    ask(house, "GET", hook)
    ask(house, "DELETE", hook)
    params = {"event_type": house.kind("Full", "full")}
    ask(
        house, "PATCH", "/event_type_availability_schedules", params=params, json={"availability_rule": {"timezone": "UTC", "rules": RULES}}
    )
    params = {"organization": house.organization("full"), "scope": "user", "user": house.user("full"), "event": "invitee.created"}
    ask(house, "GET", "/sample_webhook_data", params=params)
    return answers


def _schema(method: str, path: str, status: int) -> tuple[str, Any] | None:
    """Fewest blanks first: /users/me before /users/{uuid}."""
    for known, operations in sorted(SPEC["paths"].items(), key=lambda one: one[0].count("{")):
        if method.lower() in operations and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", known), path):
            content = operations[method.lower()]["responses"][str(status)].get("content", {})
            return f"{method} {known}", content.get("application/json", {}).get("schema", True)
    return None


def every_answer_matches_the_document(calendly):
    parts = {"components": _plain(SPEC["components"])}
    checked, problems = set(), []
    for answer in _walk(calendly):
        path = re.sub(r"^/calendly/(api|auth)", "", answer.url.path)
        found = _schema(answer.request.method, path, answer.status_code) if path != answer.url.path else None
        if found is None or not answer.content:
            continue
        checked.add(found[0])
        validator = jsonschema.Draft202012Validator(parts | _plain(found[1] if isinstance(found[1], dict) else {}))
        problems += [f"{found[0]}: {list(error.absolute_path)} {error.message[:200]}" for error in validator.iter_errors(answer.json())]
    assert problems == []
    assert len(checked) >= 29


if EXAMPLES.is_dir():  # where the examples are absent there are fewer tests
    test_answers_look_like_the_example = pytest.mark.parametrize("name", sorted(CASES))(answers_look_like_the_example)
    test_deliveries_look_like_the_example = pytest.mark.parametrize("name", sorted(DELIVERIES))(deliveries_look_like_the_example)
if SPEC:
    test_every_answer_matches_the_document = every_answer_matches_the_document
