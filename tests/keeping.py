"""What tests begin with, done once per worker: the same steps from an empty world lead to the same place.

Linking one account takes some thirty requests, and most tests begin with one or two. The first test that goes a way from an
empty world really goes it, and what both sides hold then is kept: the rows of our database and the state of the sandbox with
its logs. Whoever goes the same way later is put there. Only steps from the very beginning count: as soon as a test does or
changes anything of its own, every further step is taken for real.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from werkzeug.serving import BaseWSGIServer

import models
from models.base import db
from sandbox.app import Sandbox
from sandbox.snapshot import State, Table

Rows = dict[str, dict[str, dict[str, Any]]]
"""Of each table that has any, by their ids."""
PROVIDERS = ("calcom", "calendly", "zoom")


@dataclass(frozen=True)
class Place:
    """Where a way led."""

    answer: Any
    rows: Rows
    states: dict[str, Any]
    logs: tuple[Any, ...]
    logged: str


class Ways:
    """All places of one worker, and the port behind which it is always met: what the sandbox keeps names it."""

    def __init__(self, door: BaseWSGIServer) -> None:
        self.door = door
        self._places: dict[tuple[str, ...], Place] = {}

    def get(self, way: tuple[str, ...]) -> Place | None:
        return self._places.get(way)

    def keep(self, way: tuple[str, ...], answer: Any, sandbox: Sandbox, logged: str, rows: Rows) -> Place:
        states = {name: copy.deepcopy(getattr(sandbox.world, name)) for name in PROVIDERS}
        place = Place(copy.deepcopy(answer), rows, states, logs(sandbox), logged)
        self._places[way] = place
        return place


class Walk:
    """The steps of one test from an empty world, for as long as it does nothing else."""

    def __init__(self, ways: Ways, begun: str, sandbox: Sandbox, stream: Any, pristine: Callable[[], bool]) -> None:
        self._ways, self._sandbox, self._stream, self._pristine = ways, sandbox, stream, pristine
        way = (begun,)
        self._way: tuple[str, ...] | None = way
        self._within = False
        self._place = self._ways.get(way) or self._ways.keep(way, None, sandbox, "", {})
        self._go(self._place)

    def leave(self, *_: Any) -> None:
        """Something else has happened; within a step that is the step itself."""
        if not self._within:
            self._way = None

    def step(self, name: str, act: Callable[[], Any], *arguments: Any) -> Any:
        if self._within or self._way is None or not self._untouched():
            self.leave()
            return act()
        way = (*self._way, json.dumps([name, *arguments], default=str))
        place = self._ways.get(way)
        if place is None:
            place = self._take(way, act)
        else:
            self._go(place)
        self._way, self._place = way, place
        return copy.deepcopy(place.answer)

    def _untouched(self) -> bool:
        world = self._sandbox.world
        same = all(whole(getattr(world, name)) == whole(self._place.states[name]) for name in PROVIDERS)
        return same and not world.faults.entries() and logs(self._sandbox) == self._place.logs and self._pristine()

    def _take(self, way: tuple[str, ...], act: Callable[[], Any]) -> Place:
        self._within = True
        try:
            answer = act()
            self._sandbox.settle()
            return self._ways.keep(way, answer, self._sandbox, self._stream.getvalue(), read())
        except BaseException:
            self._way = None
            raise
        finally:
            self._within = False

    def _go(self, place: Place) -> None:
        world = self._sandbox.world
        for name, state in place.states.items():
            setattr(world, name, copy.deepcopy(state))
        requests, deliveries, world.deliveries._made, messages, world.mail._made = place.logs
        world.requests._entries, world.deliveries._log, world.mail._messages = list(requests), list(deliveries), dict(messages)
        self._stream.seek(0)
        self._stream.truncate()
        self._stream.write(place.logged)
        write(self._place.rows, place.rows)


def whole(state: State) -> dict[str, Any]:
    """All that a provider of the sandbox remembers, also what it does not save."""
    return {name: value.dump() if isinstance(value, Table) else value for name, value in vars(state).items()}


def logs(sandbox: Sandbox) -> tuple[Any, ...]:
    world = sandbox.world
    requests, deliveries, messages = list(world.requests._entries), list(world.deliveries._log), dict(world.mail._messages)
    return requests, deliveries, world.deliveries._made, messages, world.mail._made


def read() -> Rows:
    found: Rows = {}
    for model in models.ALL:
        table = model._meta.table_name
        cursor = db.execute_sql(f'SELECT * FROM "{table}"')
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        if rows:
            found[table] = {row["id"]: row for row in rows}
    db.close()
    return found


def write(before: Rows, after: Rows) -> None:
    """From what the database holds to what it shall hold; parents first, then what is no longer there, children first."""
    if before == after:
        return
    tables = [model._meta.table_name for model in models.ALL]
    mark = db.obj.param
    with db.atomic():
        cursor = db.connection().cursor()
        for table in tables:
            old = before.get(table, {})
            changed = [row for key, row in after.get(table, {}).items() if old.get(key) != row]
            if changed:
                names = list(changed[0])
                columns = ", ".join(f'"{name}"' for name in names)
                updates = ", ".join(f'"{name}" = excluded."{name}"' for name in names)
                marks = ", ".join([mark] * len(names))
                cursor.executemany(
                    f'INSERT INTO "{table}" ({columns}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {updates}',
                    [tuple(row.values()) for row in changed],
                )
        for table in reversed(tables):
            gone = [(key,) for key in before.get(table, {}) if key not in after.get(table, {})]
            if gone:
                cursor.executemany(f'DELETE FROM "{table}" WHERE id = {mark}', gone)
    db.close()
