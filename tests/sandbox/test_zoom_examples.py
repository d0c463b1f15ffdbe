"""Zoom's answers and events beside the examples and the OpenAPI document, where these are at hand."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from zoom_house import SERVER, USER_APP

pytest_plugins = ["zoom_fixtures"]
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
EXAMPLES, DOCUMENT = SHARED / "examples" / "zoom", SHARED / "openapi" / "zoom.subset-2026.openapi.yaml"
INDEX: list[dict[str, Any]] = json.loads((EXAMPLES / "index.json").read_text()) if (EXAMPLES / "index.json").is_file() else []
SPEC: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text()) if DOCUMENT.is_file() else {}
INVITED = {"auto_recording": "cloud", "meeting_invitees": [{"email": "mentee@demo.test"}]}


def _recorded(zoom: Any) -> int:
    meeting = zoom.made(settings=INVITED)["id"]
    zoom.control("POST", f"/meetings/{meeting}/end", {"recording": True, "transcript": True})
    return meeting


def _started(zoom: Any) -> Any:
    meeting = zoom.made(settings=INVITED)["id"]
    zoom.control("POST", f"/meetings/{meeting}/start")
    return zoom.api("GET", f"/meetings/{meeting}")


def _missing_scope(zoom: Any) -> Any:
    zoom.control("POST", "/apps", USER_APP | {"scopes": ["user:read:user"]})
    return zoom.create("me", who="coach")


def _pending(zoom: Any) -> Any:
    zoom.control("POST", "/users", {"email": "new@demo.test", "name": "New", "status": "pending"})
    return zoom.create("new@demo.test")


def _expired(zoom: Any) -> Any:
    token = zoom.server_token()["access_token"]
    zoom.shift(3600)
    return zoom.api("GET", "/users/me", token=token)


def _too_many(limit: str, ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(zoom: Any) -> Any:
        zoom.control("PUT", "/limits", {limit: 1})
        ask(zoom)
        return ask(zoom)

    return run


def _listed(zoom: Any) -> Any:
    zoom.made(agenda="")
    return zoom.api("GET", "/users/coach@demo.test/meetings")


def _of_user(zoom: Any) -> Any:
    _recorded(zoom)
    return zoom.api("GET", "/users/coach@demo.test/recordings")


ANSWERS: dict[str, Callable[[Any], Any]] = {
    "s2s_token.200.json": lambda zoom: zoom.ask_token(grant_type="account_credentials", account_id="account-1"),
    "s2s_token_error_bad_client.400.json": lambda zoom: zoom.ask_token(SERVER | {"clientSecret": "no"}),
    "s2s_token_error_bad_account.400.json": lambda zoom: zoom.ask_token(grant_type="account_credentials", account_id="no"),
    "user_token.200.json": lambda zoom: zoom.exchange(zoom.code()),
    "user_token_error_invalid_grant.400.json": lambda zoom: zoom.refresh("x"),
    "oauth_revoke.200.json": lambda zoom: zoom.http.post("/zoom/web/oauth/revoke", data={"token": "x"}, auth=("app", "sss")),
    "create_meeting.201.json": lambda zoom: zoom.create(settings=INVITED),
    "get_meeting.200.json": lambda zoom: zoom.api("GET", f"/meetings/{zoom.made(settings=INVITED)['id']}"),
    "get_meeting_started.200.json": _started,
    "list_meetings.200.json": _listed,
    "recordings.200.json": lambda zoom: zoom.api("GET", f"/meetings/{_recorded(zoom)}/recordings?include_fields=download_access_token"),
    "recordings_none.404.json": lambda zoom: zoom.api("GET", "/meetings/84512345678/recordings"),
    "user_recordings.200.json": _of_user,
    "user_recordings_empty.200.json": lambda zoom: zoom.api("GET", "/users/coach@demo.test/recordings"),
    "error_invalid_token.401.json": lambda zoom: zoom.api("GET", "/users/me", token="x"),
    "error_expired_token.401.json": _expired,
    "error_missing_scope.400.json": _missing_scope,
    "error_validation.400.json": lambda zoom: zoom.create(settings={"auto_recording": "x"}),
    "error_bad_json.400.json": lambda zoom: zoom.api("POST", "/users/me/meetings", content=b"{"),
    "error_user_not_found.404.json": lambda zoom: zoom.api("GET", "/users/nobody@northwind-advising.example"),
    "error_meeting_not_found.404.json": lambda zoom: zoom.api("GET", "/meetings/84512345678"),
    "error_host_not_allowed.400.json": _pending,
    "error_rate_qps.429.json": _too_many("light", lambda zoom: zoom.api("GET", "/users/me")),
    "error_rate_daily.429.json": _too_many("dailyPerHost", lambda zoom: zoom.create()),
}


def _cause(zoom: Any) -> None:
    """Every event once."""
    meeting = zoom.made("me", who="coach", settings=INVITED)["id"]
    zoom.sandbox.settle()
    zoom.api("PATCH", f"/meetings/{meeting}", json={"start_time": "2026-12-04T10:00:00Z"})
    zoom.sandbox.settle()
    zoom.control("POST", f"/meetings/{meeting}/end", {"participants": [{"name": "Max"}]})
    zoom.api("DELETE", f"/meetings/{meeting}")
    zoom.control("POST", "/deauthorize", {"email": "coach@demo.test"})
    zoom.sandbox.settle()


def shape(value: Any) -> Any:
    """Keys at every depth with the kind of each value; lists of one kind by what they hold."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value]
    return type(value).__name__


def unordered(content: Any) -> Any:
    """Lists of files without their order, and play_url, which only some files have, at its place."""
    return json.loads(json.dumps(content, sort_keys=True))


def answers_look_like_the_example(zoom, case):
    expected = json.loads((EXAMPLES / case["file"]).read_text())
    answer = ANSWERS[case["file"]](zoom)
    assert answer.status_code == case["status"]
    actual = answer.json()
    assert shape(unordered(actual)) == shape(unordered(expected))
    if "errors" not in expected and (case["status"] >= 400 or case["file"].startswith("oauth")):
        assert actual == expected
    named = {name.lower() for name in case.get("headers", {})}
    assert {name for name in named if name not in answer.headers} == set()


def events_look_like_the_example(zoom, endpoint, case):
    expected = json.loads((EXAMPLES / case["file"]).read_text())
    zoom.listen(endpoint.url, USER_APP)
    if expected["event"] == "endpoint.url_validation":
        (letter,) = endpoint.challenges
        assert shape(letter.json) == shape(expected)
        return
    _cause(zoom)
    actual = endpoint.of(expected["event"])
    if expected["event"] == "meeting.created":
        assert actual["payload"].pop("operation") == "all"  # as the event's description has it
    assert shape(unordered(actual)) == shape(unordered(expected))


def _walk(zoom: Any) -> list[Any]:
    answers: list[Any] = []
    zoom.http.event_hooks["response"].append(lambda answer: (answer.read(), answers.append(answer)))
    for ask in ANSWERS.values():
        ask(zoom)
        zoom.http.put("/_sandbox/zoom/limits", json={"light": None, "dailyPerHost": 100})
        zoom.tokens.clear()
        zoom.http.post("/_sandbox/zoom/apps", json=USER_APP)
    meeting = zoom.made()["id"]
    zoom.api("PATCH", f"/meetings/{meeting}", json={"topic": "x"})
    zoom.api("PUT", f"/meetings/{meeting}/status", json={"action": "end"})
    zoom.api("DELETE", f"/meetings/{meeting}")
    return answers


def _loose(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: _loose(value) for name, value in schema.items() if name not in {"example", "format"}}
    return [_loose(one) for one in schema] if isinstance(schema, list) else schema


def every_answer_matches_the_document(zoom):
    parts = {"components": _loose(SPEC["components"])}
    checked, problems = set(), []
    for answer in _walk(zoom):
        path = answer.url.path.removeprefix("/zoom/api/v2").removeprefix("/zoom/web")
        for name, operations in SPEC["paths"].items():
            found = operations.get(answer.request.method.lower(), {}).get("responses", {}).get(str(answer.status_code))
            if found is None or not re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", name), path):
                continue
            checked.add((answer.request.method, name, answer.status_code))
            schema = found.get("content", {}).get("application/json", {}).get("schema")
            if schema is None:
                assert answer.content == b""
                continue
            validator = jsonschema.Draft202012Validator(parts | _loose(schema))
            problems += [f"{name}: {list(error.absolute_path)} {error.message[:200]}" for error in validator.iter_errors(answer.json())]
    assert problems == []
    succeeded = {(method, name) for method, name, status in checked if status < 300}
    everything = {(method.upper(), name) for name, operations in SPEC["paths"].items() for method in operations if method != "servers"}
    assert succeeded == everything


if INDEX:  # where the examples are absent there are fewer tests
    cases = [case for case in INDEX if case["role"] == "response"]
    test_answers_look_like_the_example = pytest.mark.parametrize("case", cases, ids=lambda case: case["file"])(
        answers_look_like_the_example
    )
    hooks = [case for case in INDEX if case["role"] == "webhook"]
    test_events_look_like_the_example = pytest.mark.parametrize("case", hooks, ids=lambda case: case["file"])(events_look_like_the_example)
if SPEC:
    test_every_answer_matches_the_document = every_answer_matches_the_document
