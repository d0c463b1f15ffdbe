"""`scripts/bench [NAME ...] [--quick] [--list]`: runs lines of the table, prints it, writes var/bench.json and the curves."""

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
import warnings
from typing import Any

from bench import install
from bench.places import HERE, ROOT, RUN, TESTS

LINES = {
    "page": ("bench.page_memory", "bookings page, in-memory source"),
    "database": ("bench.page_database", "bookings page with the database"),
    "slots": ("bench.slots", "slots of two people"),
    "webhook": ("bench.webhook", "webhook receive, SQLite and PostgreSQL"),
    "refresh": ("bench.refresh", "refresh under load"),
    "intake": ("bench.intake", "webhook intake at 200/s"),
    "growth": ("bench.growth", "growth curves"),
}
"""By name: the module whose `run(quick)` measures it, and what it is."""


def main() -> None:
    arguments = _arguments()
    if arguments.list:
        print("\n".join(f"{name:10} {title}" for name, (_, title) in LINES.items()))
        return
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    # the application keeps its development key under var/ of where it runs
    (RUN / "var").mkdir()
    os.chdir(RUN)
    sys.path.insert(0, str(TESTS))
    warnings.simplefilter("ignore")
    _run(arguments.names or list(LINES), quick=arguments.quick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="The benchmarks: ratios measured side by side in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(LINES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="shorter rounds: rough figures")
    parser.add_argument("--list", action="store_true", help="say what there is")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(LINES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(LINES)}")
    return arguments


def _run(names: list[str], *, quick: bool) -> None:
    from bench import machine, report  # noqa: PLC0415 - they import ours, which reads the folder it is started in

    about = machine.describe()
    results: dict[str, Any] = {}
    broken: list[str] = []
    for name in names:
        began = time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            results[name] = importlib.import_module(LINES[name][0]).run(quick)
        except Exception:  # noqa: BLE001 - the other lines are measured all the same
            traceback.print_exc()
            broken.append(name)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        _keep(about, results, quick=quick)
    print(f"\n{report.table(results)}\n")
    for name, result in results.items():
        for note in result.notes:
            print(f"{name}: {note}")
    print(f"\nMeasured on: {machine.summary(about)}{' (quick)' if quick else ''}")
    print(f"All of it: {(HERE.parent / 'bench.json').relative_to(ROOT)}")
    if any(result.curves for result in results.values()):
        subprocess.run([install.python(), ROOT / "bench" / "plots.py", HERE.parent / "bench.json", HERE], check=True)
    if broken:
        sys.exit(f"Not measured, see above: {', '.join(broken)}")


def _keep(about: dict[str, Any], results: dict[str, Any], *, quick: bool) -> None:
    kept = {"machine": about, "quick": quick, "lines": {name: result.kept() for name, result in results.items()}}
    (HERE.parent / "bench.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
