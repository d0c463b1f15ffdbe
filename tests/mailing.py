"""A world that sends e-mail, and its mailbox."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness import Caller, Issuer, World
from keeping import Ways

from models import Delivery
from sandbox.app import Sandbox

UPDATE = "mutation($input: UpdatePreferencesInput!) { updatePreferences(input: $input) { __typename } }"


@contextmanager
def mailing_world(database_url: str, issuer: Issuer, sandbox: Sandbox, ways: Ways) -> Iterator[World]:
    """As the `world` of conftest.py, with the sandbox's mail server."""
    sandbox.reset()
    settings = {"smtp_url": sandbox.smtp_url, "mail_from": "Convene <notifications@convene.test>"}
    with World(database_url, issuer, sandbox, ways=ways, **settings) as running:
        yield running


def mails(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.control.get("/mail").json()
    return found


def empty(world: World) -> None:
    world.control.delete("/mail")


def fault(world: World, kind: str, times: int | None = 1) -> None:
    """The mail server fails so, as often (None: from now on)."""
    world.sandbox.fault({"kind": kind}, mail="*", times=times)


def states() -> list[tuple[str, int, str | None]]:
    """State, tries and last error of everything in the outbox, oldest first."""
    rows = Delivery.select(Delivery.state, Delivery.attempts, Delivery.last_error).order_by(Delivery.id)
    return [tuple(row) for row in rows.tuples()]


def set_preferences(caller: Caller, **changed: Any) -> None:
    assert caller.one(UPDATE, input=changed)["__typename"] == "PreferencesUpdated"
