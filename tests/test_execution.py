"""The fast executor answers what the standard one answers: data and errors alike, on generated queries and on the traps."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)
from harness import MONDAY, Caller, World, at
from strawberry.extensions import SchemaExtension
from strawberry.extensions.field_extension import FieldExtension
from strawberry.extensions.parser_cache import ParserCache
from strawberry.permission import BasePermission

from models import Booking, BookingChange, Participant, RateBucket, User
from schema import execution
from schema.context import Context
from schema.execution import Executor
from schema.root import schema as ours
from services.identity import Viewer


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    execution._plans.clear()
    yield
    Executor.on = True


def answer(schema: strawberry.Schema, fast: bool, query: str, variables: dict[str, Any] | None = None, context: Any = None) -> Any:
    """(data, errors) with everything a caller can see of an error, and what raised it."""
    Executor.on = fast
    result = schema.execute_sync(query, variable_values=variables, context_value=context)
    errors = [(e.formatted, type(e.original_error), str(e.original_error)) for e in result.errors or ()]
    return result.data, errors


def assert_same(schema: strawberry.Schema, query: str, variables: dict[str, Any] | None = None, context: Any = None) -> tuple[Any, Any]:
    """Both executors agree, the fast one also the second time, with its plans made."""
    standard = answer(schema, False, query, variables, context)
    for _ in range(2):
        assert answer(schema, True, query, variables, context) == standard, query
    return standard


def plans() -> list[Any]:
    return [plan for _, _, plan in execution._plans.values() if plan is not None]


# ---- generated queries over our own schema ------------------------------------------------------------------------------


@dataclass
class Generator:
    """Random valid queries: aliases, named and inline fragments, unions, @skip and @include, variables, arguments."""

    chance: random.Random
    ids: dict[str, list[str]]
    fragments: list[str] = field(default_factory=list)
    variables: dict[str, tuple[str, Any]] = field(default_factory=dict)
    aliases: int = 0

    def query(self) -> tuple[str, dict[str, Any]]:
        root = ours._schema.query_type
        assert root is not None
        names = self.chance.sample(sorted(root.fields), self.chance.randint(1, 3))
        body = " ".join(self.field(root, name, 5) for name in names)
        declared = ", ".join(f"${name}: {type_}" for name, (type_, _) in self.variables.items())
        head = f"query Generated({declared})" if declared else "query Generated"
        text = f"{head} {{ {body} }} " + " ".join(self.fragments)
        return text, {name: value for name, (_, value) in self.variables.items()}

    def field(self, parent: GraphQLObjectType, name: str, depth: int) -> str:
        definition = parent.fields[name]
        alias = ""
        if self.chance.random() < 0.1 and self.aliases < 25:
            self.aliases += 1
            alias = f"a{self.aliases}: "
        text = f"{alias}{name}{self.arguments(definition.args, needed=bool(parent.name != 'Query'))}{self.directive()}"
        type_ = get_named_type(definition.type)
        return text if is_leaf_type(type_) else f"{text} {{ {self.selection(type_, depth - 1)} }}"

    def selection(self, type_: Any, depth: int) -> str:
        if is_abstract_type(type_):
            members = ours._schema.get_possible_types(type_)
            chosen = self.chance.sample(list(members), min(len(members), 3))
            return "__typename " + " ".join(f"... on {m.name} {{ {self.selection(m, depth)} }}" for m in chosen)
        leaves = [n for n, f in type_.fields.items() if is_leaf_type(get_named_type(f.type))]
        below = [n for n in type_.fields if n not in leaves] if depth > 0 else []
        names = self.chance.sample(leaves, self.chance.randint(min(1, len(leaves)), len(leaves)))
        names += self.chance.sample(below, self.chance.randint(0 if leaves else min(1, len(below)), len(below)))
        parts = [self.field(type_, name, depth) for name in names]
        if self.chance.random() < 0.3 or not parts:
            parts.append("__typename" + self.directive())
        text = " ".join(parts)
        match self.chance.randint(0, 5):
            case 0:
                return f"... on {type_.name}{self.directive()} {{ {text} }} __typename"
            case 1:
                name = f"F{len(self.fragments)}"
                self.fragments.append(f"fragment {name} on {type_.name} {{ {text} }}")
                return f"...{name}{self.directive()} {self.leaf(leaves)}"
            case _:
                return text

    def leaf(self, leaves: list[str]) -> str:
        return self.chance.choice(leaves) if leaves else "__typename"

    def directive(self) -> str:
        if self.chance.random() > 0.12:
            return ""
        name, value = self.chance.choice(["skip", "include"]), self.chance.random() < 0.5
        if self.chance.random() < 0.5:
            return f" @{name}(if: {str(value).lower()})"
        variable = f"flag{len(self.variables)}"
        self.variables[variable] = ("Boolean!", value)
        return f" @{name}(if: ${variable})"

    def arguments(self, args: dict[str, Any], needed: bool) -> str:
        given = []
        for name, argument in args.items():
            required = isinstance(argument.type, GraphQLNonNull)
            if not required and (needed or self.chance.random() < 0.6) and self.chance.random() < 0.7:
                continue
            if name == "after":
                given.append(f'after: "{self.chance.choice(["nonsense", ""])}"' if self.chance.random() < 0.3 else "after: null")
            elif name == "first" and self.chance.random() < 0.5:
                variable = f"first{len(self.variables)}"
                self.variables[variable] = ("Int", self.chance.choice([1, 3, 100, 0, None]))
                given.append(f"first: ${variable}")
            else:
                given.append(f"{name}: {self.literal(name, argument.type)}")
        return f"({', '.join(given)})" if given else ""

    def literal(self, name: str, type_: Any) -> str:
        if isinstance(type_, GraphQLNonNull):
            type_ = type_.of_type
        if isinstance(type_, GraphQLList):
            return f"[{self.literal(name, type_.of_type)}]"
        if isinstance(type_, GraphQLEnumType):
            return str(self.chance.choice(list(type_.values)))
        if isinstance(type_, GraphQLInputObjectType):
            fields = type_.fields
            if type_.is_one_of:
                fields = dict([self.chance.choice(list(fields.items()))])
            wanted = {
                n: f for n, f in fields.items() if type_.is_one_of or isinstance(f.type, GraphQLNonNull) or self.chance.random() < 0.3
            }
            return "{" + ", ".join(f"{n}: {self.literal(n, f.type)}" for n, f in wanted.items()) + "}"
        return self.scalar(name, type_.name)

    def scalar(self, name: str, type_name: str) -> str:
        match type_name:
            case "ID":
                return f'"{self.chance.choice(self.ids.get(name, self.ids["id"]))}"'
            case "Int":
                return str(self.chance.choice([1, 2, 30, 60]))
            case "Boolean":
                return self.chance.choice(["true", "false"])
            case "DateTime":
                return f'"2027-03-{self.chance.randint(1, 9):02d}T{self.chance.randint(0, 23):02d}:00:00Z"'
            case "TimeZone":
                return '"Europe/Berlin"'
            case _:
                return '"s"'


@pytest.fixture
def full(world: World) -> tuple[World, Caller, Caller]:
    """A coach and a mentee with bookings moved, cancelled, answered; and rows in which something is broken."""
    coach = world.coach()
    mentee = world.caller("Max")
    world.account(mentee)
    mentee.link()
    for day in (2, 3, 4, 5, 8):
        world.book(coach, at(day, 9), name="Max", email=mentee.email)
    world.jobs()
    bookings = coach.bookings()
    coach.move(bookings[0]["id"], at(2, 13))
    coach.cancel(bookings[1]["id"], reason="Ill")
    world.jobs()
    # an answer that does not open, a role that nobody knows, a status that nobody knows
    Booking.update(answers="v1.test.broken").where(Booking.id == bookings[2]["id"]).execute()
    Participant.update(role="OTHER").where((Participant.booking == bookings[3]["id"]) & (Participant.role == "MENTEE")).execute()
    Booking.update(status="STRANGE").where(Booking.id == bookings[4]["id"]).execute()
    BookingChange.update(reason="v1.test.broken").where(BookingChange.kind == "MOVED").execute()
    return world, coach, mentee


def viewer_of(world: World, caller: Caller, *, admin: bool = False) -> Context:
    user = User.get(User.email == caller.email)
    viewer = Viewer(
        user_id=user.id,
        person_id=user.person_id,
        name=user.name,
        email=user.email,
        time_zone="Europe/Berlin",
        is_admin=admin,
        session_ends_at=datetime(2030, 1, 1, tzinfo=UTC),
    )
    return Context(world.rt, viewer)


@pytest.mark.parametrize("queries", [120, pytest.param(400, marks=pytest.mark.long)])
def test_generated_queries_are_answered_alike(full: tuple[World, Caller, Caller], queries: int) -> None:
    """Data and errors of several hundred queries over our own schema, for a coach, a mentee and an admin."""
    world, coach, mentee = full
    contexts = [viewer_of(world, coach), viewer_of(world, mentee), viewer_of(world, coach, admin=True)]
    ids = {"id": [*(booking.id for booking in Booking.select().order_by(Booking.start)), "01UNKNOWN"]}
    ids["bookingId"] = ids["id"]
    ids["hostId"] = [contexts[0].viewer.person_id, "01UNKNOWN"]
    failed = full_answers = 0
    for seed in range(queries):
        query, variables = Generator(random.Random(seed), ids).query()
        # what is asked for the first time is fresh, then cached; and explainSlot may be asked so often only
        answer(ours, False, query, variables, contexts[seed % 3])
        RateBucket.delete().execute()
        data, errors = assert_same(ours, query, variables, contexts[seed % 3])
        assert not any("is not defined" in e["message"] or "Cannot query" in e["message"] for e, *_ in errors), (query, errors)
        failed += bool(errors)
        full_answers += data is not None and any(value for value in data.values())
    # the generator meets both good and bad, and plans are really made
    assert failed > queries // 10
    assert full_answers > queries // 3
    assert len(plans()) > queries // 3


def test_a_page_is_completed_by_one_plan(full: tuple[World, Caller, Caller]) -> None:
    """Not only equal but really fast: the page of bookings needs no step of the standard executor below its root."""
    world, coach, _ = full
    Booking.update(status="CONFIRMED").where(Booking.status == "STRANGE").execute()
    query = """{ bookings { edges { cursor node { id version provider title status start end
      participants { id name email role } rescheduling { mode blockedBy } } } pageInfo { hasNextPage endCursor } } }"""
    entered: list[str] = []

    class Counting(Executor):
        def execute_field(self, parent_type: Any, *args: Any) -> Any:
            entered.append(parent_type.name)
            return super().execute_field(parent_type, *args)

    ours_class, ours.execution_context_class = ours.execution_context_class, Counting
    try:
        Participant.update(role="MENTEE").where(Participant.role == "OTHER").execute()
        data, errors = answer(ours, True, query, None, viewer_of(world, coach))
    finally:
        ours.execution_context_class = ours_class
    assert not errors
    assert len(data["bookings"]["edges"]) == 5
    assert entered == ["Query"]


# ---- traps, on a schema of their own --------------------------------------------------------------------------------------


class Denied(BasePermission):
    message = "denied"

    def has_permission(self, source: Any, info: strawberry.Info, **_: Any) -> bool:  # noqa: ARG002 - its signature
        return bool(info.context and info.context.get("may"))


class Shouting(FieldExtension):
    def resolve(self, next_: Any, source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        return str(next_(source, info, **kwargs)).upper()


@strawberry.enum
class Color(Enum):
    RED = "r"
    GREEN = "g"


@strawberry.interface
class Named:
    name: str


@strawberry.type
class Cat(Named):
    lives: int


@strawberry.type
class Inner:
    name: str
    size: int
    ratio: float = 0.5
    color: Color = Color.RED
    at: datetime = MONDAY


@strawberry.type
class Thing:
    """Instances are made with anything in any place, which is what goes wrong in real life."""

    name: str
    maybe: str | None
    number: int
    flag: bool
    color: Color
    inner: Inner | None
    sure: Inner
    many: list[Inner | None]
    grid: list[list[int]] | None
    secret: str = strawberry.field(permission_classes=[Denied], default="the secret")
    loud: str = strawberry.field(extensions=[Shouting()], default="quiet")

    @strawberry.field
    def path_of(self, info: strawberry.Info) -> str:
        return ".".join(str(key) for key in info.path.as_list())

    @strawberry.field
    def chosen(self, info: strawberry.Info) -> list[str]:
        return [f.name for f in info.selected_fields]

    @strawberry.field
    def word(self, info: strawberry.Info) -> str:
        return str(info.context["word"])

    @strawberry.field
    def breaks(self) -> str | None:
        raise RuntimeError("broken")

    @strawberry.field
    def breaks_hard(self) -> str:
        raise RuntimeError("broken hard")

    @strawberry.field
    def repeated(self, times: int = 2) -> str:
        return self.name * times

    @strawberry.field
    def cat(self) -> Cat:
        return Cat(name="Tom", lives=9)

    @strawberry.field
    def pet(self) -> Named:
        return Cat(name="Tim", lives=7)

    @strawberry.field(permission_classes=[Denied])
    def guarded(self) -> str:
        return "guarded"


@strawberry.type
class Node:
    name: str
    below: "list[Node | None] | None"


def thing(**changes: Any) -> Thing:
    good: dict[str, Any] = {
        "name": "n",
        "maybe": None,
        "number": 1,
        "flag": True,
        "color": Color.GREEN,
        "inner": Inner(name="i", size=1),
        "sure": Inner(name="s", size=2),
        "many": [Inner(name="m", size=3), None],
        "grid": [[1, 2], [3]],
    }
    return Thing(**{**good, **changes})


class Sources:
    """What the root field answers; set by each test."""

    things: Any = ()


@strawberry.type
class Query:
    @strawberry.field
    def things(self) -> list[Thing]:
        found: list[Thing] = Sources.things
        return found

    @strawberry.field
    def maybe_things(self) -> list[Thing | None] | None:
        found: list[Thing | None] = Sources.things
        return found


schema = strawberry.Schema(query=Query, execution_context_class=Executor, types=[Cat], extensions=[lambda: ParserCache(maxsize=100)])
EVERYTHING = """name maybe number flag color inner { name size ratio color at __typename } sure { ...I } many { name } grid
  word repeated cat { name lives } pet { name ... on Cat { lives } } loud"""
INNER = "fragment I on Inner { n: name size color }"
CONTEXT = {"word": "w"}

WRONG: list[dict[str, Any]] = [
    {},
    {"name": None},
    {"name": 7},
    {"name": 1.5},
    {"name": True},
    {"name": ["list"]},
    {"name": RuntimeError("as a value")},
    {"maybe": 3},
    {"number": 2**31},
    {"number": 2**31 - 1},
    {"number": "12"},
    {"number": "twelve"},
    {"number": True},
    {"number": 1.0},
    {"number": 1.5},
    {"flag": 1},
    {"flag": "yes"},
    {"color": "g"},
    {"color": "GREEN"},
    {"color": None},
    {"inner": None},
    {"inner": {"name": "a dict"}},
    {"sure": None},
    {"sure": Inner(name="s", size=None)},  # type: ignore[arg-type]
    {"sure": Inner(name="s", size=1, ratio=float("inf"), at="now")},  # type: ignore[arg-type]
    {"sure": RuntimeError("as an object")},
    {"many": None},
    {"many": ()},
    {"many": (Inner(name="in a tuple", size=1),)},
    {"many": iter([Inner(name="once", size=1)])},
    {"many": "text"},
    {"many": [Inner(name=None, size=1)]},  # type: ignore[arg-type]
    {"many": [RuntimeError("an item")]},
    {"grid": None},
    {"grid": [[1], None]},
    {"grid": [[1, "x"]]},
]


@pytest.mark.parametrize("changes", WRONG, ids=lambda changes: " ".join(f"{k} {type(v).__name__}" for k, v in changes.items()) or "good")
@pytest.mark.parametrize("root", ["things", "maybeThings"])
def test_what_is_not_as_the_schema_says(root: str, changes: dict[str, Any]) -> None:
    """Errors, their paths and what they turn to null are the standard executor's; the good items beside stay."""
    for selection in (EVERYTHING, "sure { ...I ratio at } name breaks many { name }", "breaksHard sure { ...I }"):
        query = f"{{ {root} {{ {selection} }} }} {INNER}"
        results = []
        for fast in (False, True, True):
            # made anew each time: an iterator is used up
            wrong = {k: iter([Inner(name="once", size=1)]) if hasattr(v, "__next__") else v for k, v in changes.items()}
            Sources.things = [thing(), thing(**wrong), thing(name="last")]
            results.append(answer(schema, fast, query if "...I" in query else query.replace(INNER, ""), None, CONTEXT))
        assert results[1] == results[0]
        assert results[2] == results[0]


def test_what_is_denied_stays_denied() -> None:
    """`_is_default` is true for a plain field with a permission class: a first fast road gave this secret away."""
    Sources.things = [thing()]
    data, errors = assert_same(schema, "{ maybeThings { name secret } }", None, {"word": "w", "may": False})
    assert data == {"maybeThings": [None]}
    assert [e["message"] for e, *_ in errors] == ["denied"]
    data, errors = assert_same(schema, "{ maybeThings { guarded } }", None, {"may": False})
    assert data == {"maybeThings": [None]}
    allowed, errors = assert_same(schema, "{ things { name secret guarded } }", None, {"may": True})
    assert allowed == {"things": [{"name": "n", "secret": "the secret", "guarded": "guarded"}]}
    assert not errors
    # the same document, the same plan or none, another caller
    denied, errors = assert_same(schema, "{ things { name secret guarded } }", None, {"may": False})
    assert denied is None
    assert errors


def test_extensions_arguments_and_info_are_served() -> None:
    """Fields that are not plain: the object's level is the standard executor's, what is below is fast again."""
    Sources.things = [thing(), thing(name="b")]
    data, errors = assert_same(schema, "{ things { loud repeated(times: 3) pathOf chosen sure { name } word } }", None, CONTEXT)
    assert not errors
    assert data["things"][1] == {
        "loud": "QUIET",
        "repeated": "bbb",
        "pathOf": "things.1.pathOf",
        "chosen": ["chosen"],
        "sure": {"name": "s"},
        "word": "w",
    }
    # `path` and `selected_fields` are no part of what a plan gives: each is served by the standard executor
    only, errors = assert_same(schema, "{ things { pathOf } }", None, CONTEXT)
    assert not errors
    assert only == {"things": [{"pathOf": "things.0.pathOf"}, {"pathOf": "things.1.pathOf"}]}


def test_each_caller_has_their_own_context() -> None:
    """A plan is shared by requests; what a method reads from the context is not."""
    Sources.things = [thing()]
    for word in ("one", "two"):
        data, _ = assert_same(schema, "{ things { name word } }", None, {"word": word})
        assert data == {"things": [{"name": "n", "word": word}]}
    assert len(plans()) == 1


@pytest.mark.parametrize("where", ["field", "inline", "spread"])
def test_directives_count_with_the_variables_of_each_request(where: str) -> None:
    """The same document is another selection with other variables; a plan of one must not answer the other."""
    Sources.things = [thing()]
    body = {
        "field": "number @include(if: $a) flag @skip(if: $b)",
        "inline": "... @include(if: $a) { number } ... on Thing @skip(if: $b) { flag }",
        "spread": "...N @include(if: $a) ...F @skip(if: $b)",
    }[where]
    fragments = "fragment N on Thing { number } fragment F on Thing { flag }" if where == "spread" else ""
    query = f"query($a: Boolean!, $b: Boolean = false) {{ things {{ name {body} }} }} {fragments}"
    for variables in ({"a": True, "b": True}, {"a": False, "b": False}, {"a": True}, {"a": False, "b": True}, {"a": True, "b": True}):
        data, errors = assert_same(schema, query, variables)
        assert not errors
        expected = {"name": "n"} | ({"number": 1} if variables["a"] else {}) | ({} if variables.get("b") else {"flag": True})
        assert data == {"things": [expected]}
    # an error of a directive is the standard executor's as well
    _, errors = assert_same(schema, query, {"a": True, "b": None})
    assert errors


def test_the_same_field_twice_is_merged() -> None:
    Sources.things = [thing()]
    data, _ = assert_same(schema, "{ things { sure { name } ...S x: name } } fragment S on Thing { sure { size sure: name } name }")
    assert data == {"things": [{"sure": {"name": "s", "size": 2, "sure": "s"}, "x": "n", "name": "n"}]}


def test_response_names_cannot_write_code() -> None:
    """Names that mean something in Python, or in what is generated, are only keys of the answer."""
    Sources.things = [thing()]
    names = ["value", "executor", "Surprise", "n1", "None", "class", "__import__", "plan", "lambda"]
    aliases = " ".join(f"{name}: name" for name in names)
    data, errors = assert_same(schema, f"{{ things {{ {aliases} }} }}")
    assert not errors
    assert data == {"things": [dict.fromkeys(names, "n")]}


def test_after_a_surprise_the_rest_of_the_request_is_standard() -> None:
    """No value is tried twice in one request: a broken page costs at most twice a good one."""
    calls: list[str] = []

    @strawberry.type
    class Item:
        label: str

        @strawberry.field
        def checked(self) -> str | None:
            calls.append(self.label)
            raise ValueError(self.label)

    @strawberry.type
    class Root:
        @strawberry.field
        def items(self) -> list[Item]:
            return [Item(label="a"), Item(label="b")]

    made = strawberry.Schema(query=Root, execution_context_class=Executor)
    data, errors = answer(made, True, "{ one: items { checked } two: items { checked } }")
    assert data == {"one": [{"checked": None}] * 2, "two": [{"checked": None}] * 2}
    assert len(errors) == 4
    assert calls == ["a", "a", "b", "a", "b"]


def test_resolve_hooks_of_extensions_see_every_field() -> None:
    """An extension that wraps resolvers switches the fast road off."""
    seen: list[str] = []

    class Watching(SchemaExtension):
        def resolve(self, _next: Any, root: Any, info: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(info.field_name)
            return _next(root, info, *args, **kwargs)

    Sources.things = [thing()]
    watched = strawberry.Schema(query=Query, execution_context_class=Executor, types=[Cat], extensions=[Watching])
    answer(watched, True, "{ things { name number } }")
    assert seen == ["things", "name", "number"]
    assert not plans()


def test_plans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other documents push the oldest plans out; long documents are not kept at all."""
    monkeypatch.setattr(execution, "MOST_PLANS", 5)
    Sources.things = [thing()]
    for number in range(20):
        assert_same(schema, f"{{ things {{ a{number}: name }} }}")
    assert len(execution._plans) == 5
    execution._plans.clear()
    assert_same(schema, "{ things { name } } #" + "x" * execution.LONGEST_DOCUMENT)
    assert not execution._plans


def test_deep_documents_are_answered() -> None:
    """Deeper than Python nests blocks: the standard executor goes on where a plan cannot."""

    @strawberry.type
    class Root:
        @strawberry.field
        def node(self) -> Node | None:
            found = Node(name="end", below=None)
            for number in range(30):
                found = Node(name=str(number), below=[found, None])
            return found

    deep = strawberry.Schema(query=Root, execution_context_class=Executor)
    query = "name"
    for _ in range(25):
        query = f"name below {{ {query} }}"
    data, errors = assert_same(deep, f"{{ node {{ {query} }} }}")
    assert not errors
    assert data["node"]["below"][0]["below"][0]["name"] == "27"
