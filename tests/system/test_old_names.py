"""docs/old-names.md: each request is run word for word beside a whole server, and each name on the page is looked up."""

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLSchema, build_schema, is_enum_type, is_input_object_type, is_interface_type, is_object_type, parse, validate
from test_server import ROOT, Server, folder, free_port

from services.jobs import JOBS

__all__ = ["folder"]
PAGE = (ROOT / "docs" / "old-names.md").read_text()
BLOCK = re.compile(r"^### (?P<title>.+)\n\n```sh\n(?P<text>.*?)```\n\n(?P<prints>Prints .*)$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (?P<old>.+?) \| (?P<here>.+?) \| (?P<differs>.+?) \| (?P<request>\[.+?\]\(#.+?\)) \|$", re.MULTILINE)
STRING = r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")"""
OPERATION = re.compile(rf'gql "\$\w+" {STRING}')
ASSIGNED = re.compile(rf"\b(\w+)={STRING}")
SECONDS = 40

OLD_NAMES = {
    "Cal.com: routes": [
        "GET /api/cal/refresh-token",
        "GET /api/cal/oauth/callback",
        "GET /api/cal/tokens",
        "POST /api/cal/tokens/force-refresh",
        "GET /api/cal/health",
        "GET /api/cal/token-status",
        "POST /api/cal/managed-users",
        "POST /api/webhooks/cal/booking.created",
        "POST /api/webhooks/cal/booking.updated",
    ],
    "Calendly: routes": [
        "GET /api/calendly/status",
        "GET /api/calendly/auth",
        "GET /api/calendly/callback",
        "GET /api/calendly/event-types",
        "POST /api/calendly/event-types/default",
        "POST /api/calendly/event-types",
        "GET /api/calendly/scheduled-events",
        "GET /api/calendly/scheduled-events?status=...&min_start_time=...",
        "GET /api/calendly/scheduled-events/[id]",
        "POST /api/calendly/cancel",
        "GET /api/calendly/free-times",
        "GET /api/calendly/schedules",
        "GET /api/calendly/events/[id]/invitees",
        "POST /api/calendly/sync",
        "POST /api/calendly/webhook",
    ],
    "Zoom: routes": [
        "POST /api/zoom/meetings",
        "PATCH /api/zoom/meetings/[id]",
        "DELETE /api/zoom/meetings/[id]",
        "POST /api/zoom/recordings-webhook",
    ],
    "Server actions": [
        "connectCalendar",
        "disconnectCalendar",
        "ensureValidToken",
        "updateTokens",
        "refreshToken",
        "getBookings",
        "rescheduleBooking",
        "cancelBooking",
        "getAvailability",
        "createDefaultEventTypes",
        "getNotifications",
        "markNotificationRead",
    ],
    "Hooks": ["useConnectionStatus", "useBookings", "useAvailability", "useReschedule", "useEventTypes", "useNotifications"],
    "Jobs": ["cron/refresh-tokens", "cron/retry-webhooks", "cron/sync-bookings", "cron/warm-availability", "cron/cleanup"],
    "Tokens in cookies": ["cal_access_token", "cal_refresh_token", "calendly_access_token", "calendly_refresh_token"],
}


@dataclass(frozen=True)
class Block:
    """A request of the page, and the words that the first sentence under it promises."""

    title: str
    text: str
    prints: tuple[str, ...]


def blocks() -> list[Block]:
    found = []
    for section in re.split(r"^(?=##)", PAGE, flags=re.MULTILINE):
        match = BLOCK.match(section)
        assert (match is not None) == section.startswith("### "), section
        if match:
            first = re.split(r"\.(?:\s|$)", match["prints"])[0]
            found.append(Block(match["title"], match["text"], tuple(re.findall(r"`([^`]+)`", first))))
    return found


def preamble() -> str:
    return PAGE.split("```sh\n")[1].split("```")[0]


def sdl() -> GraphQLSchema:
    return build_schema((ROOT / "schema" / "schema.graphql").read_text())


class AsOnThePage(Server):
    """Started with the settings that the page names."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, free_port(), free_port())
        (line,) = re.findall(r"^(?:CONVENE_\w+=\S+ )+scripts/server$", PAGE, re.MULTILINE)
        named = dict(setting.split("=", 1) for setting in line.split()[:-1])
        # Server clears the environment of such names; what scripts/server falls back to does as well
        script, here = folder / "scripts" / "development.py", "    defaults = {"
        text = script.read_text()
        assert text.count(here) == 1
        script.write_text(text.replace(here, f"{here}**{named!r}, "))


class Shell:
    """Where the preamble was pasted; every block gets a shell of its own that starts from there."""

    def __init__(self, server: Server) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._folder, self._environment = server.folder, {"PATH": path, "convene": server.url, "sandbox": server.sandbox}
        pasted = self.run(f"set -a\n{preamble()}\nenv -0")
        assert (pasted.returncode, pasted.stderr) == (0, ""), pasted.stderr
        self._environment = dict(entry.split("=", 1) for entry in pasted.stdout.split("\0") if entry)

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """A shell that ends at the first command that fails; one that hangs counts as failed."""
        command = ["timeout", str(SECONDS), "bash", "-euo", "pipefail", "-c", text]
        return subprocess.run(
            command, cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )


def refusals(text: str, problems: set[str]) -> set[str]:
    """Codes and type names of the errors and problems in what was printed."""
    found: set[str] = set()
    for line in text.splitlines():
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict):
            found |= {error.get("extensions", {}).get("code", error["message"]) for error in answer.get("errors") or ()}
            found |= {answer["error"]["code"]} if answer.get("error") else set()
            for value in (answer.get("data") or {}).values():
                found |= _problem(value, problems)
    return found


def _problem(value: Any, problems: set[str]) -> set[str]:
    if not isinstance(value, dict):
        return set()
    named = value.get("__typename")
    return {named} if named in problems else {value["code"]} if "code" in value and "message" in value else set()


@pytest.mark.long
def test_every_request_of_the_page(folder: Path) -> None:
    problems = {kind.name for kind in sdl().get_possible_types(sdl().type_map["Problem"])}
    wanted, failed = blocks(), []
    random.shuffle(wanted)
    with AsOnThePage(folder) as server:
        shell = Shell(server)
        for block in wanted:
            done = shell.run(block.text)
            missing = [word for word in block.prints if word not in done.stdout]
            unannounced = refusals(done.stdout, problems) - set(block.prints)
            if done.returncode or missing or unannounced or not block.prints:
                told = f"exit {done.returncode}, not printed {missing}, not announced {unannounced}"
                failed.append(f"{block.title}: {told}\n{done.stdout}\n{done.stderr}")
    assert not failed, "\n\n".join(failed)


def operations(block: str) -> Iterator[str]:
    """The GraphQL of a block; what a shell variable stands for is put in where the page says it."""
    known = {name: plain or quoted for name, plain, quoted in ASSIGNED.findall(preamble() + block)}
    found = [plain or quoted for plain, quoted in OPERATION.findall(block)]
    assert len(found) == block.count('gql "')
    for text in found:
        whole = text
        while whole != (longer := re.sub(r"(?<!\")\$(\w+)", lambda match: known[match[1]], whole)):
            whole = longer
        yield whole.replace('\\"', '"')


def table(section: str) -> list[re.Match[str]]:
    return list(ROW.finditer(PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]))


def anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("section", OLD_NAMES)
def test_every_old_name_has_a_row_and_a_request(section: str) -> None:
    rows = table(section)
    assert [name for row in rows for name in re.findall(r"`([^`]+)`", row["old"])] == OLD_NAMES[section]
    requests = {anchor(block.title) for block in blocks()}
    assert {target for row in rows for target in re.findall(r"\(#([^)]+)\)", row["request"])} <= requests


def test_every_request_belongs_to_a_row() -> None:
    linked = {target for section in OLD_NAMES for row in table(section) for target in re.findall(r"\(#([^)]+)\)", row["request"])}
    assert linked == {anchor(block.title) for block in blocks()}


def test_every_operation_and_field_is_in_the_schema() -> None:
    schema = sdl()
    for block in [preamble(), *(block.text for block in blocks())]:
        for operation in operations(block):
            assert validate(schema, parse(operation)) == [], operation


def names(schema: GraphQLSchema) -> set[str]:
    """Types, `Type.field`, fields, arguments and enum values of the schema."""
    found = set(schema.type_map)
    for kind in schema.type_map.values():
        if is_enum_type(kind):
            found |= set(kind.values)
        elif is_object_type(kind) or is_interface_type(kind) or is_input_object_type(kind):
            found |= {f"{kind.name}.{field}" for field in kind.fields} | set(kind.fields)
            found |= {name for field in kind.fields.values() for name in getattr(field, "args", {})}
    return found


def test_every_name_of_the_text_exists() -> None:
    served = re.sub(r"```.*?```", "", PAGE.split("## Cal.com: routes", 1)[1], flags=re.DOTALL)
    # what a request prints was seen, and old names are nobody's here
    served = re.sub(r"^Prints .*?\.(?=\s|$)|^\| `[^|]*\|", "", served, flags=re.MULTILINE)
    known = names(sdl()) | set(JOBS) | {"true", "__typename"}
    said = [token for token in re.findall(r"`([^`]+)`", served) if re.fullmatch(r"[\w.]+(\(.*\))?", token) and "CONVENE_" not in token]
    assert said
    unknown = {word for token in said for word in re.findall(r"[A-Za-z_][\w.]*", token)} - known
    assert unknown == set()
    assert set(re.findall(r"`scripts/job ([a-z_]+)`", PAGE)) <= set(JOBS)
