"""Cal.com as a `Provider` (services/providers/base.py). Facts and gotchas: docs/providers/calcom.md."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.errors import BadAnswer, Refused
from services.providers import oauth2
from services.providers.base import (
    Auth,
    Bookable,
    BookingWish,
    BrowserClient,
    Capabilities,
    Deciding,
    Delivery,
    Draft,
    EventTypeField,
    Grant,
    Headers,
    ManagedUsers,
    Occasion,
    ProviderSettings,
    Quota,
    RemoteAccount,
    RemoteBooking,
    RemoteEventType,
    RemoteSchedule,
    Rescheduling,
    ScheduleChanging,
)
from services.providers.calcom import oauth, payloads, webhooks
from services.providers.calcom.client import CalcomClient, PlatformClient
from services.providers.transport import Transport


class CalcomSettings(ProviderSettings):
    model_config = SettingsConfigDict(env_prefix="CONVENE_CALCOM_", frozen=True, extra="ignore")

    api_url: str = Field(default="https://api.cal.com", description="Cal.com's API, without /v2.")
    app_url: str = Field(default="https://app.cal.com", description="Cal.com's web app: consent and booking pages.")
    client_id: str = Field(default="", description="OAuth client id (app.cal.com/settings/developer/oauth).")
    client_secret: str = Field(default="", description="OAuth client secret. Comma-separated while one is replaced.", repr=False)
    platform_client_id: str = Field(default="", description="Platform client id, for managed users (deprecated at Cal.com).")
    platform_client_secret: str = Field(default="", repr=False, description="Platform client secret. Comma-separated as well.")
    webhook_secret: str = Field(
        default="",
        repr=False,
        description="Secret of an existing Cal.com webhook that calls /webhooks/cal/..., comma-separated as well; unset: those are off.",
    )


class CalcomProvider:
    slug: ClassVar[str] = "calcom"
    enum_name: ClassVar[str] = "CAL_COM"
    label: ClassVar[str] = "Cal.com"
    settings: ClassVar[type[CalcomSettings]] = CalcomSettings
    required_scopes: ClassVar[tuple[str, ...]] = oauth.SCOPES
    capabilities: ClassVar[Capabilities] = Capabilities(
        # direct mode waits for the slowest webhook subscriber before it answers
        processing_limit=timedelta(seconds=60),
        subscriptions=True,
        scheduling=True,
        # a platform sends its managed users no mail
        invites=frozenset(("OAUTH",)),
        managed_users=True,
        books=True,
        reschedules=True,
        decides=True,
        anonymous=True,
        slots_by_length=True,
        event_type_fields=frozenset(
            ("title", "slug", "description", "duration_minutes", "duration_options", "hidden", "requires_confirmation")
        ),
        schedule_changes=True,
    )
    webhook_keys: tuple[str, ...] = ()

    def __init__(self, settings: CalcomSettings, transport: Transport, now: Callable[[], datetime]) -> None:
        self._now = now
        self.config = settings
        self._app = settings.app_url.rstrip("/")
        self._client = CalcomClient(transport, settings.api_url, settings.platform_client_id)
        self._secrets = oauth2.ClientSecrets(settings.client_secret)
        platform_secrets = oauth2.ClientSecrets(settings.platform_client_secret)
        self._platform = PlatformClient(transport, settings.api_url, settings.platform_client_id, platform_secrets)
        platform = bool(settings.platform_client_id and settings.platform_client_secret)
        self.link_kinds = frozenset([*(["OAUTH"] if settings.on else []), *(["MANAGED_USER"] if platform else [])])

    # ---- OAuth ---------------------------------------------------------------------------------------------------

    def authorization_url(self, *, redirect_uri: str, state: str, verifier: str) -> str:
        return oauth2.authorization_url(
            f"{self._app}/auth/oauth2/authorize",
            client_id=self.config.client_id,
            redirect_uri=redirect_uri,
            state=state,
            verifier=verifier,
            scopes=oauth.SCOPES,
        )

    def exchange_code(self, *, code: str, redirect_uri: str, verifier: str) -> Grant:
        return self._grant("exchange_code", code=code, redirect_uri=redirect_uri, code_verifier=verifier)

    def refresh(self, refresh_token: str) -> Grant:
        return self._grant("refresh", refresh_token=refresh_token)

    def _grant(self, operation: str, **grant: str) -> Grant:
        return oauth2.grant(self._client.token(operation, client_id=self.config.client_id, secrets=self._secrets, **grant))

    # ---- managed users, and components in the browser ------------------------------------------------------------

    def managed_user(self, *, email: str, name: str, time_zone: str | None) -> RemoteAccount:
        """Without a time zone Cal.com makes a user without a schedule, whom nobody can book."""
        body = {"email": email, "name": name, **({"timeZone": time_zone} if time_zone else {})}
        raw = self._platform.create(body) or self._platform.find(email)
        if raw is None:
            raise BadAnswer(self.slug, "a managed user that neither is there nor can be made")
        return payloads.account(raw, self._app)

    def refresh_managed_user(self, refresh_token: str) -> Grant:
        return payloads.managed_grant(self._platform.refresh(refresh_token), self._now())

    def force_refresh(self, external_id: str) -> Grant:
        return payloads.managed_grant(self._platform.force_refresh(external_id), self._now())

    def browser_client(self, kind: str) -> BrowserClient | None:
        """Cal.com Atoms: CalProvider for managed users, CalOAuthProvider for the others."""
        client_id = self.config.platform_client_id if kind == "MANAGED_USER" else self.config.client_id
        return BrowserClient(client_id, f"{self.config.api_url.rstrip('/')}/v2")

    # ---- reading -------------------------------------------------------------------------------------------------

    def account(self, auth: Auth) -> RemoteAccount:
        return payloads.account(self._client.me(auth), self._app)

    def event_types(self, auth: Auth) -> list[RemoteEventType]:
        return [payloads.event_type(raw, self._app) for raw in self._client.event_types(auth)]

    def free_starts(
        self, auth: Auth, event_type_id: str, *, start: datetime, end: datetime, minutes: int | None, moving: str | None
    ) -> list[datetime]:
        """GET /v2/slots in UTC. The length is sent only when it is not the event type's own: any length is accepted there."""
        query = {"eventTypeId": event_type_id, "start": _utc(start), "end": _utc(end)}
        if minutes is not None:
            query["duration"] = str(minutes)
        if moving is not None:
            query["bookingUidToReschedule"] = moving
        return [at for at in self._client.slots(auth, query) if start <= at < end]

    def busy(self, auth: Auth, *, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        return self._client.busy(auth, _utc(start), _utc(end))

    def schedules(self, auth: Auth) -> list[RemoteSchedule]:
        return [payloads.schedule(raw) for raw in self._client.schedules(auth)]

    def schedules_page(self) -> str:
        return f"{self._app}/availability"

    def event_types_page(self) -> str:
        return f"{self._app}/event-types"

    def bookings(
        self,
        auth: Auth,
        *,
        updated_since: datetime | None,
        starts_after: datetime,
        unchanged: Callable[[Occasion], bool],  # noqa: ARG002 - every booking is on the list as it is
    ) -> Iterator[RemoteBooking]:
        query = {"afterStart": _utc(starts_after)} if updated_since is None else {"afterUpdatedAt": _utc(updated_since)}
        return self._client.bookings(auth, query)

    def booking(self, auth: Auth, external_id: str) -> RemoteBooking | None:
        return self._client.booking(auth, external_id)

    def booking_page(self, external_id: str, action: Literal["move", "cancel"]) -> str | None:  # noqa: ARG002 - one page for both
        return f"{self._app}/booking/{external_id}"

    # ---- writing -------------------------------------------------------------------------------------------------

    def create_event_type(self, auth: Auth, wanted: Mapping[EventTypeField, Any]) -> RemoteEventType:
        return payloads.event_type(self._client.create_event_type(auth, payloads.event_type_body(wanted)), self._app)

    def update_event_type(self, auth: Auth, external_id: str, wanted: Mapping[EventTypeField, Any]) -> RemoteEventType:
        return payloads.event_type(self._client.update_event_type(auth, external_id, payloads.event_type_body(wanted)), self._app)

    def update_schedule(self, auth: Auth, wanted: RemoteSchedule) -> RemoteSchedule:
        return payloads.schedule(self._client.update_schedule(auth, wanted.external_id, payloads.schedule_body(wanted)))

    def reschedule(self, auth: Auth, external_id: str, *, start: datetime, by_email: str | None, reason: str | None) -> RemoteBooking:
        """Answers the new booking. `end` must not be sent: an extra field is a 400, and no move resizes."""
        body = {"start": _utc(start)}
        if by_email:
            body["rescheduledBy"] = by_email
        if reason:
            body["reschedulingReason"] = reason
        return self._client.act(auth, external_id, "reschedule", body)

    def draft(self, auth: Auth, wish: BookingWish) -> Draft:  # noqa: ARG002 - nothing has to be read
        """The length only where it is not the event type's own: one that has no choice refuses to be told."""
        body: dict[str, Any] = {
            "eventTypeId": int(wish.event_type_id),
            "start": _utc(wish.start),
            "attendee": {"name": wish.name, "email": wish.email, "timeZone": wish.time_zone},
            "metadata": {payloads.MARK: wish.mark},
        }
        if wish.minutes is not None:
            body["lengthInMinutes"] = wish.minutes
        if wish.answers:
            body["bookingFieldsResponses"] = dict(wish.answers)
        return Draft(wish.event_type_id, wish.start, wish.email, wish.mark, body)

    def book(self, auth: Auth, draft: Draft) -> RemoteBooking:
        return self._client.book(auth, draft.body)

    def marked(self, auth: Auth, draft: Draft) -> RemoteBooking | None:
        """A move keeps the metadata, so a later booking of the same chain may bear the mark as well."""
        query = {"eventTypeId": draft.event_type_id, "attendeeEmail": draft.email}
        found = [one for one in self._client.bookings(auth, query) if one.mark == draft.mark and one.start == draft.start]
        return min(found, key=lambda one: one.created_at, default=None)

    def quotas(self, auth: Auth) -> tuple[Quota, ...]:  # noqa: ARG002 - bookings count like every other call
        return ()

    def confirm(self, auth: Auth, external_id: str) -> RemoteBooking:
        return self._client.act(auth, external_id, "confirm", {})

    def decline(self, auth: Auth, external_id: str, *, reason: str | None) -> RemoteBooking:
        return self._client.act(auth, external_id, "decline", {"reason": reason} if reason else {})

    def cancel(self, auth: Auth, external_id: str, *, reason: str | None) -> RemoteBooking:
        """`cancelSubsequentBookings` is never sent: it answers 400 and yet cancels."""
        return self._client.act(auth, external_id, "cancel", {"cancellationReason": reason} if reason else {})

    # ---- webhooks ------------------------------------------------------------------------------------------------

    def subscribe(self, auth: Auth, *, url: str, secret: str) -> str:
        """One subscription per address and owner: on 409 the existing one is adopted and given our secret."""
        body = {"subscriberUrl": url, "triggers": list(webhooks.TRIGGERS), "active": True, "secret": secret}
        try:
            return self._client.create_webhook(auth, body).id
        except Refused as error:
            if error.status != 409:  # noqa: PLR2004
                raise
            for there in self._client.webhooks(auth):
                if there.url == url:
                    self._client.update_webhook(auth, there.id, body)
                    return there.id
            raise

    def subscriptions(self, auth: Auth) -> list[tuple[str, str]]:
        return [(there.id, there.url or "") for there in self._client.webhooks(auth)]

    def unsubscribe(self, auth: Auth, external_id: str) -> None:
        try:
            self._client.delete_webhook(auth, external_id)
        except Refused as error:
            if error.status != 404:  # noqa: PLR2004 - gone already
                raise

    def subscription_state(self, auth: Auth, external_id: str, url: str) -> Literal["active", "retrying", "disabled", "gone"]:
        """Switched off by hand counts as disabled; Cal.com itself never does that."""
        for there in self._client.webhooks(auth):
            if (there.id, there.url) == (external_id, url):
                return "active" if there.active else "disabled"
        return "gone"

    def genuine(self, secrets: Iterable[str], headers: Headers, body: bytes) -> bool:
        return webhooks.genuine(secrets, headers, body)

    def read_delivery(self, payload: Any) -> Delivery:
        return webhooks.read(payload)

    def challenge(self, secrets: Sequence[str], payload: Any) -> dict[str, str] | None:  # noqa: ARG002
        return None


def _utc(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


PROVIDER = CalcomProvider
# what its capabilities promise, for the type checker
ROLES: tuple[type[Bookable], type[Rescheduling], type[Deciding], type[ScheduleChanging], type[ManagedUsers]] = (
    PROVIDER,
    PROVIDER,
    PROVIDER,
    PROVIDER,
    PROVIDER,
)
