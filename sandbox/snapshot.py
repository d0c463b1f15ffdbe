"""The world as JSON: tables of dataclasses, with moments tagged so that they come back as moments."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

Row = TypeVar("Row")
Key = TypeVar("Key", int, str)


class Table(dict[Key, Row], Generic[Key, Row]):
    """Rows of one dataclass by their key; a dictionary that knows how to be saved."""

    def __init__(self, kind: Callable[..., Row], key: Callable[[Row], Key]) -> None:
        super().__init__()
        self._kind: Callable[..., Row] = kind
        self._key: Callable[[Row], Key] = key

    def add(self, row: Row) -> Row:
        self[self._key(row)] = row
        return row

    def remove(self, keep: Callable[[Row], bool]) -> int:
        """Keeps only the rows for which `keep` is true; answers how many went."""
        gone = [key for key, row in self.items() if not keep(row)]
        for key in gone:
            del self[key]
        return len(gone)

    def dump(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.values() if is_dataclass(row) and not isinstance(row, type)]

    def load(self, rows: list[dict[str, Any]]) -> None:
        self.clear()
        for row in rows:
            self.add(self._kind(**row))


class State:
    """What one provider remembers: tables, and the plain attributes named in `scalars`. Everything else is not saved."""

    scalars: ClassVar[tuple[str, ...]] = ()

    def _tables(self) -> dict[str, Table[Any, Any]]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Table)}

    def dump(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.scalars} | {name: table.dump() for name, table in self._tables().items()}

    def load(self, saved: dict[str, Any]) -> None:
        tables = self._tables()
        for name, value in saved.items():
            if name in tables:
                tables[name].load(value)
            else:
                setattr(self, name, value)


def write(path: Path, content: dict[str, Any]) -> None:
    """Atomic replace: a reader, or a start after kill -9, sees the old or the new world, never half of one."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(content, file, default=_encode)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), object_hook=_decode)
    return content


def plain(content: Any) -> Any:
    """The same with moments as text, for people to look at."""
    return json.loads(json.dumps(content, default=lambda value: value.isoformat()))


def _encode(value: object) -> dict[str, str]:
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    raise TypeError(f"cannot save {type(value).__name__}")


def _decode(value: dict[str, Any]) -> Any:
    return datetime.fromisoformat(value["$time"]) if value.keys() == {"$time"} else value
