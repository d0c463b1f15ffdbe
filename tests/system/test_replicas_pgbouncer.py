"""A part of the suite once more, and two replicas under load, through PgBouncer in transaction mode with few connections."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Caller, Issuer, World
from postgres import FOLDER
from replicas import SKEWS, Fleet, FleetWorld, fleet_world_on, migrated, own_postgres
from replicas_pgbouncer import PgBouncer
from test_concurrent_moves import crowd, test_a_hundred_moves_at_once_put_nobody_in_two_places
from test_live_updates import alice, browsers, test_ten_tabs_see_a_change_that_another_process_made
from test_main_job import test_a_person_links_looks_and_moves_a_meeting
from test_replicas import run
from test_rotation import clara, test_one_exchange_serves_every_thread_of_every_process

from sandbox.app import Sandbox

__all__ = [
    "alice",
    "browsers",
    "clara",
    "crowd",
    "migrated",
    "own_postgres",
    "test_a_hundred_moves_at_once_put_nobody_in_two_places",
    "test_a_person_links_looks_and_moves_a_meeting",
    "test_one_exchange_serves_every_thread_of_every_process",
    "test_ten_tabs_see_a_change_that_another_process_made",
]
pytestmark = pytest.mark.long
POOL = 4
"""Far fewer than there are threads."""


@pytest.fixture(scope="module")
def pgbouncer(migrated: str, worker_id: str) -> Iterator[PgBouncer]:
    with PgBouncer(migrated, Path(os.environ[FOLDER]) / f"pgbouncer-{worker_id}", POOL) as running:
        yield running


@pytest.fixture(scope="module")
def database_url(pgbouncer: PgBouncer) -> Iterator[str]:
    """What `world` stands on here, instead of the two databases of the other tests."""
    yield pgbouncer.url
    assert 1 <= pgbouncer.most_used() <= POOL


@pytest.fixture
def pooled_world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[FleetWorld]:
    with fleet_world_on(database_url, issuer, shared_sandbox) as running:
        yield running


def test_replicas_share_few_connections(pooled_world: FleetWorld, database_url: str, tmp_path: Path) -> None:
    found = run(pooled_world, Fleet(pooled_world, database_url, tmp_path, SKEWS[:2]), tmp_path, seconds=10, every=8, rate=20)
    assert found["errorShare"] < 0.02, found
    assert found["kinds"]["move"]["answers"]["BookingRescheduled"] > 0, found


def test_the_world_here_is_a_pooled_one(world: World, database_url: str) -> None:
    assert Caller(world, "Clara", "clara@example.test", "UTC", {}).one("{ viewer { name } }") == {"name": "Clara"}
    assert world.rt.settings.database_url == database_url
