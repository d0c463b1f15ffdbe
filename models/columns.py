"""How a column is written in a statement: what Peewee writes, in one step instead of a dozen calls.

A statement names many columns, and Peewee's way took half of what the whole statement costs.
"""

from typing import Any

from peewee import SCOPE_VALUES


def write(field: Any, context: Any) -> Any:
    """`"t1"."name"`, or `"name"` where a statement says what it writes."""
    quotes = context.state.quote or '""'
    name = field.column_name.join(quotes)
    if context.scope == SCOPE_VALUES:
        return context.literal(name)
    table, aliases = field.model._meta.table, context.alias_manager  # noqa: SLF001 - Peewee's public way to a model's table
    alias = aliases.mapping.get(table) or aliases.add(table)
    return context.literal(f"{alias.join(quotes)}.{name}")
