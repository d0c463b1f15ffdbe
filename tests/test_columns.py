"""Statements say what Peewee would say: on both databases, for each model and each kind of statement."""

from typing import Any

import pytest
from peewee import Context, Field, ForeignKeyField, ModelSelect, fn

import models
from models import columns
from models.base import JsonText, connect, db

STATEMENTS = {
    "select": lambda model, key, value: model.select().where(key == value).order_by(key.desc()),
    "with one's own alias first": lambda model, key, value: model.select().where(key.in_(model.alias().select(key)) & (key != value)),
    "whole within": lambda model, key, value: model.select().where(key.in_(model.select()) & (key != value)),
    "whole beside": lambda model, key, value: model.select(model, model.alias("other")).join(model.alias("other"), on=(key == value)),
    "alias": lambda model, key, value: model.alias("other").select().where(key.in_(model.select(key).where(key != value))),
    "join": lambda model, key, value: model.select(key, fn.COUNT(key)).join(model.alias(), on=(key == value)).group_by(key),
    "exists": lambda model, key, value: model.select().where(fn.EXISTS(model.alias().select().where(key == value))),
    "with": lambda model, key, value: model.select().with_cte(model.select(key).cte("some", columns=["id"])).where(key != value),
    "insert": lambda model, key, value: model.insert({key: value}).returning(key),
    "upsert": lambda model, key, value: model.insert({key: value}).on_conflict(
        conflict_target=[key], update={key: value}, where=key > value
    ),
    "update": lambda model, key, value: model.update({key: value}).where(key == value).returning(*model._meta.sorted_fields),
    "delete": lambda model, key, value: model.delete().where((key == value) | (key < value)),
}


class Cursor:
    """A driver's cursor on rows of one model: one of plain values, one with nothing in any column."""

    def __init__(self, model: Any) -> None:
        fields = model._meta.sorted_fields
        self.description = [(field.column_name,) for field in fields]
        self._rows = iter([tuple(raw(field) for field in fields), tuple(None for _ in fields)])

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def close(self) -> None: ...


def raw(field: Any) -> Any:
    """What a driver answers for a column: SQLite has no truth values of its own."""
    if isinstance(field, JsonText):
        return '{"a":[1,null]}'
    kinds = {"BOOL": 1, "BIGINT": 1_800_000_000_000, "INT": 7, "BLOB": b"\x00", "FLOAT": 0.5}
    return kinds.get(field.rel_field.field_type if isinstance(field, ForeignKeyField) else field.field_type, "text")


@pytest.mark.parametrize("model", models.ALL)
def test_a_row_is_what_peewee_would_read(model: Any) -> None:
    query = model.select()
    mine, theirs = list(columns.rows(query, Cursor(model))), list(columns._peewees_rows(query, Cursor(model)))
    assert [row.__data__ for row in mine] == [row.__data__ for row in theirs]
    assert [{name: type(value) for name, value in row.__data__.items()} for row in mine] == [
        {name: type(value) for name, value in row.__data__.items()} for row in theirs
    ]
    assert all(vars(one).keys() == vars(other).keys() and one.dirty_fields == [] for one, other in zip(mine, theirs, strict=True))


def as_peewee(field: Any, context: Context) -> Any:
    return context.sql(field.column)


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_statement_is_what_peewee_would_write(database_url: str, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    connect(database_url)

    def written() -> list[str]:
        return [
            db.get_sql_context().sql(STATEMENTS[kind](model, field, "v")).query()[0]
            for model in models.ALL
            for field in model._meta.sorted_fields
        ]

    mine = written()
    assert len(mine) > 200
    monkeypatch.setattr(Field, "__sql__", as_peewee)
    monkeypatch.setattr(ModelSelect, "__sql_selection__", columns._peewees)
    assert mine == written()
