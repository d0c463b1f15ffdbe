"""Pages of a list: `page_size`, and an opaque `next_page_token` that lives for 15 minutes."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from flask import request

from sandbox.zoom import errors
from sandbox.zoom.context import now, state, world
from sandbox.zoom.errors import ZoomError

Row = TypeVar("Row")
TOKEN_LIFE = timedelta(minutes=15)
_OWN = ("page_size", "next_page_token", "page_number")


@dataclass(frozen=True)
class Mark:
    question: str
    offset: int
    expires_at: datetime


def page(rows: Sequence[Row]) -> tuple[list[Row], int, str]:
    """The rows of the page that was asked for, its size, and the token of the next one (empty at the end)."""
    size = _number("page_size", 30, 300)
    begin = _begin(size)
    rest = begin + size
    token = _mark(rest) if rest < len(rows) else ""
    return list(rows[begin:rest]), size, token


def _number(name: str, default: int, limit: int) -> int:
    text = request.args.get(name, str(default))
    if not text.isdecimal() or not 1 <= int(text) <= limit:
        raise errors.invalid(name)
    return int(text)


def _begin(size: int) -> int:
    token = request.args.get("next_page_token")
    if not token:
        return (_number("page_number", 1, 100_000) - 1) * size
    mark = state().pages.get(token)
    if not isinstance(mark, Mark) or mark.expires_at <= now() or mark.question != _question():
        raise ZoomError(400, 300, "The next page token is invalid or expired.")
    return mark.offset


def _question() -> str:
    """A token belongs to its list and its filters."""
    asked = sorted((name, value) for name, value in request.args.items() if name not in _OWN)
    return f"{request.path}?{asked}"


def _mark(offset: int) -> str:
    token = secrets.token_urlsafe(24)
    with world().lock:
        state().pages[token] = Mark(_question(), offset, now() + TOKEN_LIFE)
    return token
