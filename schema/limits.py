"""What a document may ask for, whatever its variables: depth, aliases, directives, tokens.

The limits look at documents that are valid, so every fragment is there and none goes in circles. Each fragment is
measured once: Strawberry's own depth rule expands it at every use, and twenty fragments that each use the next one twice
keep it busy for a minute.
"""

from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Visitor,
    visit,
)

MAX_DEPTH = 12
MAX_ALIASES = 30
MAX_DIRECTIVES = 50
MAX_TOKENS = 2000


class TooComplexError(Exception):
    """Marks an error as a limit's."""


def over_the_limits(document: DocumentNode) -> tuple[str, ...]:
    """A sentence for each limit that a valid document exceeds. Introspection (`__schema`, `__type`) counts no depth."""
    measure = _Measure({d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)})
    sizes = [measure.of(d.selection_set) for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    counted = _Directives()
    visit(document, counted)
    found = (
        (max(size[0] for size in sizes), MAX_DEPTH, "is {} levels deep"),
        (sum(size[1] for size in sizes), MAX_ALIASES, "has {} aliases"),
        (counted.number, MAX_DIRECTIVES, "has {} directives"),
    )
    return tuple(f"The document {text.format(number)}; at most {most} are answered." for number, most, text in found if number > most)


class _Directives(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def enter_directive(self, _node: DirectiveNode, *_: Any) -> None:
        self.number += 1


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
