"""All providers on one screen. The GraphQL enum, the settings and the routes derive from this."""

from services.providers.base import Provider, ProviderSettings
from services.providers.calcom.provider import CalcomProvider

PROVIDERS: dict[str, type[CalcomProvider]] = {
    CalcomProvider.slug: CalcomProvider,
}

__all__ = ["PROVIDERS", "Provider", "ProviderSettings"]
