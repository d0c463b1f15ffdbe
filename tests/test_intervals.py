"""Sweeps over spans of minutes, against going through every minute by itself."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from services.intervals import Span, covering, free_of, merged, minute

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTES = st.integers(0, 120)
SPANS = st.lists(st.tuples(MINUTES, MINUTES), max_size=12)
OFFSETS = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=OFFSETS)


def minutes_of(spans: list[Span]) -> set[int]:
    """Every minute that any of them takes."""
    return {taken for start, end in spans for taken in range(start, end)}


@given(SPANS)
def test_merging_keeps_every_minute_and_adds_none(spans: list[Span]) -> None:
    assert minutes_of(merged(spans)) == minutes_of(spans)


@given(SPANS)
def test_merged_spans_are_ascending_and_neither_empty_nor_overlapping_nor_touching(spans: list[Span]) -> None:
    found = merged(spans)
    edges = [edge for span in found for edge in span]
    assert edges == sorted(set(edges))


@given(SPANS)
def test_merging_once_more_changes_nothing_and_the_order_does_not_matter(spans: list[Span]) -> None:
    assert merged(merged(spans)) == merged(spans) == merged(reversed(spans))


@given(st.sets(MINUTES), st.integers(1, 40), SPANS)
def test_a_start_is_free_when_each_of_its_minutes_is(starts: set[int], length: int, spans: list[Span]) -> None:
    taken = minutes_of(spans)
    expected = [start for start in sorted(starts) if taken.isdisjoint(range(start, start + length))]
    assert free_of(sorted(starts), length, merged(spans)) == expected


def test_what_ends_when_the_next_begins_leaves_it_free() -> None:
    assert free_of([0, 10, 20, 30], 10, [(10, 20)]) == [0, 20, 30]
    assert free_of([9, 11, 19, 21], 10, [(10, 20)]) == [21]
    assert free_of([], 10, [(10, 20)]) == []
    assert free_of([5], 10, []) == [5]


@given(MOMENTS)
def test_a_minute_is_counted_from_the_epoch_whatever_the_zone(at: datetime) -> None:
    begins = EPOCH + timedelta(minutes=minute(at))
    assert begins <= at < begins + timedelta(minutes=1)


@given(MOMENTS, st.timedeltas(timedelta(microseconds=1), timedelta(days=3)))
def test_covering_are_the_whole_minutes_that_are_touched_and_no_more(start: datetime, length: timedelta) -> None:
    end = start + length
    first, behind = covering(start, end)
    assert EPOCH + timedelta(minutes=first) <= start < EPOCH + timedelta(minutes=first + 1)
    assert EPOCH + timedelta(minutes=behind - 1) < end <= EPOCH + timedelta(minutes=behind)


def test_covering_at_the_edges_of_a_minute() -> None:
    ten = datetime(2027, 3, 1, 10, tzinfo=UTC)
    whole = minute(ten)
    assert covering(ten, ten + timedelta(minutes=30)) == (whole, whole + 30)
    assert covering(ten + timedelta(seconds=59), ten + timedelta(minutes=1, microseconds=1)) == (whole, whole + 2)
    assert covering(ten - timedelta(microseconds=1), ten + timedelta(seconds=1)) == (whole - 1, whole + 1)
