"""JSON that is almost what it should be: a document in which one place holds something else."""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]


class _Gone:
    """The place is not there at all."""

    def __repr__(self) -> str:
        return "GONE"


GONE = _Gone()


def nested(depth: int) -> Any:
    """Lists in lists."""
    found: Any = []
    for _ in range(depth):
        found = [found]
    return found


DEEPEST = nested(900)
MARK = "the deepest of all"
ODD: tuple[Any, ...] = (
    GONE,
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    0.5,
    1e300,
    -1e300,
    "",
    " ",
    "x",
    "\x01\x1b\x7f",
    "ä\u202e\u0301🦊\ufeff",
    "line\r\nBcc: evil@example.test\r\n\r\n<script>alert(1)</script>",
    "é" * 3000,
    "null",
    "-7",
    "1e5",
    "٣",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59-14:00",
    "2027-03-02",
    "2027-03-02T09:00",
    "2027-W09-2",
    "Mars/Olympus",
    "../../etc/passwd",
    "https://[",
    "https://example.test/" + "a" * 5000,
    "javascript:alert(1)",
    [],
    {},
    [None],
    [[]],
    [{}],
    ["x"],
    [1, "a", None, {}],
    {"x": 1},
    {"id": [], "uri": {}, "name": 5},
    nested(300),
    DEEPEST,
)
"""What may stand where something else is expected. Texts with U+0000 are among the bytes below."""

BROKEN: tuple[bytes, ...] = (
    b"",
    b" ",
    b"null",
    b"true",
    b"0",
    b'"a text"',
    b"[]",
    b"{}",
    b"[null]",
    b"[[[]]]",
    b'{"data": null}',
    b'{"data": []}',
    b'{"data": {}}',
    b'{"data": "x"}',
    b'{"data": [null, 1, "x", [], {}]}',
    b'{"resource": null}',
    b'{"resource": {}}',
    b'{"collection": [null, 1, "x", [], {}], "pagination": []}',
    b'{"collection": {}, "pagination": null}',
    b'{"collection": [], "pagination": {"next_page_token": [1]}}',
    b'{"meetings": [null, 1, [], {}]}',
    b'{"error": null}',
    b'{"error": {"code": [], "message": {}}}',
    b'{"error": [], "message": []}',
    b'{"access_token": null, "expires_in": "x"}',
    b'{"access_token": "a", "expires_in": 1e300}',
    b'{"access_token": "a", "expires_in": "abc", "refresh_token": 5, "scope": {}}',
    b'{"data": NaN}',
    b"NaN",
    b"1e999",
    b"-" * 100,
    b"9" * 5000,
    b"<!doctype html><title>502</title><h1>Bad Gateway</h1>",
    b'{"data": {"uid": "cut off',
    b'\xff\xfe{\x00"\x00d\x00"\x00}\x00',
    b'{"data": "\xe9\xff"}',
    b"\xef\xbb\xbf{}",
    b'{"data": "\\ud800"}',
    b'{"data": [{"uid": "a\\u0000b"}]}',
    b'{"data": [{"uid": "a\\u\\u00000000b"}]}',
    b"[" * 100_000,
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
)
"""Bodies that are no answer of anybody's."""


def places(document: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in a document, its root first."""
    yield path
    if isinstance(document, dict):
        for name, value in document.items():
            yield from places(value, (*path, name))
    elif isinstance(document, list):
        for number, value in enumerate(document[:3]):
            yield from places(value, (*path, number))


@dataclass(frozen=True)
class Mutation:
    """`value` at `path`; of a document that has no such place, or is too deep already, nothing is changed."""

    path: Path
    value: Any

    def apply(self, document: Any) -> Any:
        if not self.path:
            return document if self.value is GONE else self.value
        try:
            place = changed = copy.deepcopy(document)
            for step in self.path[:-1]:
                place = place[step]
            if self.value is GONE:
                del place[self.path[-1]]
            else:
                place[self.path[-1]] = self.value
        except (KeyError, IndexError, TypeError, RecursionError):
            return document
        return changed

    def body(self, document: Any) -> bytes:
        """The changed document as it is sent."""
        if self.value is DEEPEST:
            # deeper than a writer of JSON goes
            marked = json.dumps(Mutation(self.path, MARK).apply(document))
            return marked.replace(json.dumps(MARK), "[" * 900 + "]" * 900).encode()
        return json.dumps(self.apply(document)).encode()

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path)) or 'all'} = {repr(self.value)[:60]}"


def chosen(chance: random.Random, document: Any) -> Mutation:
    """One mutation of that document."""
    return Mutation(chance.choice(list(places(document))), chance.choice(ODD))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
"""Without U+0000, which is removed where bytes come in."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """The document with something else in one to three places."""
    changed = document
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(changed))))
        changed = Mutation(path, draw(st.sampled_from(ODD) | JSON)).apply(changed)
    return changed
