"""The inbox: store, then acknowledge; apply later, in any order, any number of times, with the same result.

A delivery says only *which* booking to look at. Its meaning is read back from the provider, so that duplicates, odd
orders and forgeries of content make no difference.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from peewee import Case, IntegrityError, fn

from models import Booking, BookingExternalId, LinkedAccount, WebhookEvent, WebhookSubscription
from models.base import DATABASE_AWAY, db, is_away, new_id, release_connection, transactional
from models.prepared import Prepared
from services import (
    audit,
    availability_cache,
    booking_chains,
    booking_records,
    claims,
    linked_accounts,
    meetings,
    origins,
    recordings,
    webhook_secrets,
)
from services.errors import ConnectionUnusable, ConveneError, ProviderFailure, RateLimited
from services.logging import get_logger
from services.providers.base import Delivery, Headers, RemoteBooking, split
from services.runtime import Runtime
from services.vault import place

log = get_logger("webhooks")

MAX_ATTEMPTS = 15
"""With the pauses between them: some four hours."""
WAITS_FOR = timedelta(days=3)
A_MOMENT = timedelta(seconds=1)
LEASE = timedelta(seconds=25)
"""Longer than one reading with all its repeats. What a dead process held counts as its account's until then."""
BATCH = 10
MOST_OF_ONE_ACCOUNT = 4
"""So many deliveries of one account are in hand at a time, over all replicas; the others' turn comes meanwhile."""
KEPT_FOR = timedelta(days=14)
KEYS_KEPT_FOR = 2 * KEPT_FOR
HEARD_EVERY = timedelta(minutes=1)
"""How exactly it is kept when a subscription was last heard of: a second commit for each delivery would halve the intake."""
WAITING = ("PENDING", "RETRYING")
QUEUE = claims.Queue(
    WebhookEvent,
    lambda row: row.state.in_(WAITING),
    # what came to the address for all accounts takes its turn like one of them, a bigger one
    by=lambda row: fn.COALESCE(row.linked_account, ""),
    most=lambda row: Case(None, [(row.linked_account.is_null(), BATCH)], MOST_OF_ONE_ACCOUNT),
)
FROM_PROVIDER = origins.Origin(origins.JOB, "apply_webhooks", actor=origins.Actor(origins.PROVIDER))
LONGEST_BACKOFF = 3600


class UnknownEndpoint(Exception):
    """No subscription has this address (any more)."""


class BadSignature(Exception):
    """Unsigned, wrongly signed, or signed with another secret."""


class TooOld(Exception):
    """Older than the keys that would show it to be a repeat."""


class NotJson(Exception):
    """The signature is right, the body cannot be read."""


class NotStored(Exception):
    """The database could not take it now; whoever sent it should send it again."""


@dataclass(frozen=True)
class Target:
    """Which endpoint a delivery comes to, and the secrets that may sign for it."""

    provider: str
    endpoint: str
    secrets: tuple[str, ...] = field(repr=False)
    subscription_id: str | None = None
    account_id: str | None = None
    heard_at: datetime | None = None


# ---- intake --------------------------------------------------------------------------------------------------------------


def subscribed(rt: Runtime, slug: str, endpoint: str) -> Target:
    """The subscription that has this endpoint; looked up before anything of the body is read. Raises UnknownEndpoint, NotStored.

    No connection is held while the sender takes its time.
    """
    with _storing():
        row = _subscription.first(endpoint, slug)
        release_connection()
    if row is None:
        rt.metrics.webhooks_received.labels(slug if slug in rt.providers else "unknown", "unknown_endpoint").inc()
        raise UnknownEndpoint
    keys = rt.providers[slug].webhook_keys or webhook_secrets.accepted(rt, row)
    return Target(slug, endpoint, keys, row.id, row.linked_account_id, row.last_received_at)


@Prepared
def _subscription(endpoint: Any, slug: Any) -> Any:
    connected = LinkedAccount.select(LinkedAccount.id).where(LinkedAccount.connected)
    return WebhookSubscription.select().where(
        (WebhookSubscription.endpoint == endpoint)
        & (WebhookSubscription.provider == slug)
        & WebhookSubscription.linked_account.in_(connected)
    )


def of_app(rt: Runtime, slug: str) -> Target:
    """The one address to which a provider sends the news of all accounts, signed with its app's keys. Raises UnknownEndpoint."""
    provider = rt.providers.get(slug)
    if provider is None or not provider.capabilities.app_webhooks or not provider.webhook_keys:
        raise UnknownEndpoint
    return Target(slug, "app", provider.webhook_keys)


def shared(rt: Runtime) -> Target:
    """The one address of an existing Cal.com set-up, for all accounts, with its configured secrets. Raises UnknownEndpoint."""
    keys = split(rt.legacy_webhook_secret)
    if not keys:
        raise UnknownEndpoint
    return Target("calcom", "shared", keys)


def receive(rt: Runtime, target: Target, headers: Headers, body: bytes) -> dict[str, str] | None:
    """Verify and store a delivery; or answer the question by which a provider tests the address.

    Returns only after the row is committed. Raises UnknownEndpoint, BadSignature, NotJson, TooOld, NotStored.
    """
    rt.taken_in_at = time.monotonic()
    provider = rt.providers[target.provider]
    signed_by = [secret for secret in target.secrets if provider.genuine([secret], headers, body)]
    if not signed_by:
        rt.metrics.webhooks_received.labels(target.provider, "bad_signature").inc()
        raise BadSignature
    try:
        payload, text = orjson.loads(body), body.decode()
    except (orjson.JSONDecodeError, UnicodeDecodeError) as error:
        rt.metrics.webhooks_received.labels(target.provider, "not_json").inc()
        raise NotJson from error
    answer = provider.challenge(signed_by, payload)
    if answer is None:
        with _storing():
            _store(rt, target, provider.read_delivery(payload), text)
    return answer


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        # it was unsubscribed between our look and our insert
        raise UnknownEndpoint from error
    except DATABASE_AWAY as error:
        log.error("a delivery could not be stored", reason=type(error).__name__)  # noqa: TRY400 - the statement would be in it
        raise NotStored from error


def _store(rt: Runtime, target: Target, delivery: Delivery, text: str) -> None:
    now, event_id = rt.clock.now(), new_id()
    if delivery.sent_at is not None and delivery.sent_at < now - KEYS_KEPT_FOR:
        rt.metrics.webhooks_received.labels(target.provider, "too_old").inc()
        raise TooOld
    new = WebhookEvent.store(
        WebhookEvent(
            id=event_id,
            provider=target.provider,
            subscription=target.subscription_id,
            linked_account=target.account_id,
            delivery_key=hashlib.sha256(f"{target.endpoint}\n{text}".encode()).hexdigest(),
            kind=delivery.kind,
            body=rt.vault.seal(text, place("webhook_event", event_id, "body")),
            received_at=now,
            due_at=now,
        )
    )
    if target.subscription_id and (target.heard_at is None or now - target.heard_at >= HEARD_EVERY):
        WebhookSubscription.update(last_received_at=now).where(WebhookSubscription.id == target.subscription_id).execute()
    rt.metrics.webhooks_received.labels(target.provider, "stored" if new else "duplicate").inc()
    rt.step("webhook.stored")
    if new:
        rt.wake("webhooks")


# ---- applying ------------------------------------------------------------------------------------------------------------


def apply_due(rt: Runtime) -> int:
    """Claim a batch of what is due and apply it; answers how many were claimed."""
    batch = QUEUE.claim(rt, limit=BATCH)
    rt.step("webhook.claimed")
    claims.work_off(rt, WebhookEvent, batch, lambda event: _apply_one(rt, event), lease=LEASE)
    return len(batch)


@transactional
def replay(rt: Runtime, ids: Sequence[str] | None) -> int:
    """An admin has these deliveries applied again, all DEAD ones for None; answers how many."""
    replayed = make_due(rt, ids)
    if replayed:
        one = ids[0] if ids is not None and len(ids) == 1 else None
        audit.record(rt, "webhook.replayed", ("WebhookEvent", one), after={"replayed": replayed, "ids": ids})
    return replayed


def make_due(rt: Runtime, ids: Sequence[str] | None) -> int:
    """Deliveries that came to an end, and whose body is still kept, are due again; answers how many."""
    ended = ~WebhookEvent.state.in_(WAITING) & WebhookEvent.body.is_null(False)
    wanted = WebhookEvent.state == "DEAD" if ids is None else WebhookEvent.id.in_(list(ids))
    again = {"state": "PENDING", "attempts": 0, "due_at": rt.clock.now(), "applied_at": None, "attended_at": None}
    replayed = int(WebhookEvent.update(**again).where(ended & wanted).execute())
    db.after_commit(lambda: rt.wake("webhooks"))
    return replayed


def _apply_one(rt: Runtime, event: WebhookEvent) -> None:
    if event.attempts > MAX_ATTEMPTS:
        # counted at the claim: also one that takes its process down with it comes to an end
        _end(rt, event, "DEAD", last_error=event.last_error or "gave up: it never came to an end")
        return
    try:
        with origins.within(FROM_PROVIDER):
            state, booking_id = _apply(rt, event)
    except ConveneError as error:
        _retry(rt, event, error)
        return
    except Exception as error:
        if is_away(error):
            raise
        log.exception("webhook could not be applied", event_id=event.id)
        rt.metrics.errors.labels("webhooks").inc()
        _retry(rt, event, error)
        return
    rt.step("webhook.applied")
    _end(rt, event, state, booking=booking_id, last_error=None)
    rt.step("webhook.ended")


def _apply(rt: Runtime, event: WebhookEvent) -> tuple[str, str | None]:
    """Read back what it names, and record what the provider has now."""
    if event.body is None:
        return "IGNORED", None
    payload = orjson.loads(rt.vault.open(event.body, place("webhook_event", event.id, "body")))
    delivery = rt.providers[event.provider].read_delivery(payload)
    booking_id = None
    if delivery.booking_ids:
        if event.linked_account_id:
            availability_cache.forget(rt, [event.linked_account_id])
        booking_id = _read_back(rt, event, delivery)
    elif delivery.event_types and event.linked_account_id:
        claims.schedule("event_types", event.linked_account_id, rt.clock.now())
    elif delivery.recorded is not None:
        booking_id = recordings.keep(rt, event.provider, delivery.recorded)
    elif delivery.meeting_id is not None:
        meetings.look_again(rt, event.provider, delivery.meeting_id)
    elif delivery.withdrawn is not None:
        linked_accounts.withdraw(rt, event.provider, delivery.withdrawn)
    else:
        return "IGNORED", None
    return "APPLIED", booking_id


def _read_back(rt: Runtime, event: WebhookEvent, delivery: Delivery) -> str | None:
    requested = [delivery.requested_id] if delivery.requested_id else []
    booking_id = None
    seen: set[str] = set()
    for external_id in delivery.booking_ids:
        if external_id in seen:
            continue
        chain = _chain(rt, event, delivery, external_id)
        seen |= {remote.external_id for remote in chain}
        if chain:
            recorded = booking_records.record(rt, event.linked_account_id, event.provider, chain, source="PROVIDER", requested=requested)
            booking_id = recorded.booking_id
    rt.wake("work")  # its video meeting is to follow
    return booking_id


def _chain(rt: Runtime, event: WebhookEvent, delivery: Delivery, external_id: str) -> list[RemoteBooking]:
    """As the provider has it now; as the signed delivery tells it where only a broken link could read it."""
    try:
        auth = booking_chains.reader(rt, event.provider, event.linked_account_id)
        return booking_chains.read_chain(rt, event.provider, auth, external_id)
    except ConnectionUnusable:
        if delivery.told is None:
            raise
        told = booking_chains.joined(delivery.told)
        if not _stands_by_itself(event.provider, told):
            raise
        return [] if booking_chains.half_made(told) else [told]


def _stands_by_itself(slug: str, told: RemoteBooking) -> bool:
    """Whether what is told fits to what is known: the end of a chain whose middle never came waits for it, or for the link."""
    here = BookingExternalId.select().where((BookingExternalId.provider == slug) & (BookingExternalId.external_id == told.external_id))
    if here.exists():
        return True
    before = Booking.select().where((Booking.provider == slug) & (Booking.external_id == told.previous_id))
    return told.next_id is None and (told.previous_id is None or bool(before.exists()))


def _end(rt: Runtime, event: WebhookEvent, state: str, **values: Any) -> None:
    """Guarded by the owner: whoever lost the lease leaves the row to its new holder."""
    ended = (
        WebhookEvent.update(state=state, applied_at=rt.clock.now(), lease_owner=None, lease_until=None, **values)
        .where(claims.held(WebhookEvent, event))
        .execute()
    )
    if ended:
        rt.metrics.webhooks_applied.labels(event.provider, state.lower()).inc()


def _retry(rt: Runtime, event: WebhookEvent, error: Exception) -> None:
    """Later. What only has to wait until a time that is known costs no attempt, so that a busy hour kills nothing."""
    reason = error.code if isinstance(error, ConveneError) else type(error).__name__
    now = rt.clock.now()
    until = error.retry_at if isinstance(error, (RateLimited, ProviderFailure)) else None
    if now - event.received_at > WAITS_FOR:
        until = None  # it has waited long enough: from now on every attempt counts
    if event.attempts >= MAX_ATTEMPTS:
        _end(rt, event, "DEAD", last_error=reason)
        log.error("webhook given up", event_id=event.id, reason=reason)
        return
    pause = timedelta(seconds=min(LONGEST_BACKOFF, 2**event.attempts))
    later = {"due_at": now + pause} if until is None else {"due_at": max(until, now + A_MOMENT), "attempts": event.attempts - 1}
    WebhookEvent.update(state="RETRYING", lease_owner=None, lease_until=None, last_error=reason, **later).where(
        claims.held(WebhookEvent, event)
    ).execute()


def clean_up(rt: Runtime) -> int:
    """Raw bodies are kept for two weeks; the rows, and with them the keys that make a repeat harmless, for as long again."""
    now = rt.clock.now()
    old = ~WebhookEvent.state.in_(WAITING) & (WebhookEvent.received_at < now - KEPT_FOR)
    WebhookEvent.update(body=None).where(old & WebhookEvent.body.is_null(False)).execute()
    return int(WebhookEvent.delete().where(~WebhookEvent.state.in_(WAITING) & (WebhookEvent.received_at < now - KEYS_KEPT_FOR)).execute())
