"""Body and query validation in Cal.com's two manners.

A rule takes the value and answers the reasons why it is refused, keyed by constraint. `listed` answers the global pipe's list
and drops unknown fields; `worded` answers one sentence and refuses unknown fields.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sandbox import times
from sandbox.calcom.errors import CalError
from sandbox.calcom.state import Json

Reasons = dict[str, str]
Rule = Callable[[str, Any], Reasons]
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True)
class Field:
    rule: Rule
    required: bool = False
    nested: "Mapping[str, Field] | None" = None


def text(name: str, value: Any) -> Reasons:
    return {} if isinstance(value, str) else {"isString": f"{name} must be a string"}


def boolean(name: str, value: Any) -> Reasons:
    return {} if isinstance(value, bool) else {"isBoolean": f"{name} must be a boolean value"}


def obj(name: str, value: Any) -> Reasons:
    return {} if isinstance(value, dict) else {"isObject": f"{name} must be an object"}


def array(name: str, value: Any) -> Reasons:
    return {} if isinstance(value, list) else {"isArray": f"{name} must be an array"}


def anything(name: str, value: Any) -> Reasons:
    del name, value
    return {}


def at_least(minimum: int, maximum: int = 10_000_000) -> Rule:
    """A whole number; the upper bound is ours, so that no arithmetic with minutes can overflow."""

    def rule(name: str, value: Any) -> Reasons:
        if not isinstance(value, int) or isinstance(value, bool):
            return {"min": f"{name} must not be less than {minimum}", "isInt": f"{name} must be an integer number"}
        if value < minimum:
            return {"min": f"{name} must not be less than {minimum}"}
        return {} if value <= maximum else {"max": f"{name} must not be greater than {maximum}"}

    return rule


def one_of(*allowed: Any) -> Rule:
    def rule(name: str, value: Any) -> Reasons:
        fine = any(value == known for known in allowed)
        return {} if fine else {"isEnum": f"{name} must be one of the following values: {', '.join(map(str, allowed))}"}

    return rule


def email(name: str, value: Any) -> Reasons:
    return {} if is_email(value) else {"isEmail": f"{name} must be an email"}


def emails(name: str, value: Any) -> Reasons:
    fine = isinstance(value, list) and all(is_email(one) for one in value)
    return {} if fine else {"isEmail": f"each value in {name} must be an email"}


def url(name: str, value: Any) -> Reasons:
    fine = isinstance(value, str) and urlsplit(value).scheme in {"http", "https"}
    return {} if fine else {"isUrl": f"{name} must be a URL address"}


def time_zone(name: str, value: Any) -> Reasons:
    return {} if times.zone(value) else {"isTimeZone": f"{name} must be a valid IANA time-zone"}


def moment(name: str, value: Any) -> Reasons:
    try:
        times.parse(value)
    except (ValueError, TypeError):
        return {"isDateString": f"{name} must be a valid ISO 8601 date string"}
    return {}


def edge(name: str, value: Any) -> Reasons:
    try:
        times.parse_edge(value, end=False)
    except (ValueError, TypeError):
        return {"isDateString": f"{name} must be a valid ISO 8601 date string"}
    return {}


def number_text(name: str, value: Any) -> Reasons:
    return (
        {}
        if str(value).isdecimal() and len(str(value)) < 8
        else {"isNumber": f"{name} must be a number conforming to the specified constraints"}
    )


def is_email(value: Any) -> bool:
    return isinstance(value, str) and _MAIL.fullmatch(value) is not None


def listed(body: Json, fields: Mapping[str, Field], *, keep_null: bool = False) -> Json:
    """The known fields of the body, or 400 with `details.errors[]`. An optional null counts as not sent."""
    errors = []
    for name, reasons, _ in _problems(body, fields):
        entry: Json = {"target": body}
        if name in body:
            entry["value"] = body[name]
        errors.append(entry | {"property": name, "children": [], "constraints": reasons})
    if errors:
        raise CalError(400, "Bad Request Exception", details={"errors": errors})
    return {name: value for name, value in body.items() if name in fields and (keep_null or value is not None)}


def worded(body: Json, fields: Mapping[str, Field]) -> Json:
    """The body, or 400 with the sentence `"<p> property is wrong,<reason> , …"`."""
    sentence = _sentence(body, fields)
    if sentence:
        raise CalError(400, sentence)
    return {name: value for name, value in body.items() if value is not None}


def _sentence(body: Json, fields: Mapping[str, Field]) -> str:
    unknown = [(name, {"whitelistValidation": f"property {name} should not exist"}, "") for name in body if name not in fields]
    found = [*unknown, *_problems(body, fields)]
    return ", ".join(f"{name} property is wrong,{', '.join(reasons.values())} {nested}" for name, reasons, nested in found)


def _problems(body: Json, fields: Mapping[str, Field]) -> list[tuple[str, Reasons, str]]:
    found = []
    for name, known in fields.items():
        value = body.get(name)
        if value is None and not known.required:
            continue
        reasons, nested = known.rule(name, value), ""
        if known.nested is not None and isinstance(value, dict):
            nested = _sentence(dict(value), known.nested)
        if reasons or nested:
            found.append((name, reasons, nested))
    return found
