"""What a line of the table found, and how it is printed and kept."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.rounds import Spread


@dataclass(frozen=True)
class Goal:
    """A bound for a ratio or a number, as in "at most 3"."""

    bound: float
    at_most: bool
    unit: str = "x"

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.bound:g}{_suffix(self.unit)}"


def at_most(bound: float, unit: str = "x") -> Goal:
    return Goal(bound, at_most=True, unit=unit)


def at_least(bound: float, unit: str = "x") -> Goal:
    return Goal(bound, at_most=False, unit=unit)


@dataclass(frozen=True)
class Finding:
    """One measured figure; without a goal it is there to be read beside the others."""

    what: str
    measured: Spread
    goal: Goal | None = None
    unit: str = "x"

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        return "met" if self.goal.met(self.measured.middle) else "NOT MET"

    def cells(self) -> tuple[str, str, str, str]:
        return self.what, str(self.goal or ""), f"{self.measured}{_suffix(self.unit)}", self.verdict


def _suffix(unit: str) -> str:
    return unit if unit in {"x", "%"} else f" {unit}".rstrip()


@dataclass(frozen=True)
class Curve:
    """A growth curve: series of (x, y) by name."""

    name: str
    title: str
    x: str
    y: str
    series: dict[str, list[tuple[float, float]]]
    log_x: bool = True
    log_y: bool = True


@dataclass
class Result:
    """Everything that one line found. `notes`: what a reader must know to read its figures."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)

    def add(self, what: str, measured: Spread, goal: Goal | None = None, unit: str = "x") -> None:
        self.findings.append(Finding(what, measured, goal, goal.unit if goal else unit))

    def kept(self) -> dict[str, Any]:
        rows = [
            {"what": f.what, "goal": str(f.goal or ""), **asdict(f.measured), "unit": f.unit, "verdict": f.verdict} for f in self.findings
        ]
        return {"findings": rows, "notes": self.notes, "details": self.details, "curves": [asdict(c) for c in self.curves]}


@dataclass(frozen=True)
class Line:
    """One line of the table: `run(quick)` measures it."""

    title: str
    run: Callable[[bool], Result]


def table(results: dict[str, Result]) -> str:
    """As Markdown: line, what, goal, measured with its spread, met or not."""
    rows = [("line", "what", "goal", "measured", "")]
    rows += [(name, *finding.cells()) for name, result in results.items() for finding in result.findings]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
