"""Rate limits: per key, client, token or IP; a window of 60 s, then a block of 60 s; told in `-Default` headers."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import g, request

from sandbox.calcom.auth import bearer
from sandbox.calcom.context import now, state, world
from sandbox.calcom.errors import CalError

MINUTE = timedelta(seconds=60)
TOO_MANY = "CustomThrottlerGuard - Too many requests. Please try again later."


@dataclass
class Window:
    ends: datetime
    used: int = 0
    blocked_until: datetime | None = None


def check() -> None:
    """Counts the request; raises 429 when it is one too many. Runs before authentication: an unknown API key ends here."""
    key, limit = _tracker()
    with world().lock:
        moment, windows = now(), state().windows
        window = windows.get(key)
        if window is None or _over(window, moment):
            window = windows[key] = Window(moment + MINUTE)
        window.used += 1
        if window.used > limit and window.blocked_until is None:
            window.blocked_until = moment + MINUTE
        until = window.blocked_until or window.ends
        left = math.ceil((until - moment).total_seconds())
        g.limit_headers = {
            "X-RateLimit-Limit-Default": str(limit),
            "X-RateLimit-Remaining-Default": str(max(0, limit - window.used)),
            "X-RateLimit-Reset-Default": str(left),
        }
    if window.blocked_until is not None:
        raise CalError(429, TOO_MANY, "ThrottlerException", TOO_MANY)


def _over(window: Window, moment: datetime) -> bool:
    return moment >= (window.blocked_until or window.ends)


def _tracker() -> tuple[str, int]:
    known, token = state(), bearer()
    if token is not None and token.startswith("cal_"):
        if token not in known.api_keys:
            raise CalError(401, "CustomThrottlerGuard - Invalid API Key")
        return f"api_key_{token}", known.limits["anonymous"]
    if token is not None:
        return f"token_{token}", known.limits["token"]
    client = request.headers.get("x-cal-client-id")
    if client:
        return f"client_{client}", known.limits["token"]
    return f"ip_{request.remote_addr}", known.limits["anonymous"]
