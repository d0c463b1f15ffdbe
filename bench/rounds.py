"""Rounds side by side: A B, then B A, and so on, so that a slow minute of the machine hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, and the lowest and the highest of them."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return _short(self.middle)
        return f"{_short(self.middle)} ({_short(self.low)} to {_short(self.high)})"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Of the same rounds: each round gives one ratio."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def side_by_side(rounds: int, subjects: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """What each subject measured in each round; every other round goes backwards."""
    found: dict[str, list[T]] = {name: [] for name in subjects}
    for number in range(rounds):
        order = list(subjects) if number % 2 == 0 else list(subjects)[::-1]
        for name in order:
            found[name].append(subjects[name]())
    return found


def seconds_per_call(call: Callable[[], object], seconds: float) -> float:
    """The median time of one call, of as many as fit into `seconds` (three at least)."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def timed(call: Callable[[], object], seconds: float) -> Callable[[], float]:
    """`seconds_per_call`, ready for `side_by_side`."""
    return lambda: seconds_per_call(call, seconds)
