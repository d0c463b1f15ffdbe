"""A faster executor: what is plainly there is completed by code made for the selection, all else by the untouched executor.

The standard executor spends about four microseconds on each field, whatever the field does: a ResolveInfo, a Path, a dozen
type checks. Nearly all fields of a page are attributes of objects that we made ourselves. For the value of a field whose
whole selection is such that nothing of that is needed, one function is generated per selection and used again.

Nothing is decided here. An exception, a None in a non-null place, a value of another type than the schema says: any
surprise throws the half-made answer away, and the standard executor completes the whole value, so that errors, their
paths and what they turn to null are always its own. After one surprise the rest of the request is left to it as well.

Plain is
- an attribute: `StrawberryField.is_basic_field`. (`_is_default` of the resolver is true for fields with permission classes
  and extensions too.)
- a method without arguments and without extensions that needs no more of `info` than its context,
and the types below them are leaves, lists, and objects without `is_type_of`.

Why, what it relies on, and when to delete it: docs/decisions/plain-subtrees-by-generated-code.md.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import strawberry
from graphql import (
    GraphQLBoolean,
    GraphQLField,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLString,
    Undefined,
    is_enum_type,
    is_leaf_type,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

MOST_PLANS = 1000
LONGEST_DOCUMENT = 20_000
"""Characters; a plan keeps its document in memory, so those of longer ones are made anew each time."""
DEEPEST = 16
"""Nested blocks in what is generated; Python allows twenty."""

Plan = Callable[["Executor", Any], Any]


class Surprise(Exception):
    """A value is not what the plan was made for."""


class NotPlainError(Exception):
    """A selection that needs the standard executor."""


_plans: dict[tuple[Any, ...], tuple[Any, FieldDetailsList, Plan | None]] = {}
"""By selection and the values of Boolean variables, on which @skip and @include depend; the oldest goes first."""


class Executor(StrawberryGraphQLCoreExecutionContext):
    """Completes plain values by plans; see the module."""

    on: ClassVar[bool] = True
    """False leaves everything to the standard executor; set by the composition root from CONVENE_FAST_EXECUTION."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        flags = ((name, value) for name, value in self.variable_values.coerced.items() if value is None or isinstance(value, bool))
        self._flags = tuple(sorted(flags, key=lambda flag: flag[0]))
        hooked = self.middleware_manager is not None and self.middleware_manager.middlewares
        self._fast = self.on and not hooked and self.abort_signal is None

    def complete_value(
        self, return_type: Any, field_details_list: FieldDetailsList, info: Any, path: Path, result: Any, position_context: Any
    ) -> Any:
        if self._fast and position_context is None and result is not None and field_details_list[0].node.selection_set is not None:
            plan = self._plan(return_type, field_details_list)
            if plan is not None:
                try:
                    return plan(self, result)
                except Exception:  # noqa: BLE001 - whatever it is, the standard executor meets it again and tells it
                    self._fast = False
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)

    def _plan(self, return_type: Any, fields: FieldDetailsList) -> Plan | None:
        """The plan of a selection, or None where it is not plain."""
        key = (id(return_type), *(id(details.node) for details in fields), self._flags)
        found = _plans.get(key)
        if found is None:
            # type and nodes are kept with the plan, so that their ids stay theirs
            found = (return_type, fields, self._compile(return_type, fields))
            if self._fast and _is_short(fields):
                if len(_plans) >= MOST_PLANS:
                    _plans.pop(next(iter(_plans)), None)
                _plans[key] = found
        return found[2]

    def _compile(self, return_type: Any, fields: FieldDetailsList) -> Plan | None:
        try:
            return _Compiler(self).plan(return_type, fields)
        except (NotPlainError, SyntaxError, RecursionError):  # the second: more nesting than Python allows
            return None
        except Exception:  # noqa: BLE001 - as a directive whose variable is null: an error that is the standard executor's to tell
            self._fast = False
            return None


def _is_short(fields: FieldDetailsList) -> bool:
    location = fields[0].node.loc
    return location is not None and len(location.source.body) <= LONGEST_DOCUMENT


class _Compiler:
    """Writes the function that completes one selection. Names in it are ours or numbered; texts of the document only as literals."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lines: list[str] = []
        self._prologue: list[str] = []
        self._names: dict[str, Any] = {"Surprise": Surprise, "Undefined": Undefined}
        self._numbers = 0

    def plan(self, return_type: Any, fields: FieldDetailsList) -> Plan:
        self._value("value", return_type, fields, 1)
        text = "\n".join(["def plan(executor, value):", *self._prologue, *self._lines, "    return value"])
        exec(text, self._names)  # noqa: S102 - the decision page says why this may be done
        made: Plan = self._names["plan"]
        return made

    def _write(self, depth: int, line: str) -> None:
        self._lines.append("    " * depth + line)

    def _fresh(self, value: Any = None) -> str:
        """A new name: of a local variable, or of something that the function is given."""
        self._numbers += 1
        name = f"n{self._numbers}"
        if value is not None:
            self._names[name] = value
        return name

    def _value(self, name: str, type_: Any, fields: FieldDetailsList, depth: int) -> None:
        """Complete the variable `name` in place."""
        if depth > DEEPEST:
            raise NotPlainError
        if isinstance(type_, GraphQLNonNull):
            self._present(name, type_.of_type, fields, depth)
        else:
            self._write(depth, f"if {name} is not None:")
            self._present(name, type_, fields, depth + 1)

    def _present(self, name: str, type_: Any, fields: FieldDetailsList, depth: int) -> None:
        """A value that may not be None; what is written refuses None by its class."""
        if isinstance(type_, GraphQLList):
            self._items(name, type_.of_type, fields, depth)
        elif isinstance(type_, GraphQLObjectType):
            self._write(depth, f"if {name} is None: raise Surprise")
            self._object(name, type_, fields, depth)
        elif is_leaf_type(type_):
            self._leaf(name, type_, depth)
        else:
            raise NotPlainError

    def _items(self, name: str, item_type: Any, fields: FieldDetailsList, depth: int) -> None:
        done, item = self._fresh(), self._fresh()
        self._write(depth, f"if {name}.__class__ is not list: raise Surprise")
        self._write(depth, f"{done} = []")
        self._write(depth, f"for {item} in {name}:")
        self._value(item, item_type, fields, depth + 1)
        self._write(depth + 1, f"{done}.append({item})")
        self._write(depth, f"{name} = {done}")

    def _leaf(self, name: str, type_: Any, depth: int) -> None:
        """Values that its serializer would leave as they are, are left; all others go through it."""
        if type_ in (GraphQLString, GraphQLID):
            self._write(depth, f"if {name}.__class__ is not str: raise Surprise")
        elif type_ is GraphQLBoolean:
            self._write(depth, f"if {name}.__class__ is not bool: raise Surprise")
        elif type_ is GraphQLInt:
            self._write(depth, f"if {name}.__class__ is not int or not -2147483648 <= {name} <= 2147483647: raise Surprise")
        elif is_enum_type(type_) and hasattr(type_, "wrapped_cls"):
            # by the value: an enum's member hashes itself in Python
            members = self._fresh({member._value_: type_.coerce_output_value(member) for member in type_.wrapped_cls})
            self._write(depth, f"if {name}.__class__ is not {self._fresh(type_.wrapped_cls)}: raise Surprise")
            self._write(depth, f"{name} = {members}[{name}._value_]")
        else:
            self._write(depth, f"if {name} is None: raise Surprise")
            self._write(depth, f"{name} = {self._fresh(type_.coerce_output_value)}({name})")
            self._write(depth, f"if {name} is None or {name} is Undefined: raise Surprise")

    def _object(self, name: str, type_: GraphQLObjectType, fields: FieldDetailsList, depth: int) -> None:
        if type_.is_type_of is not None:
            raise NotPlainError
        selected = self._executor.collect_subfields(type_, fields)
        if selected.new_defer_usages or selected.forbidden_directive_instances:
            raise NotPlainError
        entries = []
        for key, below in selected.grouped_field_set.items():
            field_name = below[0].node.name.value
            if field_name == "__typename":
                entries.append(f"{key!r}: {type_.name!r}")
                continue
            field = type_.fields[field_name]
            value = self._fresh()
            self._write(depth, f"{value} = {self._read(name, field)}")
            self._value(value, field.type, below, depth)
            entries.append(f"{key!r}: {value}")
        self._write(depth, f"{name} = {{{', '.join(entries)}}}")

    def _read(self, source: str, field: GraphQLField) -> str:
        """The expression that reads a plain field of the object `source`."""
        definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if not isinstance(definition, StrawberryField) or field.args or definition.extensions or definition.is_async:
            raise NotPlainError
        if definition.is_basic_field:
            if definition.default_resolver is not getattr or not getattr(field.resolve, "_is_default", False):
                raise NotPlainError
            return f"{source}.{definition.python_name}"
        resolver = definition.base_resolver
        if resolver is None or resolver.parent_parameter or resolver.root_parameter or not resolver.self_parameter:
            raise NotPlainError
        call = self._fresh(resolver.wrapped_func)
        if resolver.info_parameter is None:
            return f"{call}({source})"
        info = self._fresh()
        self._names["info_of"] = _info_of
        self._prologue.append(f"    {info} = info_of(executor, {self._fresh(definition)})")
        return f"{call}({source}, {resolver.info_parameter.name}={info})"


def _info_of(executor: Executor, field: StrawberryField) -> strawberry.Info:
    """What a plain method may know: the context. To ask it for more, as for the path, is a surprise."""
    return strawberry.Info(_raw_info=SimpleNamespace(context=executor.context_value), _field=field)  # type: ignore[arg-type]
