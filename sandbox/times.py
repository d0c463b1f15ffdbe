"""Reading and spelling of moments. The sandbox keeps every moment as an aware UTC datetime with milliseconds."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def cut(moment: datetime) -> datetime:
    """The moment in UTC, cut to milliseconds as JavaScript servers keep it, so that reading it back gives the same value."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def parse(text: str) -> datetime:
    """An ISO date-time; one without an offset is UTC. Raises ValueError for anything else, a bare date included."""
    if len(text) <= len("2026-01-01"):
        raise ValueError(f"not a date-time: {text}")
    moment = datetime.fromisoformat(text)
    return cut(_sane(moment if moment.tzinfo else moment.replace(tzinfo=UTC)))


def _sane(moment: datetime) -> datetime:
    """Years that arithmetic can go on from."""
    if not 1900 <= moment.year < 3000:
        raise ValueError(f"not a year to book in: {moment.year}")
    return moment


def parse_edge(text: str, *, end: bool) -> datetime:
    """A date or a date-time; a date means the first or the last second of that UTC day."""
    if len(text) == len("2026-01-01"):
        edge = time(23, 59, 59) if end else time(0)
        return _sane(datetime.combine(date.fromisoformat(text), edge, UTC))
    return parse(text)


def millis(moment: datetime) -> str:
    """`2026-12-07T09:00:00.000Z`."""
    return cut(moment).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(moment: datetime) -> str:
    """`2026-12-07T09:00:00Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def plus_zero(moment: datetime) -> str:
    """`2026-12-07T09:00:00+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def local(moment: datetime, zone: ZoneInfo) -> str:
    """`2026-12-07T03:00:00.000-05:00`."""
    return moment.astimezone(zone).isoformat(timespec="milliseconds")


def offset_minutes(moment: datetime, zone_name: str) -> int:
    offset = moment.astimezone(ZoneInfo(zone_name)).utcoffset() or timedelta()
    return int(offset.total_seconds() // 60)


def zone(name: object) -> ZoneInfo | None:
    """The zone of that name, or None when there is none."""
    if not isinstance(name, str) or not name or name.startswith(("/", ".")):
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None
