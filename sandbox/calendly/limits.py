"""Rate limits: windows that begin with the first request, told in headers whose Reset is seconds and not a moment."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import g

from sandbox.calendly.context import setting, state, world
from sandbox.calendly.rows import Organization, User

MINUTE, HOUR, DAY = 60, 3600, 86400


class TooManyError(Exception):
    """429; its body is not documented [?], so that clients must live without one."""


@dataclass
class Window:
    ends: datetime
    used: int = 0


@dataclass(frozen=True)
class Bucket:
    key: str
    limit: int
    seconds: int
    tier: str


def general(key: str, organization: Organization | None) -> None:
    limits = state().limits
    tier = organization.tier if organization else ""
    limit = limits["generalFree"] if tier == "free" else limits["general"]
    take([Bucket(key, limit, MINUTE, tier)])


def token(user: User) -> None:
    """Token requests of one user, whatever the app [?]."""
    tier = state().organizations[user.organization_id].tier
    take([Bucket(f"token:{user.id}", state().limits["token"], MINUTE, tier)])


def invitees(user: User) -> None:
    """Bookings through the API. The number for Free is not published [?]; refused attempts count as well [?]."""
    limits, tier = state().limits, state().organizations[user.organization_id].tier
    sizes = {
        "trial": [("trialPerDay", DAY)],
        "free": [("freePerDay", DAY)],
        "paid": [("paidPerMinute", MINUTE), ("paidPerHour", HOUR), ("paidPerDay", DAY)],
        "enterprise": [("enterprisePerMinute", MINUTE)],
    }
    shown = g.get("limit_headers")
    take([Bucket(f"{name}:{user.id}", limits[name], seconds, tier) for name, seconds in sizes[tier]])
    g.limit_headers = shown  # the narrower limit is only told when it refuses


def take(buckets: list[Bucket]) -> None:
    """Counts one request in all of them, or in none and raises when one is full."""
    with world().lock:
        windows = [_window(bucket) for bucket in buckets]
        for bucket, window in zip(buckets, windows, strict=True):
            if window.used >= bucket.limit:
                _tell(bucket, window)
                raise TooManyError
        for bucket, window in zip(buckets, windows, strict=True):
            window.used += 1
            _tell(bucket, window)


def _window(bucket: Bucket) -> Window:
    now, windows = setting().now, state().windows
    window = windows.get(bucket.key)
    if not isinstance(window, Window) or window.ends <= now:
        window = windows[bucket.key] = Window(now + timedelta(seconds=bucket.seconds))
    return window


def _tell(bucket: Bucket, window: Window) -> None:
    left = math.ceil((window.ends - setting().now).total_seconds())
    g.limit_headers = {
        "X-RateLimit-Limit": str(bucket.limit),
        "X-RateLimit-Remaining": str(max(0, bucket.limit - window.used)),
        "X-RateLimit-Reset": str(left),
    }
    if bucket.tier:
        g.limit_headers |= {"X-RateLimit-Tier": bucket.tier, "X-RateLimit-Key": bucket.key}
