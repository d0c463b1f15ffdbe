"""What a document may ask for: depth, aliases, tokens, and one operation at a time.

The limits look at documents that are valid, so every fragment is there and none goes in circles. Each fragment is
measured once: Strawberry's own depth rule expands it at every use, and twenty fragments that each use the next one twice
keep it busy for a minute. What was measured is kept per document, like the parsed and the validated ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionSetNode,
)
from strawberry.extensions import SchemaExtension

MAX_DEPTH = 12
MAX_ALIASES = 30
MAX_TOKENS = 2000
CACHED_DOCUMENTS = 500


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
        messages = over_the_limits(document)
        errors = [GraphQLError(message, original_error=TooComplexError(message)) for message in messages]
        if context._provided_operation_name is None and _operations(document) > 1:  # noqa: SLF001
            errors.append(GraphQLError("The document has several operations: say which one with `operationName`."))
        if errors:
            context.pre_execution_errors = errors


@lru_cache(maxsize=CACHED_DOCUMENTS)
def over_the_limits(document: DocumentNode) -> tuple[str, ...]:
    """A sentence for each limit that a valid document exceeds. Introspection (`__schema`, `__type`) counts no depth."""
    measure = _Measure({d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)})
    sizes = [measure.of(d.selection_set) for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    depth, aliases = max(size[0] for size in sizes), sum(size[1] for size in sizes)
    found = []
    if depth > MAX_DEPTH:
        found.append(f"The document is {depth} levels deep; at most {MAX_DEPTH} are answered.")
    if aliases > MAX_ALIASES:
        found.append(f"The document has {aliases} aliases; at most {MAX_ALIASES} are answered.")
    return tuple(found)


@dataclass
class _Measure:
    fragments: dict[str, FragmentDefinitionNode]
    known: dict[str, tuple[int, int]] = field(default_factory=dict)

    def of(self, selection_set: SelectionSetNode | None) -> tuple[int, int]:
        """(depth, aliases) below a selection set, with its fragments expanded."""
        depth = aliases = 0
        for selection in selection_set.selections if selection_set else ():
            if isinstance(selection, FragmentSpreadNode):
                below, more = self._of_fragment(selection.name.value)
            elif isinstance(selection, FieldNode):
                below, more = self.of(selection.selection_set)
                below = 0 if selection.name.value.startswith("__") else below + 1
                more += selection.alias is not None
            else:
                below, more = self.of(selection.selection_set)  # type: ignore[attr-defined]
            depth, aliases = max(depth, below), aliases + more
        return depth, aliases

    def _of_fragment(self, name: str) -> tuple[int, int]:
        if name not in self.known:
            self.known[name] = self.of(self.fragments[name].selection_set)
        return self.known[name]


def _operations(document: DocumentNode) -> int:
    return sum(isinstance(definition, OperationDefinitionNode) for definition in document.definitions)
