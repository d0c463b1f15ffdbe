"""Rate limits: per second and account for all its apps together, by label and plan; per day for free accounts; per host and day.

A frozen clock never reaches the next second. There the limits per second count only when they were set by hand
(`PUT /_sandbox/zoom/limits`).
"""

from datetime import UTC, datetime, time, timedelta

from flask import g

from sandbox import times
from sandbox.zoom.context import now, state, world
from sandbox.zoom.errors import ZoomError
from sandbox.zoom.rows import HostDay, Meeting

PLANS = ("basic", "pro", "business")
PER_SECOND = {"basic": {"Light": 4, "Medium": 2}, "pro": {"Light": 30, "Medium": 20}, "business": {"Light": 80, "Medium": 60}}
PER_DAY = {"basic": {"Light": 6000, "Medium": 2000}}
SECOND = "You have reached the maximum per-second rate limit for this API. Try again later."
DAY = (
    "You have reached the maximum daily rate limit for this API. "
    "Refer to the response header for details on when you can make another request."
)


def check(account_id: str, label: str) -> None:
    """Counts the request; raises 429 when it is one too many."""
    with world().lock:
        moment, plan = now(), _plan(account_id)
        by_hand = state().limits[label.lower()]
        limit = by_hand or PER_SECOND[plan][label]
        second = moment.replace(microsecond=0)
        used = 1 if by_hand is None and world().clock.describe()["frozen"] else _count(f"{account_id} {label}", second)
        daily = PER_DAY.get(plan, {}).get(label)
        if daily is not None and _count(f"{account_id} {label} day", second.replace(hour=0, minute=0, second=0)) > daily:
            raise day_over(label, daily)
    tell(label, "QPS", limit, limit - used)
    if used > limit:
        g.limit_headers["X-RateLimit-Reset"] = str(int((second + timedelta(seconds=1)).timestamp()))
        raise ZoomError(429, 429, SECOND)


def _plan(account_id: str) -> str:
    """The account's plan is the best that one of its users has."""
    return max((user.plan for user in state().members(account_id)), key=PLANS.index, default="pro")


def _count(key: str, window: datetime) -> int:
    begun, used = state().windows.get(key, (window, 0))
    used = used + 1 if begun == window else 1
    state().windows[key] = window, used
    return used


def tell(label: str, kind: str, limit: int, remaining: int) -> None:
    g.limit_headers = {
        "X-RateLimit-Category": label,
        "X-RateLimit-Type": kind,
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(max(0, remaining)),
    }


def day_over(label: str, limit: int) -> ZoomError:
    """`Retry-After` is a date-time here, not a number of seconds: the next midnight in UTC."""
    tell(label, "Daily-limit", limit, 0)
    midnight = datetime.combine(now().date() + timedelta(days=1), time(0), UTC)
    g.limit_headers["Retry-After"] = times.seconds(midnight)
    return ZoomError(429, 429, DAY)


def spend_host_day(host: str, label: str) -> None:
    """A hundred creations and updates per host and UTC day, whatever app makes them; a deletion gives nothing back."""
    limit = state().limits["dailyPerHost"] or 0
    day = HostDay(host, now().date().isoformat())
    day = state().host_days.get(day.key) or day
    if day.count >= limit:
        raise day_over(label, limit)
    day.count += 1
    state().host_days.add(day)


def check_patch(meeting: Meeting) -> None:
    """A hundred updates of one meeting in 24 hours; the answer is documented only for other daily limits [?]."""
    limit = state().limits["patchPerMeeting"] or 0
    meeting.patched = [moment for moment in meeting.patched if moment > now() - timedelta(hours=24)]
    if len(meeting.patched) >= limit:
        raise day_over("Light", limit)
