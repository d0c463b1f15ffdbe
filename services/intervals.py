"""Sweeps over sorted integer intervals: [start, end) in minutes since the epoch. No time zones, no days, no database."""

from collections.abc import Iterable, Sequence
from datetime import datetime

Span = tuple[int, int]


def minute(at: datetime) -> int:
    """The minute that a moment lies in."""
    return int(at.timestamp()) // 60


def covering(start: datetime, end: datetime) -> Span:
    """Whole minutes around it: what is taken is rather taken for a moment longer."""
    return minute(start), -(-int(end.timestamp() + (1 if end.microsecond else 0)) // 60)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same minutes in ascending spans that neither overlap nor touch."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def widened(spans: Iterable[Span], before: int, after: int) -> list[Span]:
    """What a slot that needs `before` free minutes ahead of it and `after` behind it must not meet."""
    return merged((start - after, end + before) for start, end in spans)


def meets(slot: Span, spans: Iterable[Span]) -> bool:
    return any(start < slot[1] and slot[0] < end for start, end in spans)


def within(starts: Sequence[int], length: int, open_: Sequence[Span]) -> list[int]:
    """Those of the ascending starts whose [start, start + length) lies wholly in one of the merged open spans; one pass."""
    found, position = [], 0
    for start in starts:
        while position < len(open_) and open_[position][1] < start + length:
            position += 1
        if position < len(open_) and open_[position][0] <= start:
            found.append(start)
    return found


def free_of(starts: Sequence[int], length: int, busy: Sequence[Span]) -> list[int]:
    """Those of the ascending starts whose [start, start + length) meets none of the merged busy spans; one pass over both."""
    found, position = [], 0
    for start in starts:
        while position < len(busy) and busy[position][1] <= start:
            position += 1
        if position == len(busy) or busy[position][0] >= start + length:
            found.append(start)
    return found
