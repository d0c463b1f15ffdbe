"""Where things are. Everything that the benchmarks make lies under var/bench."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
HERE = ROOT / "var" / "bench"
RUN = HERE / "run"
"""Emptied at every start: databases, logs, plans. On the same disk as var/, which is where Convene's own database lies."""
PEERS = ROOT / "bench" / "peers"
PYTHON_PEERS = HERE / "python"
NODE_PEERS = HERE / "node"
PYTHON = sys.executable
