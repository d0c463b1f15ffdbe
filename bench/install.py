"""The peers, installed for the benchmarks alone: by name, from the package indexes that this machine uses."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from bench.places import NODE_PEERS, PYTHON_PEERS

SAME_AS_OURS = ("flask", "gunicorn", "orjson")
PYTHON_PACKAGES = ("ariadne", "matplotlib")
NODE_PACKAGES = ("graphql", "graphql-yoga", "mercurius", "fastify")


def python() -> Path:
    """An interpreter that has Ariadne and matplotlib, and of the servers what Convene itself runs on."""
    wanted = [*PYTHON_PACKAGES, *(f"{name}=={version(name)}" for name in SAME_AS_OURS)]
    interpreter, stamp = PYTHON_PEERS / "bin" / "python", PYTHON_PEERS / ".stamp"
    if not stamp.exists() or stamp.read_text() != " ".join(wanted):
        print("Installing the Python peers under var/bench/python (once) ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", PYTHON_PEERS], check=True)
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
        stamp.write_text(" ".join(wanted))
    return interpreter


def node() -> bool:
    """Whether graphql-yoga and mercurius can be run; without Node, or when npm gets nothing, it says so."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        print("There is no Node here: graphql-yoga and mercurius are left out.", file=sys.stderr)
        return False
    stamp = NODE_PEERS / ".stamp"
    if not stamp.exists():
        print("Installing the Node peers under var/bench/node (once) ...", file=sys.stderr)
        NODE_PEERS.mkdir(parents=True, exist_ok=True)
        (NODE_PEERS / "package.json").write_text(json.dumps({"private": True}))
        run = subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent", *NODE_PACKAGES], cwd=NODE_PEERS, check=False)
        if run.returncode:
            print("npm could not install them: graphql-yoga and mercurius are left out.", file=sys.stderr)
            return False
        stamp.write_text(" ".join(NODE_PACKAGES))
    return True
