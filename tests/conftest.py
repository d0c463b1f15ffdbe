"""One database of each kind per worker, one sandbox per worker, one Convene per test; all over real HTTP on loopback.

Whatever stands on `world` runs twice: on SQLite and on a PostgreSQL server that comes as a wheel, listens on a socket
file only and ends with the run.
"""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest
import stamina
from harness import Issuer, World, serving
from keeping import Ways
from postgres import FOLDER, Postgres
from werkzeug.serving import BaseWSGIServer

from models.base import connect, db
from models.migrate import migrate
from sandbox.app import Sandbox

MEMORY, ENOUGH = Path("/dev/shm"), 4 * 2**30

# without its bytecode each worker compiles all tests anew, ten seconds each, and each process that a test starts the product
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_configure(config: pytest.Config) -> None:
    """The workers share one PostgreSQL server; the folder of all databases is made and removed by the process that starts them.

    In memory where there is room: every commit is flushed here as in production, and a disk would take its time.
    """
    if not hasattr(config, "workerinput"):
        roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="convene-tests-", dir=MEMORY if roomy else None)
        # nothing here speaks TLS, and reading all certificates costs each new HTTP client twenty milliseconds
        os.environ.pop("SSL_CERT_FILE", None)
        os.environ["SSL_CERT_DIR"] = os.environ[FOLDER]


BOTH_DATABASES = {"test_concurrent_moves", "test_crashes", "test_main_job", "test_migrations", "test_rotation", "test_tokens"}
"""About transactions, locks and claims: a quick run has these on both databases, each test of the others on one, by its name."""
ON_POSTGRESQL = 4
"""One of so many of the others is on PostgreSQL, where each statement takes its way to another process and back."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What `scripts/test` without arguments leaves to `--system`, where everything runs on both databases."""
    if "CONVENE_TESTS_QUICK" not in os.environ:
        return
    kept, left = [], []
    for item in items:
        callspec = getattr(item, "callspec", None)
        database = callspec.params.get("new_database") if callspec and item.path.stem not in BOTH_DATABASES else None
        name = item.nodeid.replace(str(database), "")
        chosen = "sqlite" if crc32(name.encode()) % ON_POSTGRESQL else "postgresql"
        (kept if database in {None, chosen} else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def pytest_collection_finish() -> None:
    """What is there by now stays: Python need not look through all types and tests for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_between_retries() -> None:
    """Retries keep their number and lose their pauses."""
    stamina.set_testing(True, attempts=3, cap=True)


@pytest.fixture(scope="session")
def postgres(worker_id: str) -> Iterator[Postgres]:
    """A running server, in which this worker makes its databases."""
    with Postgres(Path(os.environ[FOLDER]) / "data", worker_id) as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes an empty database of one kind and answers its address."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tempfile.mkdtemp(prefix='database-', dir=os.environ[FOLDER])}/convene.db"
    made: Callable[[], str] = request.getfixturevalue("postgres").create
    return made


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[], str]) -> str:
    """A migrated database of this worker."""
    url = new_database()
    connect(url)
    migrate()
    db.close_all()
    return url


@pytest.fixture
def fresh_database(new_database: Callable[[], str], database_url: str) -> Iterator[str]:
    """An empty database of the same kind for one test, to which the models are bound."""
    db.close_all()
    url = new_database()
    connect(url)
    yield url
    db.close_all()
    connect(database_url)


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def door() -> Iterator[BaseWSGIServer]:
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def ways(door: BaseWSGIServer) -> Ways:
    return Ways(door)


@pytest.fixture
def world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, ways: Ways) -> Iterator[World]:
    """A fresh Convene beside a fresh sandbox, at Monday 2027-03-01 08:00 UTC."""
    shared_sandbox.reset()
    with World(database_url, issuer, shared_sandbox, ways=ways) as running:
        yield running
