"""Zoom as a `Meetings` provider (services/providers/base.py). Facts and gotchas: docs/providers/zoom.md.

Access tokens live an hour. A user's refresh token changes with each use; of the account there is none: one asks again.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.errors import BadAnswer
from services.providers import oauth2
from services.providers.base import (
    Auth,
    Capabilities,
    Delivery,
    Grant,
    Headers,
    List,
    Meetings,
    MeetingWish,
    ProviderSettings,
    RemoteAccount,
    RemoteMeeting,
    Revoking,
)
from services.providers.transport import Transport
from services.providers.zoom import payloads, webhooks
from services.providers.zoom.client import ZoomClient

ME = "me"


class ZoomSettings(ProviderSettings):
    model_config = SettingsConfigDict(env_prefix="CONVENE_ZOOM_", frozen=True, extra="ignore")

    api_url: str = Field(default="https://api.zoom.us", description="Zoom's API, without /v2.")
    auth_url: str = Field(default="https://zoom.us", description="Where Zoom's consent page and token endpoint are.")
    client_id: str = Field(default="", description="Client id of a user-managed OAuth app (marketplace.zoom.us).")
    client_secret: str = Field(default="", description="Its client secret. Comma-separated while one is replaced.", repr=False)
    account_id: str = Field(default="", description="Account id of a server-to-server OAuth app, for kind SERVER_TO_SERVER.")
    account_client_id: str = Field(default="", description="Client id of the server-to-server app.")
    account_client_secret: str = Field(default="", description="Its client secret. Comma-separated while one is replaced.", repr=False)
    webhook_secrets: List = Field(
        default=(),
        repr=False,
        description="Secret token of each app that calls /webhooks/zoom, comma-separated.",
    )

    @property
    def account(self) -> bool:
        return bool(self.account_id or self.account_client_id or self.account_client_secret)

    def lacking(self) -> list[str]:
        """Of each way that is begun, all of it; and the secret by which Zoom's news are known."""
        names = ("account_id", "account_client_id", "account_client_secret") if self.account else ()
        secret = ["webhook_secrets"] if (self.on or self.account) and not self.webhook_secrets else []
        return [*super().lacking(), *(name for name in names if not getattr(self, name)), *secret]


class ZoomProvider:
    slug: ClassVar[str] = "zoom"
    enum_name: ClassVar[str] = "ZOOM"
    label: ClassVar[str] = "Zoom"
    settings: ClassVar[type[ZoomSettings]] = ZoomSettings
    # which scopes an app has is decided in the Marketplace; what is missing shows at the call
    required_scopes: ClassVar[tuple[str, ...]] = ()
    capabilities: ClassVar[Capabilities] = Capabilities(
        processing_limit=timedelta(seconds=30), revocation=True, app_webhooks=True, meetings=True
    )

    def __init__(self, settings: ZoomSettings, transport: Transport, now: Callable[[], datetime]) -> None:
        self._now, self._settings = now, settings
        self._client = ZoomClient(transport, settings.api_url, settings.auth_url)
        self._secrets = oauth2.ClientSecrets(settings.client_secret)
        self._account_secrets = oauth2.ClientSecrets(settings.account_client_secret)
        self.link_kinds = frozenset([*(["OAUTH"] if settings.on else []), *(["SERVER_TO_SERVER"] if settings.account else [])])
        self.webhook_keys = settings.webhook_secrets

    # ---- OAuth ---------------------------------------------------------------------------------------------------

    def authorization_url(self, *, redirect_uri: str, state: str, verifier: str) -> str:
        return oauth2.authorization_url(
            f"{self._settings.auth_url.rstrip('/')}/oauth/authorize",
            client_id=self._settings.client_id,
            redirect_uri=redirect_uri,
            state=state,
            verifier=verifier,
        )

    def exchange_code(self, *, code: str, redirect_uri: str, verifier: str) -> Grant:
        return self._grant("exchange_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier)

    def refresh(self, refresh_token: str) -> Grant:
        return self._grant("refresh", refresh_token=refresh_token)

    def _grant(self, operation: str, **grant: str) -> Grant:
        return oauth2.grant(self._client.token(operation, client_id=self._settings.client_id, secrets=self._secrets, **grant))

    def revoke(self, token: str) -> None:
        self._client.revoke(client_id=self._settings.client_id, secrets=self._secrets, token=token)

    def installation_grant(self) -> Grant:
        answer = self._client.installation_token(
            client_id=self._settings.account_client_id,
            secrets=self._account_secrets,
            account_id=self._settings.account_id,
        )
        return oauth2.grant(answer)

    # ---- users ---------------------------------------------------------------------------------------------------

    def account(self, auth: Auth) -> RemoteAccount:
        """Whose token it is; one of the whole account would answer the app's owner."""
        raw = self._client.user(auth, ME)
        if raw is None:
            raise BadAnswer(self.slug, "a token of nobody")
        return payloads.account(raw)

    def installation_user(self, auth: Auth, email: str) -> RemoteAccount | None:
        """Somebody who has not accepted yet cannot host."""
        raw = self._client.user(auth, email)
        found = payloads.account(raw) if raw is not None and raw.get("status", "active") == "active" else None
        # compared by ourselves: whose account this is must not hang on how an address is looked up
        return found if found and (found.email or "").lower() == email.lower() else None

    # ---- meetings ------------------------------------------------------------------------------------------------

    def create_meeting(self, auth: Auth, host_id: str | None, wanted: MeetingWish) -> RemoteMeeting:
        """Not idempotent: a repeat makes a second one. A user's own token may not name anybody."""
        return payloads.meeting(self._client.create_meeting(auth, host_id or ME, payloads.meeting_body(wanted)))

    def meeting(self, auth: Auth, external_id: str) -> RemoteMeeting | None:
        raw = self._client.meeting(auth, external_id)
        return payloads.meeting(raw) if raw is not None else None

    def update_meeting(self, auth: Auth, external_id: str, wanted: MeetingWish) -> None:
        """The link stays. A start in the past is ignored without a word: the caller reads back."""
        self._client.update_meeting(auth, external_id, payloads.meeting_body(wanted))

    def delete_meeting(self, auth: Auth, external_id: str) -> None:
        self._client.delete_meeting(auth, external_id)

    def marked_meetings(self, auth: Auth, host_id: str | None) -> list[tuple[str, RemoteMeeting]]:
        """The list's items are short and cut the agenda; without one there, the meeting itself is asked for."""
        found = []
        for item in self._client.meetings(auth, host_id or ME):
            raw = item if "agenda" in item else self._client.meeting(auth, str(item.get("id")))
            if mark := payloads.mark(raw):
                found.append((mark, payloads.meeting(raw)))
        return found

    # ---- webhooks ------------------------------------------------------------------------------------------------

    def genuine(self, secrets: Iterable[str], headers: Headers, body: bytes) -> bool:
        return webhooks.genuine(secrets, headers, body)

    def read_delivery(self, payload: Any) -> Delivery:
        return webhooks.read(payload)

    def challenge(self, secrets: Sequence[str], payload: Any) -> dict[str, str] | None:
        return webhooks.challenge(secrets, payload)


PROVIDER = ZoomProvider
# what its capabilities promise, for the type checker
ROLES: tuple[type[Meetings], type[Revoking]] = (PROVIDER, PROVIDER)
