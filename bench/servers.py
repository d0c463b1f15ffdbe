"""Server processes: started on a free port of loopback, measured through /proc, ended with this process."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from bench.places import PYTHON, ROOT, RUN, TESTS

PR_SET_PDEATHSIG = 1
PATIENCE = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """A command that listens on `port`, given to it as $PORT; with its children it is one server."""

    def __init__(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self.name, self._command, self._environment = name, command, environment or {}
        self.port = free_port()

    def __enter__(self) -> Self:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("CONVENE_")}
        own = {"PORT": str(self.port), "PYTHONPATH": f"{ROOT}:{TESTS}", **self._environment}
        self._log = (RUN / f"{self.name.replace(' ', '-')}.log").open("wb")
        self._process = subprocess.Popen(
            [str(part) for part in self._command],
            cwd=RUN,
            env={**clean, **own},
            stdout=self._log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads are running yet that it could harm
        )
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError(f"{self.name} did not start:\n{Path(self._log.name).read_text()[-3000:]}")

    def cpu_seconds(self) -> float:
        """User and system time of the process and all its living descendants, in steps of a hundredth."""
        return sum(_cpu(pid) for pid in _family(self._process.pid))


def gunicorn(name: str, application: str, *, workers: int = 2, environment: Mapping[str, str] | None = None) -> Server:
    """In our environment, with so many processes of threads and without a scheduler."""
    return Server(name, [PYTHON, "-m", "gunicorn", *_plain(workers), application], environment)


def _plain(workers: int) -> list[str]:
    return ["-c", str(ROOT / "bench" / "gunicorn_plain.py"), "-w", str(workers)]


def gunicorn_of(python: Path, name: str, application: str, folder: Path, environment: Mapping[str, str]) -> Server:
    """The same server in another environment."""
    return Server(name, [python, "-m", "gunicorn", *_plain(2), "--pythonpath", folder, application], {**environment, "PYTHONPATH": ""})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
