"""A database of each kind: SQLite on this disk, PostgreSQL from the wheel."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import house


@contextmanager
def both(name: str) -> Iterator[dict[str, str]]:
    """Addresses of new databases by kind. PostgreSQL keeps its files where the user that it runs as can reach them."""
    from postgres import Postgres  # noqa: PLC0415 - of the tests, whose folder is on the path by now

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="convene-bench-", ignore_cleanup_errors=True))
        server = stack.enter_context(Postgres(Path(folder) / "data", name))
        yield {"SQLite": house.sqlite(name), "PostgreSQL": server.create()}
