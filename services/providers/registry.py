"""All providers on one screen. The GraphQL enum, the settings and the routes derive from this.

A provider is a folder here whose `provider` module has a PROVIDER, and a line in FOLDERS (docs/providers/adding.md).
"""

from importlib import import_module

from services.providers.base import Provider, ProviderSettings

FOLDERS = (
    "calcom",
    "calendly",
    "zoom",
)


def _load(folder: str) -> type[Provider]:
    found: type[Provider] = import_module(f"services.providers.{folder}.provider").PROVIDER
    return found


PROVIDERS: dict[str, type[Provider]] = {provider.slug: provider for provider in map(_load, FOLDERS)}

__all__ = ["PROVIDERS", "Provider", "ProviderSettings"]
