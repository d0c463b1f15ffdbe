"""Statements that are written once and from then on only take other values.

Peewee writes the text of a statement anew each time, which takes longer than SQLite takes to answer it: half of what
applying a delivery or reading a page cost. Where a statement is made often, its query is built here once per kind of
database, with stand-ins for its values.
"""

import inspect
from collections.abc import Callable
from typing import Any

import orjson
from peewee import SQL, ModelInsert, Node, Value, fn

from models.base import changed_at, db, is_sqlite, present, to_ms

CHANGED_AT = "changed at"


class _Place:
    """Where a value goes among a statement's parameters, and what Peewee would have made of it there."""

    def __init__(self, name: str, convert: Callable[[Any], Any] | None = None) -> None:
        self.name, self.convert = name, convert

    def fill(self, values: dict[str, Any]) -> Any:
        value = values[self.name]
        return self.convert(value) if self.convert else value


class Slot(Node):
    """Stands for a value while the statement is written: one that is compared with a column is converted as that column's is.

    One that is set is not: it is given as it is stored, a time in milliseconds.
    """

    def __init__(self, name: str, convert: Callable[[Any], Any] | None = None) -> None:
        self.name, self.convert = name, convert

    def __sql__(self, ctx: Any) -> Any:
        return ctx.value(_Place(self.name, self.convert or ctx.state.converter), converter=False)


def among(column: Any, ids: Slot) -> Any:
    """That the column's text is one of a list of any length: one parameter, so that the statement is always the same."""
    if is_sqlite():
        return column.in_(SQL("(SELECT value FROM json_each(?))", [_Place(ids.name, lambda found: orjson.dumps(list(found)).decode())]))
    return column == fn.ANY(Slot(ids.name, list))


class Prepared:
    """`make` builds the query from stand-ins, one for each parameter, and must not depend on anything else that changes.

    Called with the values, it answers what `execute()` of that query answers. A value may be SQL, as the database's present
    time is; its text becomes part of the statement. None that is compared equals nothing, as in SQL: where Peewee would write
    IS NULL, `make` says `is_null()`.
    """

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._names = tuple(inspect.signature(make).parameters)
        self._written: dict[tuple[Any, ...], _Statement] = {}

    def __call__(self, *given: Any) -> Any:
        values: dict[str, Any] = {}
        key: list[Any] = [type(db.obj)]
        for name, value in zip(self._names, given, strict=True):
            if isinstance(value, SQL):
                key.append(value.sql)
                values[name] = value.params[0] if value.params else None
            else:
                values[name] = value.value if isinstance(value, Value) else value
        statement = self._written.get(tuple(key))
        if statement is None:
            standing = [
                SQL(value.sql, [_Place(name)] if value.params else None) if isinstance(value, SQL) else Slot(name)
                for name, value in zip(self._names, given, strict=True)
            ]
            statement = self._written[tuple(key)] = self._write(standing)
        return statement.run({**values, CHANGED_AT: to_ms(present())})

    def first(self, *given: Any) -> Any:
        """The first row, or None."""
        return next(iter(self(*given)), None)

    def _write(self, standing: list[Any]) -> "_Statement":
        token = changed_at.set(Slot(CHANGED_AT))
        try:
            return _Statement(self._make(*standing))
        finally:
            changed_at.reset(token)


class _Statement:
    def __init__(self, query: Any) -> None:
        if isinstance(query, ModelInsert):
            made = {name for name, field in query.model._meta.fields.items() if callable(field.default)}  # noqa: SLF001
            assert made <= {field.name for field in query._insert}, "what is made anew for each row must be given with each call"  # noqa: SLF001
        self._query = query
        self._text: str | None = None
        self._parameters: list[Any] = []

    def run(self, values: dict[str, Any]) -> Any:
        return self._query.clone()._execute(_Ready(self, values))  # noqa: SLF001 - execute() would look for the database itself

    def parameters(self, query: Any, values: dict[str, Any]) -> tuple[str, list[Any]]:
        if self._text is None:
            text, self._parameters = db.obj.get_sql_context().sql(query).query()
            self._text = text
        return self._text, [one.fill(values) if type(one) is _Place else one for one in self._parameters]


class _Ready:
    """What Peewee's queries take for the database: it has the text already."""

    def __init__(self, statement: _Statement, values: dict[str, Any]) -> None:
        self._statement, self._values = statement, values

    def execute(self, query: Any) -> Any:
        text, parameters = self._statement.parameters(query, self._values)
        return db.execute_sql(text, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(db.obj, name)
