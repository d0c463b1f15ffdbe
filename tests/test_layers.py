"""Who may import whom: the tool's contracts, and the rules that it cannot see."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client

ROOT = Path(__file__).parent.parent
PACKAGES = ("schema", "routes", "services", "models", "sandbox")
PRODUCT = [ROOT / "app.py", ROOT / "settings.py", *sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))]
OURS = [p for p in PRODUCT if "sandbox" not in p.parts]
PROVIDERS = ROOT / "services" / "providers"
TRANSPORT = PROVIDERS / "transport.py"
RETRYING = ROOT / "models" / "base.py"


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that the file imports, wherever in it."""
    return frozenset(_imports(ast.parse(path.read_text())))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(module: str, files: list[Path]) -> set[str]:
    """Files that import the module or something of it."""
    return {relative(p) for p in files if any(name == module or name.startswith(f"{module}.") for name in imports(p))}


def test_the_contracts_of_import_linter_hold() -> None:
    run = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "5 kept, 0 broken" in run.stdout


def test_the_files_are_where_the_rules_look() -> None:
    assert {"schema/root.py", "services/providers/transport.py", "sandbox/app.py", "models/base.py"} <= {relative(p) for p in PRODUCT}


def test_nobody_imports_the_composition_root() -> None:
    assert importers("app", PRODUCT) == set()


def test_settings_are_read_by_the_composition_root_and_services_alone() -> None:
    assert {name.split("/")[0] for name in importers("settings", PRODUCT)} <= {"app.py", "services"}


def test_providers_know_no_settings_of_the_installation() -> None:
    assert importers("settings", sorted(PROVIDERS.rglob("*.py"))) == set()


def test_one_file_speaks_http() -> None:
    assert importers("httpx", OURS) == {relative(TRANSPORT)}


@pytest.mark.parametrize(
    "module", ["requests", "urllib.request", "http.client", "urllib3", "aiohttp", "httpx2", "socket.create_connection"]
)
def test_nobody_speaks_http_in_another_way(module: str) -> None:
    assert importers(module, OURS) == set()


def test_the_oauth_client_is_one_of_httpx() -> None:
    """With `httpx2` installed Authlib would use that, and our handling of errors would miss."""
    assert issubclass(OAuth2Client, httpx.Client)


def test_only_the_transaction_retry_and_the_waits_for_another_process_sleep() -> None:
    sleepers = {relative(p) for p in OURS for node in ast.walk(ast.parse(p.read_text())) if _sleeps(node)}
    assert sleepers == {relative(RETRYING), "services/tokens.py", "services/claims.py"}


def _sleeps(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == "sleep" for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr == "sleep"


def test_the_faces_write_no_sql_and_services_know_no_face() -> None:
    assert importers("peewee", [p for p in OURS if p.parts[len(ROOT.parts)] in {"schema", "routes"}]) == set()
    behind = [p for p in OURS if p.parts[len(ROOT.parts)] in {"services", "models"}]
    assert importers("flask", behind) | importers("strawberry", behind) == set()


def test_only_the_scheduler_module_knows_apscheduler() -> None:
    assert importers("apscheduler", OURS) == {"services/jobs.py"}


def test_no_product_code_asks_for_the_sandbox_package() -> None:
    assert importers("sandbox", OURS) == set()
    inside = [p for p in PRODUCT if "sandbox" in p.parts]
    assert set().union(*(importers(name, inside) for name in ("app", "settings", "schema", "routes", "services", "models"))) == set()
