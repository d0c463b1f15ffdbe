"""What the control face takes."""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox import times
from sandbox.zoom import scopes
from sandbox.zoom.errors import invalid
from sandbox.zoom.limits import PLANS
from sandbox.zoom.rows import Json
from sandbox.zoom.state import SWITCHES

Rule = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_text, value))


def _scopes(value: Any) -> bool:
    return _texts(value) and all(one in scopes.ALL for one in value)


def _people(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and _text(one.get("name")) for one in value)


def _one_of(*allowed: Any) -> Rule:
    return lambda value: any(value == one and type(value) is type(one) for one in allowed)


APP: Mapping[str, Rule] = {
    "clientId": _text,
    "clientSecret": _text,
    "accountId": _text,
    "redirectUris": _texts,
    "scopes": _scopes,
    "name": _text,
    "webhookUrl": _text,
    "secretToken": _text,
}
USER: Mapping[str, Rule] = {
    "email": lambda value: _text(value) and "@" in value,
    "name": _text,
    "timeZone": lambda value: times.zone(value) is not None,
    "plan": _one_of(*PLANS),
    "status": _one_of("active", "pending"),
    "accountId": _text,
}
START: Mapping[str, Rule] = {"participants": _people}
END: Mapping[str, Rule] = {
    "participants": _people,
    "recording": _one_of(True, False, "later"),
    "transcript": _one_of(True, False, "later"),
    "twice": _boolean,
}
REMOVAL: Mapping[str, Rule] = {"email": _text, "clientId": _text}
TOKENS = REMOVAL
VALIDATION: Mapping[str, Rule] = {"clientId": _text, "due": _boolean}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "badClientStatus": (400, 401),
    "missingScopeStatus": (400, 401),
    "invalidGrant": ("invalid_request", "invalid_grant"),
    "pastStart": ("keep", "now"),
}


def read(given: Json, rules: Mapping[str, Rule], *needed: str) -> Json:
    """The body without nulls, or 400 with the names that are unknown, missing or wrong."""
    found = {name: value for name, value in given.items() if value is not None}
    bad = [name for name, value in found.items() if name not in rules or not rules[name](value)]
    bad += [name for name in needed if name not in found]
    if bad:
        raise invalid(*bad)
    return found


def limit(name: str, value: Any) -> bool:
    """Those per second may be null: the plan's."""
    if value is None:
        return name in {"light", "medium"}
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def switch(name: str, value: Any) -> bool:
    return name in SWITCHES and _one_of(*_CHOICES.get(name, (True, False)))(value)
