"""The schema against the public contract, and the committed SDL against the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, parse, print_ast
from graphql.language import TokenKind, ast

from schema.root import schema

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "schema" / "schema.graphql"
CONTRACT = ROOT.parent / "shared" / "contract.graphql"
# the contract is compared wherever it lies beside the checkout; the committed SDL always is
SOURCES = [COMMITTED, *([CONTRACT] if CONTRACT.exists() else [])]
PLAIN_PROBLEMS = (
    "NotFound",
    "NotPermitted",
    "IdempotencyKeyReused",
    "NotConnected",
    "AuthorizationDenied",
    "AuthorizationExpired",
    "AccountInUse",
    "ScopeMissing",
)
TAG = re.compile(r"(?:(?P<names>[\w ,]+): )?issue (?P<number>\d)")
ROOTS = ("Query", "Mutation")
REACHED = 5  # the contract comes in five steps; so many are here
Definitions = dict[str, Any]
BUILT_IN = {"Int", "Float", "String", "Boolean", "ID"}


def graphql_schema() -> GraphQLSchema:
    return schema._schema


def definitions(document: ast.DocumentNode) -> Definitions:
    return {node.name.value: node for node in document.definitions if isinstance(node, ast.TypeDefinitionNode)}


def members(node: Any) -> list[Any]:
    """Fields, input fields, enum values or union members."""
    return [*(getattr(node, "fields", None) or ()), *(getattr(node, "values", None) or ()), *(getattr(node, "types", None) or ())]


def line_of(node: Any) -> int:
    name: ast.NameNode = node.name
    assert name.loc is not None
    return name.loc.start_token.line


def tags(document: ast.DocumentNode) -> Iterator[tuple[int, list[str], int]]:
    """(line, names or none for the whole line, issue) of every tag in a comment."""
    assert document.loc is not None
    token = document.loc.start_token
    while token.kind is not TokenKind.EOF:
        if token.kind is TokenKind.COMMENT:
            for found in TAG.finditer(token.value):
                yield token.line, re.findall(r"\w+", found["names"] or ""), int(found["number"])
        assert token.next is not None
        token = token.next


def later(document: ast.DocumentNode) -> set[tuple[str, str]]:
    """(type, member) of everything that a later issue brings."""
    marked = set()
    for line, names, number in tags(document):
        here = [(kind, m.name.value) for kind, node in definitions(document).items() for m in members(node) if line_of(m) == line]
        if not here:
            continue  # the words at the top that explain the tags
        if "last" in names:
            here = here[-2:]
        elif names:
            here = [(kind, name) for kind, name in here if name in names]
        assert here, f"the tag in line {line} names nothing"
        if number > REACHED:
            marked |= set(here)
    return marked


def used_types(node: Any) -> Iterator[str]:
    if isinstance(node, ast.NamedTypeNode):
        yield node.name.value
    elif isinstance(node, ast.NonNullTypeNode | ast.ListTypeNode):
        yield from used_types(node.type)
    elif isinstance(node, ast.FieldDefinitionNode):
        yield from used_types(node.type)
        for argument in node.arguments or ():
            yield from used_types(argument.type)
    elif isinstance(node, ast.InputValueDefinitionNode):
        yield from used_types(node.type)


def reachable(types: Definitions, absent: set[tuple[str, str]]) -> set[str]:
    """The names of types that can be met from the roots without what is absent."""
    seen: set[str] = set()
    queue = list(ROOTS)
    while queue:
        name = queue.pop()
        if name in seen or name in BUILT_IN:
            continue
        seen.add(name)
        for member in members(types.get(name)):
            if (name, member.name.value) not in absent:
                queue += used_types(member)
    return seen


def value(node: Any) -> str:
    """` = default`; an explicit null is the same as none for an argument that may be left out."""
    return "" if node is None or isinstance(node, ast.NullValueNode) else f" = {print_ast(node)}"


def facts(types: Definitions, names: set[str], absent: set[tuple[str, str]]) -> set[str]:
    """Everything that can be said of these types, one line each."""
    found = set()
    for name in names & set(types):
        node = types[name]
        directives = sorted(d.name.value for d in node.directives or ())
        found.add(f"{node.kind.removesuffix('_definition')} {name} {directives}")
        found |= {f"{name} implements {i.name.value}" for i in getattr(node, "interfaces", None) or ()}
        for member in members(node):
            label = f"{name}.{member.name.value}"
            if (name, member.name.value) in absent:
                continue
            if not hasattr(member, "type"):
                found.add(label)
                continue
            found.add(f"{label}: {print_ast(member.type)}{value(getattr(member, 'default_value', None))}")
            found |= {
                f"{label}({a.name.value}: {print_ast(a.type)}{value(a.default_value)})" for a in getattr(member, "arguments", None) or ()
            }
    return found


def code() -> Definitions:
    return definitions(parse(schema.as_str()))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_everything_due_is_in_the_schema_as_written(source: Path) -> None:
    document = parse(source.read_text())
    types, absent = definitions(document), later(document)
    due = reachable(types, absent)
    written = code()
    assert due - set(written) == set()
    assert facts(types, due, absent) - facts(written, due, set()) == set()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_nothing_of_a_later_issue_is_there(source: Path) -> None:
    document = parse(source.read_text())
    absent = later(document)
    written = code()
    present = {(name, member.name.value) for name, node in written.items() for member in members(node)}
    assert absent & present == set()
    future = reachable(definitions(document), set()) - reachable(definitions(document), absent)
    assert future & set(written) == set()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_schema_adds_no_argument_without_which_a_written_query_fails(source: Path) -> None:
    document = parse(source.read_text())
    known = facts(definitions(document), set(definitions(document)), set())
    for name, node in code().items():
        if name not in definitions(document):
            continue
        written = {field.name.value for field in members(definitions(document)[name])}
        for field in members(node):
            if field.name.value not in written:
                continue  # nobody has asked for it yet
            for argument in (getattr(field, "arguments", None) or ()) if hasattr(field, "type") else ():
                required = isinstance(argument.type, ast.NonNullTypeNode) and argument.default_value is None
                line = f"{name}.{field.name.value}({argument.name.value}: {print_ast(argument.type)})"
                assert not required or line in known, line


def test_the_committed_sdl_is_the_codes() -> None:
    assert COMMITTED.read_text() == schema.as_str() + "\n"


@pytest.mark.parametrize("name", PLAIN_PROBLEMS)
def test_plain_problems_have_a_code_and_a_message_and_nothing_else(name: str) -> None:
    kind = graphql_schema().type_map[name]
    assert isinstance(kind, GraphQLObjectType)
    assert {field: str(f.type) for field, f in kind.fields.items()} == {"code": "String!", "message": "String!"}
    assert [i.name for i in kind.interfaces] == ["Problem"]


def test_every_connection_is_a_relay_connection() -> None:
    connections = [t for t in graphql_schema().type_map.values() if isinstance(t, GraphQLObjectType) and t.name.endswith("Connection")]
    assert {c.name for c in connections} == {
        "AttentionItemConnection",
        "AuditEntryConnection",
        "BookingConnection",
        "BookingChangeConnection",
        "EventTypeConnection",
        "NotificationConnection",
        "WebhookEventConnection",
    }
    for connection in connections:
        node = connection.name.removesuffix("Connection")
        assert str(connection.fields["edges"].type) == f"[{node}Edge!]!"
        assert str(connection.fields["pageInfo"].type) == "PageInfo!"
        edge = graphql_schema().type_map[f"{node}Edge"]
        assert isinstance(edge, GraphQLObjectType)
        assert {name: str(f.type) for name, f in edge.fields.items()} == {"node": f"{node}!", "cursor": "String!"}


def test_everything_has_a_description() -> None:
    bare = []
    for name, kind in graphql_schema().type_map.items():
        if name.startswith("__") or name in BUILT_IN:
            continue
        if not kind.description:
            bare.append(name)
        if not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            assert not isinstance(kind, GraphQLEnumType) or kind.values
            continue
        for field_name, field in kind.fields.items():
            if not field.description:
                bare.append(f"{name}.{field_name}")
            bare += [f"{name}.{field_name}({a})" for a, argument in getattr(field, "args", {}).items() if not argument.description]
    assert bare == []


def test_every_union_of_failures_can_be_asked_through_one_fragment() -> None:
    """`... on Problem { code message }` is valid on every result union that has a problem in it."""
    known = graphql_schema()
    problem = known.type_map["Problem"]
    assert isinstance(problem, GraphQLInterfaceType)
    problems = {t.name for t in known.get_implementations(problem).objects}
    for union in (t for t in known.type_map.values() if t.name.endswith("Result")):
        assert {t.name for t in known.get_possible_types(union)} & problems  # type: ignore[arg-type]
