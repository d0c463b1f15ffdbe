"""Availability rules: `{type: wday|date, wday|date, intervals: [{from, to}]}`, HH:MM in the schedule's own time zone."""

import re
from datetime import date
from typing import Any

from sandbox.calendly.availability import WEEKDAYS
from sandbox.calendly.rows import Json

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00")
WEEK = ("sunday", *WEEKDAYS[:6])


def problem(rules: Any, today: date, *, whole_week: bool) -> str | None:
    """What is wrong with a list of rules; `whole_week` wants each of the seven days exactly once."""
    if not isinstance(rules, list) or any(not _well_formed(rule) for rule in rules):
        return "must be a list of rules with a wday or a date and intervals"
    days = [rule["wday"] for rule in rules if rule["type"] == "wday"]
    if whole_week and sorted(days) != sorted(WEEKDAYS):
        return "must have exactly one rule for each day of the week"
    if any(date.fromisoformat(rule["date"]) < today for rule in rules if rule["type"] == "date"):
        return "date must not be in the past"
    return None


def _well_formed(rule: Any) -> bool:
    if not isinstance(rule, dict) or rule.get("type") not in ("wday", "date") or not isinstance(rule.get("intervals"), list):
        return False
    named = {"wday": rule.get("wday") in WEEKDAYS, "date": _is_date(rule.get("date"))}
    return bool(named.get(rule["type"])) and all(_is_interval(one) for one in rule["intervals"])


def _is_date(value: Any) -> bool:
    try:
        return bool(date.fromisoformat(value).isoformat() == value)
    except (ValueError, TypeError):
        return False


def _is_interval(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    begin, end = str(value.get("from")), str(value.get("to"))
    return bool(_CLOCK.fullmatch(begin) and _CLOCK.fullmatch(end)) and begin < end


def plain(rules: list[Json]) -> list[Json]:
    """Only the documented keys."""
    return [
        {
            "type": rule["type"],
            rule["type"]: rule[rule["type"]],
            "intervals": [{"from": i["from"], "to": i["to"]} for i in rule["intervals"]],
        }
        for rule in rules
    ]


def nine_to_five() -> list[Json]:
    """Monday to Friday."""
    open_days = set(WEEKDAYS[:5])
    return [{"type": "wday", "wday": day, "intervals": [{"from": "09:00", "to": "17:00"}] if day in open_days else []} for day in WEEK]
