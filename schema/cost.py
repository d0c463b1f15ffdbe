"""What an operation may cost: how many values its answer can have, told by the sizes of the lists in it.

Each field counts one. What stands below the `edges` of a connection counts as often as its `first` says, what stands
below another list as often as such lists are long; lists in lists multiply. Whatever is skipped at run time counts too.

A document is measured once, into a sum of products of page sizes. A size that a variable gives stays open in it and is
put in with each request.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Undefined,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
    value_from_ast_untyped,
)

from schema.connections import DEFAULT, MOST

LENGTH = 10
"""How long a list without pages is taken to be: participants, answers, warnings."""
LENGTHS = {"Availability.slots": 500, "Availability.starts": 500, "Availability.days": 60}
"""Those that are regularly longer."""


class Open(NamedTuple):
    """A page size that a variable gives; else what holds when it is left out, and when it is null."""

    variable: str
    left_out: object
    null: int


Size = Open | int
Cost = dict[tuple[Open, ...], int]
"""A sum of products: how often each product of open sizes counts. The empty product is what costs always the same."""


def evaluate(cost: Cost, variables: dict[str, object] | None) -> int:
    """The cost of one request with these variables."""
    given, total = variables or {}, 0
    for sizes, times in cost.items():
        for size in sizes:
            times *= _size(given.get(size.variable, size.left_out), size.null)  # noqa: PLW2901 - the product so far
        total += times
    return total


def _size(value: object, null: int) -> int:
    """What no list would take counts as the longest page: it is refused later, by the list, in words that fit better."""
    if value is None:
        return null
    return int(value) if isinstance(value, (int, float)) and 1 <= value <= MOST else MOST


def operation_cost(schema: GraphQLSchema, operation: OperationDefinitionNode, fragments: dict[str, FragmentDefinitionNode]) -> Cost:
    """The cost of a valid operation."""
    root = schema.get_root_type(operation.operation)
    left_out = {
        definition.variable.name.value: value_from_ast_untyped(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }
    return _Measure(schema, fragments, left_out).of(operation.selection_set, root, None)


@dataclass
class _Measure:
    schema: GraphQLSchema
    fragments: dict[str, FragmentDefinitionNode]
    left_out: dict[str, object]
    known: dict[tuple[str, Size | None], Cost] = field(default_factory=dict)

    def of(self, selection_set: SelectionSetNode, parent: object, page: Size | None) -> Cost:
        """The cost of a selection in `parent`; `page` is the size of the connection that this is."""
        cost: Cost = {}
        for selection in selection_set.selections:
            if isinstance(selection, FragmentSpreadNode):
                _add(cost, self._of_fragment(selection.name.value, page))
            elif isinstance(selection, FieldNode):
                _add(cost, self._of_field(selection, parent, page))
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                inner = self.schema.get_type(condition.name.value) if condition else parent
                _add(cost, self.of(selection.selection_set, inner, page))
        return cost

    def _of_fragment(self, name: str, page: Size | None) -> Cost:
        """Measured once: twenty fragments that use the next one twice each would take a minute."""
        if (name, page) not in self.known:
            fragment = self.fragments[name]
            self.known[name, page] = self.of(fragment.selection_set, self.schema.get_type(fragment.type_condition.name.value), page)
        return self.known[name, page]

    def _of_field(self, node: FieldNode, parent: object, page: Size | None) -> Cost:
        name = node.name.value
        if name.startswith("__"):
            return {(): 1}
        definition: GraphQLField = parent.fields[name]  # type: ignore[attr-defined]
        kind = get_named_type(definition.type)
        below = self.of(node.selection_set, kind, self._page(node, definition)) if node.selection_set else {}
        if is_list_type(get_nullable_type(definition.type)):
            length = page if page is not None and name == "edges" else LENGTHS.get(f"{parent}.{name}", LENGTH)
            below = _times(below or {(): 1}, length)
        return _sum({(): 1}, below)

    def _page(self, node: FieldNode, definition: GraphQLField) -> Size | None:
        """The size of the page, where the field is a connection."""
        argument = definition.args.get("first")
        if argument is None:
            return None
        default = argument.default_value if argument.default_value not in {None, Undefined} else DEFAULT
        value = next((given.value for given in node.arguments or () if given.name.value == "first"), None)
        if isinstance(value, VariableNode):
            name = value.name.value
            return Open(name, self.left_out.get(name, default), default)
        return _size(int(value.value), default) if isinstance(value, IntValueNode) else default


def _add(to: Cost, more: Cost) -> None:
    for sizes, times in more.items():
        to[sizes] = to.get(sizes, 0) + times


def _sum(one: Cost, other: Cost) -> Cost:
    both = dict(one)
    _add(both, other)
    return both


def _times(cost: Cost, length: Size) -> Cost:
    if isinstance(length, int):
        return {sizes: times * length for sizes, times in cost.items()}
    return {tuple(sorted((*sizes, length), key=str)): times for sizes, times in cost.items()}
