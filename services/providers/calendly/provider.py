"""Calendly as a `Scheduling` provider (services/providers/base.py). Facts and gotchas: docs/providers/calendly.md."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

import structlog
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.errors import BadAnswer, NotSent, OutcomeUnknown, Problem, Refused
from services.providers import oauth2
from services.providers.base import (
    Auth,
    BookingWish,
    Capabilities,
    Delivery,
    Draft,
    EventTypeField,
    Grant,
    Headers,
    List,
    Occasion,
    ProviderSettings,
    Quota,
    RemoteAccount,
    RemoteBooking,
    RemoteEventType,
    RemoteSchedule,
    Replacing,
    Revoking,
)
from services.providers.calendly import drafts, oauth, payloads, webhooks
from services.providers.calendly.client import CalendlyClient, path_of
from services.providers.transport import Transport

BAD_REQUEST, FORBIDDEN, GONE, CONFLICT = 400, 403, 404, 409
SOON = timedelta(minutes=1)
"""Slots and busy times are told for the future only; two clocks are involved."""

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
QUOTAS: dict[str, tuple[Quota, ...]] = {
    "trial": (Quota(5, DAY),),
    "free": (),
    "paid": (Quota(10, MINUTE), Quota(50, HOUR), Quota(100, DAY)),
    "enterprise": (Quota(500, MINUTE),),
}
"""Of POST /invitees, by the organization's stage or plan (release note of 2026-04-15)."""

log = structlog.get_logger("calendly")


class CalendlySettings(ProviderSettings):
    model_config = SettingsConfigDict(env_prefix="CONVENE_CALENDLY_", frozen=True, extra="ignore")

    api_url: str = Field(default="https://api.calendly.com", description="Calendly's API.")
    auth_url: str = Field(default="https://auth.calendly.com", description="Calendly's authorization server.")
    app_url: str = Field(default="https://calendly.com", description="Calendly's web app: pages to reschedule and cancel.")
    client_id: str = Field(default="", description="OAuth client id (developer.calendly.com, your app).")
    client_secret: str = Field(default="", description="OAuth client secret. Comma-separated while one is replaced.", repr=False)
    webhook_signing_keys: List = Field(
        default=(),
        repr=False,
        description="The app's webhook signing key, shown once when the app is made. Comma-separated while one is replaced.",
    )

    def lacking(self) -> list[str]:
        return super().lacking() + (["webhook_signing_keys"] if self.on and not self.webhook_signing_keys else [])


class CalendlyProvider:
    slug: ClassVar[str] = "calendly"
    enum_name: ClassVar[str] = "CALENDLY"
    label: ClassVar[str] = "Calendly"
    settings: ClassVar[type[CalendlySettings]] = CalendlySettings
    required_scopes: ClassVar[tuple[str, ...]] = oauth.SCOPES
    capabilities: ClassVar[Capabilities] = Capabilities(
        processing_limit=timedelta(seconds=30),
        revocation=True,
        subscriptions=True,
        scheduling=True,
        invites=frozenset(("OAUTH",)),
        books=True,
        replaces=True,
        places=True,
        slots_window=timedelta(days=31),
        busy_window=timedelta(days=7),
        event_type_fields=frozenset(("title", "description", "duration_minutes", "duration_options", "active")),
        longest_minutes=720,
        most_durations=4,
    )

    def __init__(self, settings: CalendlySettings, transport: Transport, now: Callable[[], datetime]) -> None:
        self._now = now
        self._app, self._auth = settings.app_url.rstrip("/"), settings.auth_url.rstrip("/")
        self._client = CalendlyClient(transport, settings.api_url, settings.auth_url)
        self._client_id, self._secrets = settings.client_id, oauth2.ClientSecrets(settings.client_secret)
        self.link_kinds = frozenset(["OAUTH"] if settings.on else [])
        self.webhook_keys = settings.webhook_signing_keys

    # ---- OAuth ---------------------------------------------------------------------------------------------------

    def authorization_url(self, *, redirect_uri: str, state: str, verifier: str) -> str:
        return oauth2.authorization_url(
            f"{self._auth}/oauth/authorize",
            client_id=self._client_id,
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
        return oauth2.grant(self._client.token(operation, client_id=self._client_id, secrets=self._secrets, **grant))

    def revoke(self, token: str) -> None:
        self._client.revoke(client_id=self._client_id, secrets=self._secrets, token=token)

    # ---- reading -------------------------------------------------------------------------------------------------

    def account(self, auth: Auth) -> RemoteAccount:
        return payloads.account(self._client.me(auth))

    def event_types(self, auth: Auth) -> list[RemoteEventType]:
        user, _ = self._client.owner(auth)
        return [payloads.event_type(raw) for raw in self._client.pages("event_types", auth, "/event_types", user=user)]

    def schedules(self, auth: Auth) -> list[RemoteSchedule]:
        user, _ = self._client.owner(auth)
        return [payloads.schedule(raw) for raw in self._client.one_list("schedules", auth, "/user_availability_schedules", user=user)]

    def event_types_page(self) -> str:
        return f"{self._app}/app/scheduling/meeting_types"

    def schedules_page(self) -> str:
        return f"{self._app}/app/availability/schedules"

    def free_starts(
        self,
        auth: Auth,
        event_type_id: str,
        *,
        start: datetime,
        end: datetime,
        minutes: int | None,  # noqa: ARG002 - told for the event type's own length alone
        moving: str | None,  # noqa: ARG002 - the old time blocks itself
    ) -> list[datetime]:
        start = max(start, self._now() + SOON)
        if start >= end:
            return []
        query = {"event_type": self._client.uri("event_types", event_type_id), "start_time": _utc(start), "end_time": _utc(end)}
        rows = self._client.one_list("slots", auth, "/event_type_available_times", **query)
        try:
            free = sorted(payloads.moment(row["start_time"]) for row in rows if row.get("status", "available") == "available")
        except payloads.UNREADABLE as error:
            raise BadAnswer(self.slug, "a slot that cannot be read") from error
        return [at for at in free if start <= at < end]

    def busy(self, auth: Auth, *, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        """With buffers, and with what is in the calendars that the person lets Calendly check."""
        start = max(start, self._now() + SOON)
        if start >= end:
            return []
        user, _ = self._client.owner(auth)
        rows = self._client.one_list("busy", auth, "/user_busy_times", user=user, start_time=_utc(start), end_time=_utc(end))
        try:
            return sorted(
                (
                    payloads.moment(row.get("buffered_start_time") or row["start_time"]),
                    payloads.moment(row.get("buffered_end_time") or row["end_time"]),
                )
                for row in rows
            )
        except payloads.UNREADABLE as error:
            raise BadAnswer(self.slug, "busy times that cannot be read") from error

    def bookings(
        self,
        auth: Auth,
        *,
        updated_since: datetime | None,  # noqa: ARG002 - cannot be asked for: what is unchanged tells more
        starts_after: datetime,
        unchanged: Callable[[Occasion], bool],
    ) -> Iterator[RemoteBooking]:
        """Events by page, the invitees of each in turn: there is no list of all invitees."""
        user, _ = self._client.owner(auth)
        query = {"user": user, "min_start_time": _utc(starts_after), "sort": "start_time:asc"}
        # drained first: a page's token goes stale while invitees are read
        events = list(self._client.pages("bookings", auth, "/scheduled_events", **query))
        unread: OutcomeUnknown | None = None
        for event in events:
            try:
                occasion = payloads.occasion(event)
                if unchanged(occasion):
                    continue
                path = path_of("scheduled_events", occasion.id, "invitees")
                for invitee in self._client.pages("invitees", auth, path):
                    yield payloads.booking(event, invitee)
            except (BadAnswer, Refused) as error:
                # one event that cannot be read must not keep the others away
                log.warning("a listed event cannot be read", provider=self.slug, error_code=error.code)
            except OutcomeUnknown as error:
                unread = error  # the others first; whoever reads the list is to try again
        if unread is not None:
            raise unread

    def booking(self, auth: Auth, external_id: str) -> RemoteBooking | None:
        event_id, _, invitee_id = external_id.partition("/")
        event = self._client.find("event", auth, path_of("scheduled_events", event_id))
        invitee = self._client.find("invitee", auth, path_of("scheduled_events", event_id, "invitees", invitee_id)) if event else None
        return payloads.booking(event, invitee) if event and invitee else None

    def booking_page(self, external_id: str, action: Literal["move", "cancel"]) -> str | None:
        """Whoever opens it acts as the invitee; it is the link that Calendly's own mails carry."""
        return f"{self._app}{path_of({'move': 'reschedulings', 'cancel': 'cancellations'}[action], external_id.partition('/')[2])}"

    # ---- writing -------------------------------------------------------------------------------------------------

    def create_event_type(self, auth: Auth, wanted: Mapping[EventTypeField, Any]) -> RemoteEventType:
        """`active` is false there unless it is said, and a new type could not be booked."""
        user, _ = self._client.owner(auth)
        body = {"owner": user, "active": True, **payloads.event_type_body(wanted)}
        return payloads.event_type(self._client.post("create_event_type", auth, "/event_types", body))

    def update_event_type(self, auth: Auth, external_id: str, wanted: Mapping[EventTypeField, Any]) -> RemoteEventType:
        body = payloads.event_type_body(wanted)
        return payloads.event_type(self._client.patch("update_event_type", auth, path_of("event_types", external_id), body))

    def draft(self, auth: Auth, wish: BookingWish) -> Draft:
        kind = self._client.get("event_type", auth, path_of("event_types", wish.event_type_id))
        return Draft(wish.event_type_id, wish.start, wish.email, wish.mark, drafts.of_wish(kind, wish))

    def replacement(self, auth: Auth, external_id: str, *, start: datetime, mark: str) -> Draft | None:
        event_id, _, invitee_id = external_id.partition("/")
        event = self._client.find("event", auth, path_of("scheduled_events", event_id))
        invitee = self._client.find("invitee", auth, path_of("scheduled_events", event_id, "invitees", invitee_id)) if event else None
        if not event or not invitee or not event.get("event_type"):
            return None
        try:
            kind_id, email = payloads.last(event["event_type"]), invitee["email"]
        except payloads.UNREADABLE as error:
            raise BadAnswer(self.slug, "a booking that cannot be read") from error
        kind = self._client.find("event_type", auth, path_of("event_types", kind_id))
        body = drafts.of_replacement(kind, event, invitee, start, mark) if kind else None
        return Draft(kind_id, start, email, mark, body) if body else None

    def book(self, auth: Auth, draft: Draft) -> RemoteBooking:
        """Answers the invitee alone; what stands now is read back."""
        made = self._client.book(auth, draft.body)
        try:
            booked = self.booking(auth, payloads.place(made["uri"]))
        except (KeyError, ValueError) as error:
            raise BadAnswer(self.slug, "a booking without an address") from error
        except (NotSent, Refused, Problem) as error:
            # also when the link broke just now: the booking stands
            raise OutcomeUnknown(self.slug, "booked, but it cannot be read") from error
        if booked is None:
            raise OutcomeUnknown(self.slug, "booked, but it is not there")
        return booked

    def marked(self, auth: Auth, draft: Draft) -> RemoteBooking | None:
        """The events of that address at that time, and of each the invitee with the mark."""
        user, _ = self._client.owner(auth)
        window = {"min_start_time": _utc(draft.start - SOON), "max_start_time": _utc(draft.start + SOON)}
        for event in list(self._client.pages("bookings", auth, "/scheduled_events", user=user, invitee_email=draft.email, **window)):
            path = path_of("scheduled_events", payloads.occasion(event).id, "invitees")
            for invitee in self._client.pages("invitees", auth, path, email=draft.email):
                found = payloads.booking(event, invitee)
                if found.mark == draft.mark and found.start == draft.start:
                    return found
        return None

    def quotas(self, auth: Auth) -> tuple[Quota, ...]:
        """By the organization's plan. Of the free plan no number is published: there a refusal tells."""
        _, organization = self._client.owner(auth)
        raw = self._client.get("organization", auth, path_of("organizations", payloads.last(organization)))
        if raw is None:
            raise BadAnswer(self.slug, "no organization")
        return QUOTAS.get(str(raw.get("stage")), QUOTAS["enterprise" if raw.get("plan") == "enterprise" else "paid"])

    def cancel(self, auth: Auth, external_id: str, *, reason: str | None) -> RemoteBooking:
        """Ends the event for all its invitees, so it is refused for one with several. A second time Calendly answers 403.

        Read before and not after: whatever fails then has certainly not cancelled anything.
        """
        try:
            found = self.booking(auth, external_id)
        except OutcomeUnknown as error:
            raise NotSent(self.slug, "could not be read, so nothing was cancelled") from error
        if found is None or found.is_group:
            raise Refused(self.slug, "not one event with one invitee", status=GONE if found is None else FORBIDDEN)
        path = path_of("scheduled_events", external_id.partition("/")[0], "cancellation")
        told = self._client.post("cancel", auth, path, {"reason": reason} if reason else {})
        return payloads.cancelled(found, told)

    # ---- webhooks ------------------------------------------------------------------------------------------------

    def subscribe(self, auth: Auth, *, url: str, secret: str) -> str:  # noqa: ARG002 - the app's key signs
        """For the user's own events. Whether event type events may be had so is not settled: without them where they may not."""
        user, organization = self._client.owner(auth)
        body = {"url": url, "organization": organization, "user": user, "scope": "user"}
        for events in ((*webhooks.INVITEES, *webhooks.EVENT_TYPES), webhooks.INVITEES):
            try:
                made = self._client.post("subscribe", auth, "/webhook_subscriptions", {**body, "events": list(events)})
                return payloads.subscription(made)[0]
            except Refused as error:
                if error.status == CONFLICT:
                    return self._adopt(auth, url, error)
                if events is webhooks.INVITEES or error.status not in {BAD_REQUEST, FORBIDDEN}:
                    raise
        raise AssertionError("unreachable")

    def _adopt(self, auth: Auth, url: str, error: Refused) -> str:
        """The one that has this address already: our own, from an answer that was lost."""
        for external_id, address in self.subscriptions(auth):
            if address == url:
                return external_id
        raise error

    def subscriptions(self, auth: Auth) -> list[tuple[str, str]]:
        user, organization = self._client.owner(auth)
        query = {"organization": organization, "user": user, "scope": "user"}
        rows = self._client.pages("subscriptions", auth, "/webhook_subscriptions", **query)
        return [(external_id, url or "") for external_id, url in map(payloads.subscription, rows)]

    def unsubscribe(self, auth: Auth, external_id: str) -> None:
        try:
            self._client.delete("unsubscribe", auth, path_of("webhook_subscriptions", external_id))
        except Refused as error:
            if error.status != GONE:
                raise

    def subscription_state(self, auth: Auth, external_id: str, url: str) -> Literal["active", "retrying", "disabled", "gone"]:
        """Disabled after a day in which nothing arrived, for good: there is no way to switch one on again."""
        found = self._client.find("subscription", auth, path_of("webhook_subscriptions", external_id))
        if found is None or found.get("callback_url") != url:
            return "gone"
        if found.get("state") != "active":
            return "disabled"
        return "retrying" if found.get("retry_started_at") else "active"

    def genuine(self, secrets: Iterable[str], headers: Headers, body: bytes) -> bool:
        return webhooks.genuine(secrets, headers, body)

    def read_delivery(self, payload: Any) -> Delivery:
        return webhooks.read(payload)

    def challenge(self, secrets: Sequence[str], payload: Any) -> dict[str, str] | None:  # noqa: ARG002
        return None


def _utc(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


PROVIDER = CalendlyProvider
# what its capabilities promise, for the type checker
ROLES: tuple[type[Replacing], type[Revoking]] = (PROVIDER, PROVIDER)
