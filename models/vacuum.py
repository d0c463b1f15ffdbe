"""Making SQLite forget: what was deleted or overwritten stays in its file until that is written anew."""

from peewee import OperationalError

from models.base import db


def vacuum() -> None:
    """Write the file anew and empty the journal beside it; other writers of this process wait meanwhile.

    Raises OperationalError while somebody reads or writes for too long.
    """
    with db.obj.write_lock:
        db.execute_sql("VACUUM")
        busy, *_ = db.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise OperationalError("the journal is in use")
