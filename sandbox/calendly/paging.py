"""Pages of a list. `count` is the number of rows on this page and there is no total; the four links are null when absent.

Page tokens are opaque and go stale (switch `pageTokenSeconds` [?]): one kept for later is refused.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlencode

from flask import request

from sandbox.calendly.checks import Given
from sandbox.calendly.context import setting, state
from sandbox.calendly.errors import invalid
from sandbox.calendly.rows import Json

Row = TypeVar("Row")
USUAL, MOST = 20, 100


@dataclass(frozen=True)
class Place:
    offset: int
    query: str
    made_at: datetime


def read(given: Given) -> int:
    """The rows to a page; call it before `given.finish()`."""
    return given.whole("count", 1, MOST) or USUAL


def page(rows: Sequence[Row], face: Callable[[Row], Json], count: int) -> Json:
    offset = _offset()
    chosen = rows[offset : offset + count]
    following = _token(offset + count) if offset + count < len(rows) else None
    before = _token(max(0, offset - count)) if offset else None
    links = {"next_page": _address(following), "previous_page": _address(before)}
    tokens = {"next_page_token": following, "previous_page_token": before}
    return {"collection": [face(row) for row in chosen], "pagination": {"count": len(chosen), **links, **tokens}}


def _query() -> str:
    """What is listed; a token belongs to one list."""
    kept = sorted((name, value) for name, value in request.args.items() if name not in {"page_token", "count"})
    return f"{request.path}?{urlencode(kept)}"


def _offset() -> int:
    token = request.args.get("page_token")
    if not token:
        return 0
    place = state().pages.get(token)
    life = timedelta(seconds=state().switches["pageTokenSeconds"])
    if not isinstance(place, Place) or place.query != _query() or setting().now - place.made_at >= life:
        raise invalid("page_token", "is invalid")
    return place.offset


def _token(offset: int) -> str:
    token = secrets.token_urlsafe(24)
    state().pages[token] = Place(offset, _query(), setting().now)
    return token


def _address(token: str | None) -> str | None:
    if token is None:
        return None
    kept = [(name, value) for name, value in request.args.items() if name != "page_token"]
    return f"{setting().url}{request.path}?{urlencode([*kept, ('page_token', token)])}"
