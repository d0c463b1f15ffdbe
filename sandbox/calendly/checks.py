"""Reading of queries and bodies: everything that is wrong is told at once, in `details`. The texts are ours [?]."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sandbox import times
from sandbox.calendly.errors import ApiError
from sandbox.calendly.setting import Setting

_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_WHOLE = re.compile(r"-?[0-9]{1,9}")
MISSING, INVALID = "is missing", "is invalid"


def is_email(value: object) -> bool:
    return isinstance(value, str) and _MAIL.fullmatch(value) is not None


class Given:
    """What a caller sent. Each reader answers the value or None; `finish` raises when anything was wrong."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self._problems: list[tuple[str, str]] = []

    def wrong(self, name: str, text: str = INVALID) -> None:
        self._problems.append((name, text))

    def finish(self) -> None:
        if self._problems:
            raise ApiError(400, details=[{"parameter": name, "message": text} for name, text in self._problems])

    def _value(self, name: str, *, required: bool) -> Any:
        value = self.values.get(name)
        if required and value in (None, ""):
            self.wrong(name, MISSING)
        return None if value == "" else value

    def one_of(self, *names: str) -> None:
        """At least one of them must be there; the first is named."""
        if not any(self.values.get(name) for name in names):
            self.wrong(names[0], MISSING)

    def text(self, name: str, *, required: bool = False, longest: int = 10_000) -> str | None:
        value = self._value(name, required=required)
        if value is None:
            return None
        if not isinstance(value, str) or (required and not value.strip()):
            self.wrong(name, "must be a string")
        elif len(value) > longest:
            self.wrong(name, f"length must be within 0 - {longest}")
        else:
            return value
        return None

    def choice(self, name: str, allowed: Collection[Any], *, required: bool = False) -> Any:
        value = self._value(name, required=required)
        if value is not None and (isinstance(value, dict | list) or value not in allowed):
            self.wrong(name, f"must be one of: {', '.join(map(str, allowed))}")
            return None
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """A number, or a query's digits."""
        value = self._value(name, required=False)
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong(name, "must be an integer")
        elif value < low:
            self.wrong(name, f"must be greater than or equal to {low}")
        elif value > high:
            self.wrong(name, f"must be less than or equal to {high}")
        else:
            return value
        return None

    def flag(self, name: str) -> bool | None:
        value = self._value(name, required=False)
        known = {"true": True, "false": False}
        if isinstance(value, str):
            value = known.get(value, value)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, "must be boolean")
            return None
        return value

    def email(self, name: str, *, required: bool = False) -> str | None:
        value = self._value(name, required=required)
        if value is not None and not is_email(value):
            self.wrong(name, "must be a valid email")
            return None
        return str(value) if value is not None else None

    def zone(self, name: str, *, required: bool = False) -> str | None:
        value = self._value(name, required=required)
        if value is not None and times.zone(value) is None:
            self.wrong(name, "must be a valid time zone")
            return None
        return str(value) if value is not None else None

    def moment(self, name: str, *, required: bool = False) -> datetime | None:
        value = self._value(name, required=required)
        if value is None:
            return None
        try:
            return times.parse(value)
        except (ValueError, TypeError):
            self.wrong(name, "must be a valid ISO 8601 date-time")
            return None

    def listed(self, name: str) -> list[Any]:
        value = self._value(name, required=False)
        if value is not None and not isinstance(value, list):
            self.wrong(name, "must be an array")
            return []
        return list(value or [])

    def resource(self, setting: Setting, name: str, kind: str, *, required: bool = False) -> str | None:
        """The id inside a URI of that kind."""
        value = self._value(name, required=required)
        if value is None:
            return None
        found = setting.id_in(value, kind)
        if found is None:
            self.wrong(name)
        return found
