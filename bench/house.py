"""A Convene of the benchmarks' own: its environment, its database, its application in this process."""

import base64
import json
import logging as standard_logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import settings
from app import DEVELOPMENT_KEY, Convene, assemble
from bench.places import RUN
from bench.servers import free_port
from models.base import connect, db
from models.migrate import migrate
from services import identity, logging

SEALING_KEY = "bench:" + base64.b64encode(bytes(32)).decode()
WORKER = {"BENCH_WORKER": "routes.worker.Worker"}
"""Gunicorn's worker class of Convene (gunicorn.conf.py), which the peers do without."""
NOWHERE = "http://127.0.0.1:1"
"""Providers that are never called."""


def environment(database_url: str, calcom: str = NOWHERE) -> dict[str, str]:
    """What a process of this installation is started with."""
    return {
        "CONVENE_DEVELOPMENT": "1",
        "CONVENE_DATABASE_URL": database_url,
        "CONVENE_PUBLIC_URL": f"http://127.0.0.1:{free_port()}",
        "CONVENE_SEALING_KEYS": SEALING_KEY,
        "CONVENE_CALCOM_CLIENT_ID": "bench",
        "CONVENE_CALCOM_CLIENT_SECRET": "only-for-benchmarks",
        "CONVENE_CALCOM_API_URL": calcom,
        "CONVENE_CALCOM_APP_URL": calcom,
        # one caller stands for many here
        "CONVENE_REQUESTS_PER_USER": "0",
        "CONVENE_REQUESTS_PER_ADDRESS": "0",
        "CONVENE_QUERY_COST": "0",
    }


def sqlite(name: str) -> str:
    return f"sqlite:///{RUN / name}.db"


def prepare(database_url: str) -> None:
    connect(database_url)
    migrate()
    db.close_all()


@contextmanager
def convene(variables: dict[str, str]) -> Iterator[Convene]:
    """The installation's services in this process; its database is migrated and has nothing in it yet."""
    prepare(variables["CONVENE_DATABASE_URL"])
    loaded, providers = settings.load({**os.environ, **variables})
    log_to_file()
    made = assemble(loaded, providers)
    try:
        yield made
    finally:
        made.rt.transport.close()
        db.close_all()


def log_to_file() -> None:
    """Log lines cost what they cost in a server, and do not get in the way of the table."""
    logging.configure("INFO")
    handler = standard_logging.getLogger().handlers[0]
    if isinstance(handler, standard_logging.StreamHandler):
        handler.setStream((RUN / "convene.log").open("a"))


def token(made: Convene, email: str) -> str:
    """A token of the installation's own issuer for one of its demo people."""
    person = next(one for one in made.rt.demo_people if one.email == email)
    key: dict[str, Any] = json.loads(DEVELOPMENT_KEY.read_text())
    return identity.development_token(key, made.rt.clock, person)[0]
