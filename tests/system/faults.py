"""What the tests of faults stand on: a world whose lines to the providers and to the database go through doors that fail."""

from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from harness import Issuer, World
from proxy import Door

from models import Operation
from models.base import release_connection
from sandbox.app import Sandbox
from services.providers.base import ProviderSettings

PROVIDERS = ("calcom", "calendly", "zoom")


def door_to(url: str) -> Door:
    """A door before whatever listens at that address."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return Door((parts.hostname, parts.port))


def door_to_database(url: str) -> Door:
    """A TCP door before a PostgreSQL that listens on a socket file alone."""
    folder = parse_qs(urlsplit(url).query)["host"][0]
    return Door(f"{folder}/.s.PGSQL.5432")


def through(door: Door, url: str) -> str:
    """The database's address by way of its door."""
    return f"postgresql://postgres@127.0.0.1:{door.port}{urlsplit(url).path}?sslmode=disable&gssencmode=disable"


class FaultyWorld(World):
    """The world with a door before each provider; the sandbox says of itself that it lives behind Calendly's."""

    def __init__(self, database_url: str, issuer: Issuer, sandbox: Sandbox, **settings: Any) -> None:
        super().__init__(database_url, issuer, sandbox, **settings)
        self.doors = {slug: door_to(sandbox.url) for slug in PROVIDERS}

    def __enter__(self) -> Self:
        for door in self.doors.values():
            door.__enter__()
        self._own_url, self.sandbox.world.url = self.sandbox.world.url, self.doors["calendly"].url
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for door in self.doors.values():
            door.clear()
        super().__exit__()
        self.sandbox.world.url = self._own_url
        for door in self.doors.values():
            door.__exit__()

    def _provider_settings(self) -> dict[str, ProviderSettings]:
        return {slug: self._behind(self.doors[slug], found) for slug, found in super()._provider_settings().items()}

    def _behind(self, door: Door, found: ProviderSettings) -> ProviderSettings:
        urls = {name: str(value) for name, value in found if isinstance(value, str) and value.startswith(self.sandbox.url)}
        return found.model_copy(update={name: value.replace(self.sandbox.url, door.url) for name, value in urls.items()})


def open_operations() -> int:
    try:
        return int(Operation.select().where(Operation.open).count())
    finally:
        release_connection()
