"""How columns are written in a statement and read from its rows: as Peewee does, in one step instead of a dozen calls.

A statement names many columns and a page has many rows; Peewee's way took most of what either costs.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from peewee import SCOPE_VALUES, BigIntegerField, CharField, CursorWrapper, Field, ForeignKeyField, IntegerField, ModelSelect, TextField

_peewees = ModelSelect.__sql_selection__
_peewees_rows = ModelSelect._get_model_cursor_wrapper  # noqa: SLF001
AS_IT_COMES = (CharField, TextField, IntegerField, BigIntegerField, ForeignKeyField)
"""What drivers answer as what it is in Python; Peewee would make a text of a text again."""
_whole: dict[tuple[Any, str, str], str] = {}


def write(field: Any, context: Any) -> Any:
    """`"t1"."name"`, or `"name"` where a statement says what it writes."""
    quotes = context.state.quote or '""'
    name = field.column_name.join(quotes)
    if context.scope == SCOPE_VALUES:
        return context.literal(name)
    table, aliases = field.model._meta.table, context.alias_manager  # noqa: SLF001 - Peewee's public way to a model's table
    alias = aliases.mapping.get(table) or aliases.add(table)
    return context.literal(f"{alias.join(quotes)}.{name}")


def select(query: Any, context: Any, is_subquery: bool = False) -> Any:
    """The list of columns of a statement that reads whole rows: the same text each time."""
    model: Any = query.model
    if not query._is_default or is_subquery or not isinstance(model, type):  # noqa: SLF001
        return _peewees(query, context, is_subquery)
    quotes = context.state.quote or '""'
    key = (model, context.alias_manager[model._meta.table], quotes)  # type: ignore[attr-defined]  # noqa: SLF001
    if key not in _whole:
        prefix = key[1].join(quotes)
        _whole[key] = ", ".join(f"{prefix}.{field.column_name.join(quotes)}" for field in query._returning)  # noqa: SLF001
    return context.literal(_whole[key])


def rows(query: Any, cursor: Any) -> CursorWrapper:
    """What makes objects of a cursor's rows."""
    whole = query._is_default and isinstance(query.model, type) and len(query._from_list) == 1 and not query._joins  # noqa: SLF001
    return Rows(cursor, query.model) if whole else _peewees_rows(query, cursor)


class Rows(CursorWrapper):
    """Whole rows of one model, in the order of its fields."""

    def __init__(self, cursor: Any, model: Any) -> None:
        super().__init__(cursor)
        self.populated: bool
        self.count: int
        self._model = model
        self._names, self._conversions = _shape(model)

    def __iter__(self) -> Iterator[Any]:
        if not self.populated and not self.count:
            self.row_cache = [self.process_row(row) for row in self.cursor.fetchall()]
            self.count, self.populated = len(self.row_cache), True
            self.cursor.close()
        return iter(super().__iter__())

    def process_row(self, row: Any) -> Any:
        data = dict(zip(self._names, row, strict=True))
        for name, convert in self._conversions:
            data[name] = convert(data[name])
        made = self._model.__new__(self._model)
        made.__data__, made._dirty, made.__rel__ = data, set(), {}  # noqa: SLF001 - what Model.__init__ sets
        return made


@cache
def _shape(model: Any) -> tuple[list[str], list[tuple[str, Callable[[Any], Any]]]]:
    """The names of a model's fields, and what is to be made of those that a driver does not answer as they are."""
    fields = model._meta.sorted_fields  # noqa: SLF001
    return [field.name for field in fields], [(field.name, field.python_value) for field in fields if not _plain(field)]


def _plain(field: Any) -> bool:
    return isinstance(field, AS_IT_COMES) and (isinstance(field, ForeignKeyField) or type(field).python_value is Field.python_value)
