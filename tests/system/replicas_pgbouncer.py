"""Debian's PgBouncer, which gives each transaction any of a few connections."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

import psycopg
from test_server import free_port, until

PATH = f"{os.environ['PATH']}:/usr/sbin"
SETTINGS = """[databases]
* = host={host} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 500
admin_users = postgres
logfile = {folder}/pgbouncer.log
"""


def _program() -> str:
    """Where it is, fetched from Debian if it is not there."""
    found = shutil.which("pgbouncer", path=PATH)
    if found is None:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "pgbouncer"], check=True)
        found = shutil.which("pgbouncer", path=PATH)
    assert found is not None
    return found


class PgBouncer:
    """Between its clients and the server of `url`, in transaction mode, with so many connections in its pool."""

    def __init__(self, url: str, folder: Path, pool: int) -> None:
        self._server, self._folder, self._port = urlsplit(url), folder, free_port()
        (host,) = parse_qs(self._server.query)["host"]
        # it will not run as root, and whose the server is can reach the socket
        self._user = Path(host).stat().st_uid
        folder.mkdir(parents=True)
        (folder / "settings.ini").write_text(SETTINGS.format(host=host, port=self._port, folder=folder, pool=pool))

    def __enter__(self) -> Self:
        os.chown(self._folder, self._user, -1)
        user = self._user if os.getuid() == 0 else None
        self._process = subprocess.Popen([_program(), "-q", self._folder / "settings.ini"], user=user)
        until(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}{self._server.path}"

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, prepare_threshold=None) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def most_used(self) -> int:
        """How many connections to the server it holds."""
        admin = f"postgresql://postgres@127.0.0.1:{self._port}/pgbouncer"
        with psycopg.connect(admin, autocommit=True) as connection:
            cursor = psycopg.ClientCursor(connection)
            rows = cursor.execute("SHOW SERVERS").fetchall()
        return len([row for row in rows if self._server.path[1:] in row])
