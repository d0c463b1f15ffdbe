"""Relay connections over keyset cursors: a page is one statement that reads one row more than it shows."""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import orjson
import strawberry
from strawberry.relay import PageInfo

from models.base import from_ms, to_ms
from schema.context import given
from services.errors import BadUserInput

T = TypeVar("T")
MOST = 100
DEFAULT = 25
BAD_CURSOR = "`after` is not a cursor of this list. Take it from `pageInfo.endCursor` or an edge."


@dataclass(frozen=True)
class Key:
    """What rows are ordered by: a time column, then the id; `name` keeps cursors of different lists apart."""

    name: str
    column: Any
    id: Any
    read: Callable[[Any], datetime]
    descending: bool = False


@strawberry.type(description="One item of a page, with the cursor that a next page starts after.")
class Edge(Generic[T]):
    node: T = strawberry.field(description="The item.")
    key: strawberry.Private[Key]
    row: strawberry.Private[Any]

    @strawberry.field(description="Pass it as `after` to go on behind this item.")
    def cursor(self) -> str:
        return _encode(self.key, self.row)


@dataclass(frozen=True)
class Page(Generic[T]):
    rows: Sequence[T]
    key: Key
    info: PageInfo

    def edges(self, nodes: Iterable[Any]) -> list[Any]:
        """An edge for each row, of the node that shows it; a row whose node is None is left out."""
        pairs = zip(nodes, self.rows, strict=True)
        return [Edge(node=node, key=self.key, row=row) for node, row in pairs if node is not None]


def size(first: int | None, default: int = DEFAULT) -> int:
    """`first`, checked. Raises BadUserInput outside 1..100."""
    wanted = default if first is None else first
    if not 1 <= wanted <= MOST:
        raise BadUserInput(f"`first` must be between 1 and {MOST}.")
    return wanted


def page(query: Any, key: Key, first: int | None, after: str | None, *, default: int = DEFAULT) -> Page[Any]:
    """The rows behind `after`. Raises BadUserInput for a cursor of another list or none at all."""
    limit = size(first, default)
    after = given(after)
    if after is not None:
        at, row_id = _decode(key, after)
        beyond = key.column < at if key.descending else key.column > at
        same = (key.column == at) & (key.id < row_id if key.descending else key.id > row_id)
        query = query.where(beyond | same)
    order = (key.column.desc(), key.id.desc()) if key.descending else (key.column, key.id)
    rows = list(query.order_by(*order).limit(limit + 1))
    return cut(rows, key, limit, after)


def cut(rows: list[Any], key: Key, limit: int, after: str | None) -> Page[Any]:
    shown = rows[:limit]
    return Page(
        shown,
        key,
        PageInfo(
            has_next_page=len(rows) > limit,
            has_previous_page=after is not None,
            start_cursor=_encode(key, shown[0]) if shown else None,
            end_cursor=_encode(key, shown[-1]) if shown else None,
        ),
    )


def _encode(key: Key, row: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([key.name, to_ms(key.read(row)), row.id])).decode().rstrip("=")


def _decode(key: Key, cursor: str) -> tuple[int, str]:
    """Milliseconds, as they are stored: a column of a subquery knows no other way to compare."""
    try:
        name, at, row_id = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
        if (name, type(at), type(row_id)) == (key.name, int, str):
            from_ms(at)  # one that is no time is no cursor of ours
            return at, row_id
    except (ValueError, TypeError, binascii.Error, OverflowError) as error:
        raise BadUserInput(BAD_CURSOR) from error
    raise BadUserInput(BAD_CURSOR)
