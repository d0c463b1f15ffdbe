"""Random operations that are valid: every field of the schema, and inputs that are of their types and still strange."""

import random
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

from schema.root import schema

STRANGE = (
    "",
    " ",
    "x",
    "\u202eabc\u202c",
    "e\u0301\u0327\u200d\ufeff",
    "👩\u200d👩\u200d👧\u200d👦" * 20,
    "line\r\nBcc: evil@example.test\r\n\r\nbody",
    "BEGIN:VCALENDAR\r\nEND:VCALENDAR",
    "<script>alert(1)</script>",
    "'; DROP TABLE booking; --",
    "{{ 7 * 7 }}${7*7}%s%n",
    "\x01\x02\x1b[31m\x7f",
    "\u0000",
    "\ud800",
    "\udfff\ud800",
    "null",
    "é" * 5000,
    "a" * 50_000,
    "../../../etc/passwd",
    "http://127.0.0.1:1/",
    "someone@example.test",
    "someone@[127.0.0.1]",
    "@",
)
TIMES = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "1969-12-31T23:59:59.999Z",
    "2016-12-31T23:59:60Z",
    "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59-14:00",
    "2027-03-28T02:30:00+01:00",
    "2027-03-02T09:00",
    "",
)
ZONES = ("Europe/Berlin", "UTC", "Pacific/Apia", "America/St_Johns", "Mars/Olympus", "", "../UTC")
NUMBERS = (0, 1, -1, 30, 60, 100, 101, 2**31 - 1, -(2**31))
UNTOUCHED = {"disconnectProvider", "eraseUser"}
"""Would end what is being tried: these are asked for what is not there."""


class Mutations:
    """`ids`: those that exist, `times`: some that may well be free."""

    def __init__(self, chance: random.Random, ids: list[str], times: list[str]) -> None:
        self.chance, self.ids, self.times = chance, ids, times

    def operation(self) -> tuple[str, dict[str, Any]]:
        """A mutation with its inputs as variables; now and then several in one document."""
        root = schema._schema.mutation_type
        assert root is not None
        names = self.chance.sample(sorted(set(root.fields) - UNTOUCHED), 1 if self.chance.random() < 0.9 else 3)
        declared, fields, variables = [], [], {}
        for number, name in enumerate(names):
            given = []
            for argument, definition in root.fields[name].args.items():
                variable = f"v{number}{argument}"
                declared.append(f"${variable}: {definition.type}")
                given.append(f"{argument}: ${variable}")
                variables[variable] = self.value(argument, definition.type)
            arguments = f"({', '.join(given)})" if given else ""
            fields.append(f"a{number}: {name}{arguments} {{ {self.selection(root.fields[name].type, 3)} }}")
        head = f"mutation Fuzzed({', '.join(declared)})" if declared else "mutation Fuzzed"
        return f"{head} {{ {' '.join(fields)} }}", variables

    def value(self, name: str, kind: GraphQLInputType) -> Any:
        if isinstance(kind, GraphQLNonNull):
            return self.value(name, kind.of_type)
        if isinstance(kind, GraphQLList):
            most = 3 if self.chance.random() < 0.95 else 300
            return [self.value(name, kind.of_type) for _ in range(self.chance.randint(0, most))]
        if isinstance(kind, GraphQLEnumType):
            return self.chance.choice(list(kind.values))
        if isinstance(kind, GraphQLInputObjectType):
            fields = dict([self.chance.choice(list(kind.fields.items()))]) if kind.is_one_of else kind.fields
            wanted = {n for n, f in fields.items() if kind.is_one_of or isinstance(f.type, GraphQLNonNull) or self.chance.random() < 0.5}
            return {n: self.value(n, f.type) for n, f in fields.items() if n in wanted}
        return self.scalar(name, get_named_type(kind).name)

    def scalar(self, name: str, kind: str) -> Any:  # noqa: PLR0911 - one per type
        usual = self.chance.random() < 0.6
        match kind:
            case "ID":
                return self.chance.choice(self.ids if usual else STRANGE)
            case "Int":
                return self.chance.choice(NUMBERS)
            case "Boolean":
                return self.chance.random() < 0.5
            case "DateTime":
                return self.chance.choice(self.times if usual else TIMES)
            case "TimeZone":
                return self.chance.choice(ZONES[:4] if usual else ZONES)
            case _ if name == "idempotencyKey" and usual:
                return f"key-{self.chance.randint(0, 10**9)}"
            case _ if usual:
                return self.chance.choice(["Ill", "Otto", "otto@example.test", "09:00", "17:00", "2027-03-08"])
            case _:
                return self.chance.choice(STRANGE)

    def selection(self, kind: Any, depth: int) -> str:
        named = get_named_type(kind)
        if is_abstract_type(named):
            members = schema._schema.get_possible_types(named)
            return "__typename " + " ".join(f"... on {m.name} {{ {self.selection(m, depth)} }}" for m in members)
        assert isinstance(named, GraphQLObjectType)
        parts = []
        for name, field in named.fields.items():
            below = get_named_type(field.type)
            if any(isinstance(argument.type, GraphQLNonNull) for argument in field.args.values()):
                continue
            if is_leaf_type(below):
                parts.append(name)
            elif depth > 1:
                parts.append(f"{name} {{ {self.selection(below, depth - 1)} }}")
        return " ".join(parts) or "__typename"


def hostile(chance: random.Random) -> str:
    """Documents that ask for too much, or are none."""
    depth = chance.choice([5, 13, 40, 200, 600, 1000])
    field = chance.choice(["viewer", "bookings", "a"])
    return chance.choice(
        (
            f"{{ {field} " * depth + "}" * depth,
            "{ " + " ".join(f"a{n}: viewer {{ id }}" for n in range(depth)) + " }",
            "{ viewer { " + "id " * depth + "} }",
            f"{{ booking(id: {'[' * depth}{']' * depth}) {{ id }} }}",
            f"{{ booking(id: {'{a: ' * depth}1{'}' * depth}) {{ id }} }}",
            f"query($a: {'[' * depth}ID{']' * depth}) {{ booking(id: $a) {{ id }} }}",
            "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A viewer { id } }",
            "{ viewer { id " + "@include(if: true) " * depth + "} }",
            "{ ...F0 } " + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(min(depth, 100))),
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
            '{ __type(name: "Query") { name fields { name args { name type { ofType { ofType { name } } } } } } }',
            "subscription { viewer { id } }",
            "query A { viewer { id } } query B { viewer { name } }",
            "{" * depth,
            "#" * depth,
            "\ufeff{ viewer { id } }",
            '{ booking(id: """' + "a\n" * depth + '""") { id } }',
            '{ booking(id: "\\u{110000}\\ud800") { id } }',
            "{ bookings(first: 99999999999999999999) { edges { cursor } } }",
            "{ bookings(first: 1e400) { edges { cursor } } }",
            "query($n: Int = 100) { bookings(first: $n) { edges { node { history(first: $n) { edges { node { id } } } } } } }",
        )
    )
