"""One database per worker, one sandbox per worker, one Convene per test; all over real HTTP on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from harness import Issuer, World, clean

from models.base import connect, db
from models.migrate import migrate
from sandbox.app import Sandbox


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_between_retries() -> None:
    """Retries keep their number and lose their pauses."""
    stamina.set_testing(True, attempts=3, cap=True)


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("database") / "convene.db"
    url = f"sqlite:///{path}"
    connect(url)
    migrate()
    db.close_all()
    return url


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[World]:
    """A fresh Convene beside a fresh sandbox, at Monday 2027-03-01 08:00 UTC."""
    shared_sandbox.reset()
    with World(database_url, issuer, shared_sandbox) as running:
        clean()
        yield running
