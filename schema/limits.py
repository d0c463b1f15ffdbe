"""What a document may ask for: depth, aliases, tokens, and one operation at a time.

The limits look at documents that are valid: the rules follow fragments, and on a document with unknown or circular
fragments they would fail or never end. Both kinds of rules are classes made once, so that the caches hit.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from graphql import DocumentNode, GraphQLError, OperationDefinitionNode, validate
from strawberry.extensions import SchemaExtension
from strawberry.extensions.max_aliases import create_validator as aliases_rule
from strawberry.extensions.query_depth_limiter import create_validator as depth_rule

MAX_DEPTH = 12
MAX_ALIASES = 30
MAX_TOKENS = 2000
CACHED_DOCUMENTS = 500

RULES = (depth_rule(MAX_DEPTH, None, None), aliases_rule(MAX_ALIASES))


class TooComplexError(Exception):
    """Marks an error as a limit's."""


class Limits(SchemaExtension):
    """Comes after ValidationCache in the list of extensions: it looks at what that found valid."""

    def on_validate(self) -> Iterator[None]:
        self._check()
        yield

    def _check(self) -> None:
        context = self.execution_context
        document = context.graphql_document
        if context.pre_execution_errors or document is None:
            return
        errors = list(_over_the_limits(context.schema._schema, document))  # noqa: SLF001
        if context._provided_operation_name is None and _operations(document) > 1:  # noqa: SLF001
            errors.append(GraphQLError("The document has several operations: say which one with `operationName`."))
        if errors:
            context.pre_execution_errors = errors


@lru_cache(maxsize=CACHED_DOCUMENTS)
def _over_the_limits(schema: Any, document: DocumentNode) -> tuple[GraphQLError, ...]:
    return tuple(
        GraphQLError(error.message, nodes=error.nodes, original_error=TooComplexError(error.message))
        for error in validate(schema, document, RULES)
    )


def _operations(document: DocumentNode) -> int:
    return sum(isinstance(definition, OperationDefinitionNode) for definition in document.definitions)
