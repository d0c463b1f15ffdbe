"""Documents are parsed, validated and measured once; what depends on the request is looked at each time.

Strawberry's own ParserCache and ValidationCache are not enough: the second finds a document by its hash, which the
syntax tree computes anew from all of its nodes at each look. Here both are found by their text.
"""

from collections.abc import Iterator
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
    validate,
    visit,
)
from strawberry.extensions import SchemaExtension

from schema.cost import Cost, evaluate, operation_cost
from schema.limits import MAX_TOKENS, TooComplexError, over_the_limits

CACHED_DOCUMENTS = 500
LONGEST_KEPT = 20_000
"""Characters: what is longer is read anew each time, so that the cache stays small."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document, what is wrong with it whatever the variables, and else the cost of each of its operations."""

    document: DocumentNode
    errors: tuple[GraphQLError, ...]
    costs: dict[str | None, Cost]
    introspects: bool


def prepare(schema: GraphQLSchema, text: str) -> Prepared:
    """The document of this text. Raises GraphQLSyntaxError."""
    return _kept(schema, text) if len(text) <= LONGEST_KEPT else _read(schema, text)


def _read(schema: GraphQLSchema, text: str) -> Prepared:
    document = parse(text, max_tokens=MAX_TOKENS)
    errors = tuple(validate(schema, document)) or tuple(too_complex(message) for message in over_the_limits(document))
    if errors:
        return Prepared(document, errors, {}, introspects=False)
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    costs = {d.name.value if d.name else None: operation_cost(schema, d, fragments) for d in operations}
    looked = _Introspection()
    visit(document, looked)
    return Prepared(document, (), costs, looked.found)


_kept = lru_cache(maxsize=CACHED_DOCUMENTS)(_read)


def too_complex(message: str) -> GraphQLError:
    return GraphQLError(message, original_error=TooComplexError(message))


class _Introspection(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.found = self.found or node.name.value in {"__schema", "__type"}


class IntrospectionOffError(Exception):
    """Marks an error as that of a question about the schema."""


INTROSPECTION_OFF = "This server answers no questions about its schema. Read schema/schema.graphql instead."


class Documents(SchemaExtension):
    """Gives the schema what was prepared, and refuses what costs too much with these variables."""

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        self._prepared = prepare(context.schema._schema, context.query or "")  # noqa: SLF001
        context.graphql_document = self._prepared.document
        yield

    def on_validate(self) -> Iterator[None]:
        self.execution_context.pre_execution_errors = [*self._prepared.errors] or self._refusals()
        yield

    def _refusals(self) -> list[GraphQLError]:
        """What this request may not, though the document is good."""
        context, prepared = self.execution_context, self._prepared
        name = context._provided_operation_name  # noqa: SLF001
        if name is None and len(prepared.costs) > 1:
            return [GraphQLError("The document has several operations: say which one with `operationName`.")]
        if context.context is None:  # without a request, as when the schema is tried out
            return []
        settings = context.context.rt.settings
        if prepared.introspects and not settings.introspects:
            return [GraphQLError(INTROSPECTION_OFF, original_error=IntrospectionOffError(INTROSPECTION_OFF))]
        cost = prepared.costs[name] if name is not None else next(iter(prepared.costs.values()))
        if settings.query_cost and (values := evaluate(cost, context.variables)) > settings.query_cost:
            return [
                too_complex(
                    f"The answer may have {values:,} values; at most {settings.query_cost:,} are given. "
                    "Ask for smaller pages or fewer fields."
                )
            ]
        return []
