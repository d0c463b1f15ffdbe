"""Copies of the database: taken while it is used, and brought back to a place that is empty (docs/backup.md).

What came after the copy is lost here and not in the world: people were told of changes, mails went out. So a database that
was brought back is settled before anybody works on it.
"""

import os
import sqlite3
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from models import Delivery, LinkedAccount
from models.base import transactional
from services import audit, deliveries
from services.runtime import Runtime

MAYBE_SENT = "brought back from a backup: it may have been sent since"


class BackupError(Exception):
    """Why it cannot be done, in a sentence for the operator."""


@dataclass(frozen=True)
class Settled:
    """What became of a database that was brought back."""

    mails: int
    accounts: int


def take(url: str, file: Path) -> None:
    """Write what the database is at one moment into `file`, which only its owner can read. Raises BackupError.

    Nobody waits for it. The file has its name once it is whole and on the disk.
    """
    source = _sqlite(url)
    if file.exists():
        raise BackupError(f"{file} is there already.")
    if source is not None and not source.exists():
        raise BackupError(f"There is no database at {source}.")
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    try:
        if source is None:
            _run("pg_dump", url, "--format=custom", f"--file={part}")
        else:
            _copy(source, part)
    except BackupError:
        part.unlink()
        raise
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.rename(file)


def bring_back(url: str, file: Path) -> None:
    """Fill the database with what `file` has. Raises BackupError, also where anything is in it."""
    if not file.exists():
        raise BackupError(f"There is no {file}.")
    target = _sqlite(url)
    if target is None:
        with psycopg.connect(_address(url)) as connection:
            found = connection.execute("SELECT 1 FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')").fetchone()
        if found:
            raise BackupError("The database is not empty. Bring the backup back to a new one.")
        _run("pg_restore", url, "--single-transaction", "--exit-on-error", str(file))
        return
    if target.exists():
        raise BackupError(f"{target} is there already. Bring the backup back to a new place.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    _copy(file, target)


@transactional
def settle(rt: Runtime, lost_at: datetime) -> Settled:
    """Make a database fit for work whose copy is older than `lost_at`, the moment until which the lost one was used.

    Mails that were waiting then are given up: an admin sends or dismisses each. Changes until that moment that show up
    again from the providers are history, of which nobody is told a second time.
    """
    given_up = {"state": "DEAD", "last_error": MAYBE_SENT, "lease_owner": None, "lease_until": None, "attended_at": None}
    mails = Delivery.update(**given_up).where(Delivery.state.in_(deliveries.WAITING)).execute()
    older = LinkedAccount.connected & (LinkedAccount.linked_at < lost_at)
    accounts = LinkedAccount.update(linked_at=lost_at).where(older).execute()
    audit.record(rt, "database.restored", ("Database", None), after={"lostAt": lost_at, "mails": mails, "accounts": accounts})
    return Settled(mails, accounts)


def _address(url: str) -> str:
    """As PostgreSQL's own programs call it."""
    return urlsplit(url)._replace(scheme="postgresql").geturl()


def _sqlite(url: str) -> Path | None:
    """The file of a SQLite database; None for a server's."""
    parts = urlsplit(url)
    return Path(unquote(parts.path[1:])) if parts.scheme == "sqlite" else None


def _copy(source: Path, target: Path) -> None:
    """By SQLite's own backup: a file that is written to meanwhile is not to be copied byte by byte."""
    before, after = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True), sqlite3.connect(target)
    try:
        before.backup(after)
        # one file, which can be read from where nothing can be written
        after.execute("PRAGMA journal_mode = DELETE")
        (said,) = after.execute("PRAGMA quick_check").fetchone()
    except sqlite3.DatabaseError as error:
        raise BackupError(f"{source} cannot be copied: {error}.") from error
    finally:
        before.close()
        after.close()
    if said != "ok":
        raise BackupError(f"The copy of {source} is not whole: {said}.")


def _run(tool: str, url: str, *arguments: str) -> None:
    """One of PostgreSQL's own tools; the password goes by the environment, where other users cannot see it."""
    address: dict[str, Any] = conninfo_to_dict(_address(url))
    environment = dict(os.environ)
    if password := address.pop("password", None):
        environment["PGPASSWORD"] = str(password)
    command = [tool, "--no-owner", "--no-privileges", f"--dbname={make_conninfo(**address)}", *arguments]
    try:
        subprocess.run(command, env=environment, check=True)  # noqa: S603 - no shell, and the operator's own address
    except FileNotFoundError as error:
        raise BackupError(f"{tool} is not here. PostgreSQL's client programs have it, in the server's version or a newer one.") from error
    except subprocess.CalledProcessError as error:
        raise BackupError(f"{tool} failed; what it said stands above.") from error
