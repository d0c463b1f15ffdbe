"""One operation, from its text to its result.

Strawberry makes the schema; its `execute_sync` around graphql-core's `execute` would cost as much again as a short
operation does, for hooks that nothing here uses. So documents come from schema/documents.py and go to `execute` at once,
with the schema's own executor.
"""

from collections.abc import Collection
from typing import Any

import strawberry
from graphql import ExecutionResult, GraphQLError, OperationType, execute_sync

from schema.context import Context
from schema.cost import evaluate
from schema.documents import Prepared, prepare, too_complex
from services.errors import BadUserInput

INTROSPECTION_OFF = "This server answers no questions about its schema. Read schema/schema.graphql instead."


class IntrospectionOffError(Exception):
    """Marks an error as that of a question about the schema."""


class OperationTypeError(BadUserInput):
    """An operation of a type that may not be asked for in this way; `type` is its own."""

    def __init__(self, type_: OperationType) -> None:
        super().__init__("There are queries and mutations here, no subscriptions.")
        self.type = type_


def answer(
    schema: strawberry.Schema,
    text: str,
    *,
    variables: dict[str, Any] | None = None,
    name: str | None = None,
    context: Context | None = None,
    allowed: Collection[OperationType] = (OperationType.QUERY, OperationType.MUTATION),
) -> ExecutionResult:
    """Data and errors of the operation `name`, or of the only one. Without a context the limits of the settings do not hold.

    Raises BadUserInput where there is no such operation, OperationTypeError for one that is not allowed.
    """
    if not text:
        raise BadUserInput("The document is empty.")
    try:
        prepared = prepare(schema._schema, text)  # noqa: SLF001 - Strawberry's way to the schema of graphql-core
    except GraphQLError as error:
        return ExecutionResult(None, [error])
    operation = prepared.operations.get(name) if name is not None else next(iter(prepared.operations.values()), None)
    if operation is None:
        raise BadUserInput(f'Unknown operation named "{name}".' if name is not None else "Can't get GraphQL operation type.")
    if operation.operation not in allowed:
        raise OperationTypeError(operation.operation)
    if errors := [*prepared.errors] or _refusals(prepared, variables, name, context):
        return ExecutionResult(None, errors)
    return execute_sync(
        schema._schema,  # noqa: SLF001
        prepared.document,
        context_value=context,
        variable_values=variables,
        operation_name=name,
        executor_class=schema.execution_context_class,
        # no resolver of ours is asynchronous (a test says so), and to look at each value costs
        check_sync=False,
    )


def _refusals(prepared: Prepared, variables: dict[str, Any] | None, name: str | None, context: Context | None) -> list[GraphQLError]:
    """What this request may not, though the document is good."""
    if name is None and len(prepared.costs) > 1:
        return [GraphQLError("The document has several operations: say which one with `operationName`.")]
    if context is None:
        return []
    settings = context.rt.settings
    if prepared.introspects and not settings.introspects:
        return [GraphQLError(INTROSPECTION_OFF, original_error=IntrospectionOffError(INTROSPECTION_OFF))]
    cost = prepared.costs[name] if name is not None else next(iter(prepared.costs.values()))
    if settings.query_cost and (values := evaluate(cost, variables)) > settings.query_cost:
        return [
            too_complex(
                f"The answer may have {values:,} values; at most {settings.query_cost:,} are given. Ask for smaller pages or fewer fields."
            )
        ]
    return []
