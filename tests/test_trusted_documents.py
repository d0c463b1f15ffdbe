"""Registered documents: which are taken, what else is, and a manifest that is not good."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import Caller, World

from schema.root import schema
from schema.trusted_documents import ManifestError, TrustedDocuments

ROOT = Path(__file__).parent.parent
VIEWER = "query Me { viewer { name } }"
PAGE = "query Page($n: Int) { bookings(first: $n) { edges { cursor } } }"
READ = "mutation Read { markNotificationsRead(input: {all: true}) { __typename } }"
FREE = "{ viewer { email } }"
UNKNOWN = "0" * 64
NO_FREE = "This server answers registered documents only. Send the `documentId` of one instead of a text."
NO_SUCH = "This server answers registered documents only, and this is none of them. Register it and try again."
APQ = {"version": 1}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., str]:
    def write(*texts: str, **more: str) -> str:
        path = tmp_path / "persisted-documents.json"
        path.write_text(json.dumps({**{sha(text): text for text in texts}, **more}))
        return str(path)

    return write


Serve = Callable[[str], Any]


@pytest.fixture
def serving(world: World, database_url: str, manifest: Callable[..., str]) -> Serve:
    @contextmanager
    def serve(mode: str) -> Iterator[Caller]:
        found = {"trusted_documents": manifest(VIEWER, PAGE, READ), "trusted_documents_mode": mode} if mode != "off" else {}
        with World(database_url, world.issuer, world.sandbox, graphiql=True, **found) as mine:
            yield mine.caller("Dora")

    return serve


def post(caller: Caller, **body: Any) -> httpx.Response:
    return caller.world.http.post("/graphql", json=body, headers={"Authorization": f"Bearer {caller.token}"})


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    (error,) = answer.json()["errors"]
    assert answer.json()["data"] is None
    return answer.status_code, error["extensions"]["code"], error["message"]


def persisted(text: str) -> dict[str, Any]:
    return {"persistedQuery": {**APQ, "sha256Hash": sha(text)}}


def free_texts(caller: Caller) -> float | None:
    return caller.world.rt.metrics.registry.get_sample_value("convene_free_texts_total")


@pytest.mark.parametrize("mode", ["hybrid", "only"])
def test_every_way_to_name_a_document(serving: Serve, mode: str) -> None:
    with serving(mode) as dora:
        me = {"data": {"viewer": {"name": "Dora"}}}
        for body in (
            {"documentId": f"sha256:{sha(VIEWER)}"},
            {"documentId": sha(VIEWER)},
            {"documentId": sha(VIEWER).upper()},
            {"extensions": persisted(VIEWER)},
            {"documentId": sha(VIEWER), "operationName": "Me"},
            # what the manifest has is executed, whatever text came with it
            {"documentId": sha(VIEWER), "query": FREE},
        ):
            assert post(dora, **body).json() == me
        page = post(dora, documentId=sha(PAGE), variables={"n": 3}).json()
        assert page == {"data": {"bookings": {"edges": []}}}
        assert post(dora, documentId=sha(READ)).json()["data"] == {"markNotificationsRead": {"__typename": "NotificationsMarkedRead"}}
        get = dora.world.http.get
        headers = {"Authorization": f"Bearer {dora.token}"}
        for params in ({"documentId": sha(VIEWER)}, {"extensions": json.dumps(persisted(VIEWER))}):
            assert get("/graphql", params=params, headers=headers).json() == me
        assert refused(get("/graphql", params={"documentId": sha(READ)}, headers=headers))[:2] == (405, "METHOD_NOT_ALLOWED")
        assert refused(dora.world.http.post("/graphql", json={"documentId": sha(VIEWER)}))[:2] == (401, "UNAUTHENTICATED")
        assert free_texts(dora) == 0


def test_only_registered_ones(serving: Serve) -> None:
    with serving("only") as dora:
        for text in (FREE, VIEWER, "{ nothing }", ""):
            assert refused(post(dora, query=text)) == (400, "DOCUMENT_NOT_TRUSTED", NO_FREE)
        for body in ({"documentId": UNKNOWN}, {"documentId": sha(FREE), "query": FREE}, {"query": FREE, "extensions": persisted(FREE)}):
            assert refused(post(dora, **body)) == (400, "DOCUMENT_NOT_TRUSTED", NO_SUCH)
        # nothing is ever registered by asking
        assert refused(post(dora, extensions=persisted(FREE))) == (400, "DOCUMENT_NOT_TRUSTED", NO_SUCH)
        page = dora.world.http.get("/graphql", headers={"Accept": "text/html"}).text
        assert "answers registered documents only" in page or "is not installed" in page


def test_both(serving: Serve) -> None:
    with serving("hybrid") as dora:
        assert post(dora, query=FREE).json() == {"data": {"viewer": {"email": "dora@example.test"}}}
        assert free_texts(dora) == 1
        assert "free text" in dora.world.logged.getvalue()
        # the text of a registered one is as good as its hash
        assert post(dora, query=VIEWER).json() == {"data": {"viewer": {"name": "Dora"}}}
        assert free_texts(dora) == 1
        assert refused(post(dora, documentId=UNKNOWN)) == (400, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
        assert post(dora, query=FREE, extensions=persisted(FREE)).json() == {"data": {"viewer": {"email": "dora@example.test"}}}
        assert refused(post(dora, extensions=persisted(FREE))) == (400, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
        assert free_texts(dora) == 2


def test_without_a_manifest(serving: Serve) -> None:
    with serving("off") as dora:
        for body in ({"documentId": sha(VIEWER)}, {"extensions": persisted(VIEWER)}):
            assert refused(post(dora, **body)) == (400, "PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")
        assert post(dora, query=VIEWER, extensions=persisted(VIEWER)).json() == {"data": {"viewer": {"name": "Dora"}}}
        assert free_texts(dora) == 0
        for odd in (7, [], {}):
            assert refused(post(dora, documentId=odd)) == (400, "BAD_USER_INPUT", "`documentId` must be a text.")


def test_a_bad_entry_is_told_by_its_name(manifest: Callable[..., str]) -> None:
    deep = "query Deep { a: viewer { id } " + " ".join(f"a{n}: viewer {{ id }}" for n in range(30)) + " }"
    path = manifest(VIEWER, "query Wrong { viewer { password } }", "{", deep, **{UNKNOWN: FREE})
    with pytest.raises(ManifestError) as told:
        TrustedDocuments.load(schema._schema, "only", path)
    assert str(told.value).splitlines() == [
        f"{sha('query Wrong { viewer { password } }')}: Wrong: Cannot query field 'password' on type 'User'.",
        f"{sha('{')}: Syntax Error: Expected Name, found <EOF>.",
        f"{sha(deep)}: Deep: The document has 31 aliases; at most 30 are answered.",
        f"{UNKNOWN}: this is not the sha256 of its text, which is {sha(FREE)}.",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", 'is no manifest. It must look like {"<sha256 in hex>": "query ..."}.'),
        ("{", "is not JSON."),
        (None, "cannot be read: No such file or directory."),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ManifestError) as told:
        TrustedDocuments.load(schema._schema, "hybrid", str(path))
    assert str(told.value) == f"{path} {said}"


def test_gunicorn_ends_at_once_and_says_which(manifest: Callable[..., str], tmp_path: Path) -> None:
    environment = {
        "CONVENE_DATABASE_URL": f"sqlite:///{tmp_path}/convene.db",
        "CONVENE_PUBLIC_URL": "https://convene.example.org",
        "CONVENE_SEALING_KEYS": "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "CONVENE_IDENTITY_ISSUER": "https://issuer.example.org",
        "CONVENE_IDENTITY_AUDIENCE": "convene",
        "CONVENE_CALCOM_CLIENT_ID": "id",
        "CONVENE_CALCOM_CLIENT_SECRET": "secret",
        "CONVENE_PORT": "0",
        "CONVENE_TRUSTED_DOCUMENTS": manifest(**{UNKNOWN: FREE}),
        "CONVENE_TRUSTED_DOCUMENTS_MODE": "only",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVENE_")}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "gunicorn", "app:create_app()"],
        cwd=ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "Convene cannot start: CONVENE_TRUSTED_DOCUMENTS is not good.\n" in run.stderr
    assert f"{UNKNOWN}: this is not the sha256 of its text" in run.stderr
    assert "Traceback" not in run.stderr
