"""Documents are parsed, validated and measured once, and found by their text.

Strawberry's own ParserCache and ValidationCache are not enough: the second finds a document by its hash, which the
syntax tree computes anew from all of its nodes at each look.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    Visitor,
    parse,
    specified_rules,
    visit,
)
from strawberry.schema.schema import validate_document

from schema.cost import Cost, operation_cost
from schema.limits import MAX_TOKENS, TooComplexError, over_the_limits

CACHED_DOCUMENTS = 500
LONGEST_KEPT = 20_000
"""Characters: what is longer is read anew each time, so that the cache stays small."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document with its operations by name; what is wrong with it whatever the variables, and else what each of them costs."""

    document: DocumentNode
    operations: dict[str | None, OperationDefinitionNode]
    errors: tuple[GraphQLError, ...]
    costs: dict[str | None, Cost]
    introspects: bool


def prepare(schema: GraphQLSchema, text: str) -> Prepared:
    """The document of this text. Raises GraphQLSyntaxError."""
    return _kept(schema, text) if len(text) <= LONGEST_KEPT else _read(schema, text)


def _read(schema: GraphQLSchema, text: str) -> Prepared:
    document = parse(text, max_tokens=MAX_TOKENS)
    operations = {d.name.value if d.name else None: d for d in document.definitions if isinstance(d, OperationDefinitionNode)}
    # with Strawberry's own rules besides those of the specification, as for @oneOf inputs
    invalid = tuple(validate_document(schema, document, tuple(specified_rules)))
    errors = invalid or tuple(too_complex(message) for message in over_the_limits(document))
    if errors:
        return Prepared(document, operations, errors, {}, introspects=False)
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    costs = {name: operation_cost(schema, operation, fragments) for name, operation in operations.items()}
    looked = _Introspection()
    visit(document, looked)
    return Prepared(document, operations, (), costs, looked.found)


_kept = lru_cache(maxsize=CACHED_DOCUMENTS)(_read)


def too_complex(message: str) -> GraphQLError:
    return GraphQLError(message, original_error=TooComplexError(message))


class _Introspection(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.found = self.found or node.name.value in {"__schema", "__type"}
