"""Convene's application around the page's own schema; nobody signs in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask

import settings
from app import assemble, create_app
from bench.page_schema import VIEWER, page_schema
from models.base import db
from routes import graphql as face
from services import logging
from services.identity import Claims

CLAIMS = Claims("bench", VIEWER.email, VIEWER.name, VIEWER.time_zone, VIEWER.is_admin, VIEWER.session_ends_at)


class _Anybody:
    """A verifier that believes everybody: none of the peers checks a token."""

    def verify(self, _header: str | None) -> Claims:
        return CLAIMS


def from_memory() -> Flask:
    """For a process of its own: the schema and the signing in that POST /graphql uses are replaced for good."""
    loaded, providers = settings.load()
    logging.configure(loaded.log_level)
    made: Any = assemble(loaded, providers)
    made.verifier = _Anybody()
    _put(page_schema(), lambda *_: VIEWER)
    return create_app(convene=made)


def _put(schema: Any, sign_in: Any) -> None:
    vars(face).update(schema=schema, sign_in=sign_in)


@contextmanager
def for_a_while() -> Iterator[Flask]:
    """The same in a process that goes on to other things."""
    real = vars(face)["schema"], vars(face)["sign_in"]
    application = from_memory()
    try:
        yield application
    finally:
        _put(*real)
        application.extensions["convene"].rt.transport.close()
        db.close_all()
