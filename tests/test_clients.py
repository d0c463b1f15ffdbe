"""Apollo Client, urql and graphql-codegen as they come from npm, against a real server (tests/clients/)."""

import os
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import World, at, iso

from app import create_app

ROOT = Path(__file__).parent.parent
INSTALL = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--no-package-lock", "--no-update-notifier"]

Npm = Callable[..., str]


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Npm:
    """Runs npm, the machine's or that of PyPI, where the clients are installed."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copytree(ROOT / "tests" / "clients", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    assets = runpy.run_path(str(ROOT / "scripts" / "assets"))
    found, more = assets["machine_npm"](folder), {}
    if not found:
        found, more = assets["wheel_npm"](folder)

    def run(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [*found, *arguments],
            cwd=folder,
            env={**os.environ, **more, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"npm {' '.join(arguments)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    run(*INSTALL)
    run("run", "codegen", CONVENE_SDL=str(ROOT / "schema" / "schema.graphql"), TARGET="from-file")
    run("run", "compile")
    run.folder = folder  # type: ignore[attr-defined]
    return run


def generated(npm: Npm, target: str) -> dict[str, str]:
    folder: Path = npm.folder / target  # type: ignore[attr-defined]
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.mark.long
def test_codegen_by_introspection_makes_what_it_makes_from_the_file(npm: Npm, world: World, database_url: str) -> None:
    with World(database_url, world.issuer, world.sandbox, introspection=True) as mine:
        npm("run", "codegen", CONVENE_URL=mine.url, CONVENE_TOKEN=mine.caller("Clara").token, TARGET="introspected")
    made = generated(npm, "introspected")
    assert made == generated(npm, "from-file")
    assert set(made) == {"gql.ts", "graphql.ts", "index.ts", "persisted-documents.json", "possible-types.ts"}


@pytest.mark.long
@pytest.mark.parametrize("mode", ["off", "hybrid", "only"])
@pytest.mark.parametrize("client", ["apollo", "urql"])
def test_a_client_pages_moves_and_reads_errors(npm: Npm, world: World, client: str, mode: str) -> None:
    clara = world.coach()
    for hour in (9, 10, 11):
        world.book(clara, at(2, hour))
    world.jobs()
    # only now: what the harness asks is free text
    manifest = str(npm.folder / "from-file" / "persisted-documents.json")  # type: ignore[attr-defined]
    update = {"trusted_documents": manifest, "trusted_documents_mode": mode}
    world.rt.settings = world.rt.settings.model_copy(update=update)
    world._server.app = create_app(convene=world.convene)
    before = world.rt.metrics.registry.get_sample_value("convene_free_texts_total")
    environment = {"CONVENE_URL": world.url, "CONVENE_TOKEN": clara.token, "MODE": mode, "NEW_START": iso(at(3, 12))}
    assert "all as expected" in npm("run", client, **environment)
    free = world.rt.metrics.registry.get_sample_value("convene_free_texts_total")
    assert (before, free) == (0, 2 if mode == "hybrid" else 0), "all but the two free texts were asked for by their hashes"
