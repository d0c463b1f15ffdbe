"""Webhook subscriptions. They are made, read and deleted; nothing changes one, and a disabled one stays disabled."""

from typing import Any
from urllib.parse import urlsplit

from flask import g, request

from sandbox.calendly import auth, faces, paging, samples
from sandbox.calendly.auth import Caller
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.checks import Given
from sandbox.calendly.context import body, resource, setting, state, world
from sandbox.calendly.errors import NO_ACCESS, NO_PERMISSION, NOT_IN_ORGANIZATION, ApiError, insufficient
from sandbox.calendly.rows import Json, Subscription
from sandbox.calendly.state import new_id

READ_SCOPES = {
    "invitee": "scheduled_events:read",
    "invitee_no_show": "scheduled_events:read",
    "routing_form_submission": "routing_forms:read",
    "event_type": "event_types:read",
    "meeting_recap": "meeting_recaps:read",
    "contact": "contacts:read",
}
EVENTS = (
    *("invitee.created", "invitee.canceled", "invitee_no_show.created", "invitee_no_show.deleted", "routing_form_submission.created"),
    *(f"{family}.{what}" for family in ("event_type", "meeting_recap", "contact") for what in ("created", "updated", "deleted")),
)
ONLY_IN = {"routing_form_submission": "organization", "meeting_recap": "user"}
SCOPES = ("organization", "user", "group")


@blueprint.post("/webhook_subscriptions")
def subscribe() -> tuple[Json, int]:
    caller, given = auth.needed("webhooks:write"), Given(body())
    address, events = given.text("url", required=True), given.listed("events")
    if address is not None and (urlsplit(address).scheme not in {"http", "https"} or not urlsplit(address).netloc):
        given.wrong("url", "must be a valid URL")
    key = given.text("signing_key")
    organization, scope, user = _whose(given)
    if not events or any(not isinstance(one, str) or one not in EVENTS for one in events):
        given.wrong("events", f"must be some of: {', '.join(EVENTS)}" if events else "is missing")
    elif any(ONLY_IN.get(_family(one), scope) != scope for one in events):
        given.wrong("events", "are not all allowed in this scope")
    given.finish()
    _check_rights(caller, organization, scope, user)
    missing = sorted({READ_SCOPES[_family(one)] for one in events if not caller.holds(READ_SCOPES[_family(one)])})
    if missing:
        raise insufficient(missing)
    with world().writing():
        if any(row.url == address for row in list(state().subscriptions.values())):
            raise ApiError(409, "Hook with this url already exists")  # unique everywhere; per organization or scope is open [?]
        row = Subscription(
            id=new_id(),
            url=str(address),
            events=list(dict.fromkeys(events)),
            organization_id=organization,
            scope=scope,
            user_id=user,
            creator_id=caller.user.id,
            created_at=setting().now,
            updated_at=setting().now,
            app_id=caller.token.app_id,
            key=None if caller.token.app_id else key,
        )
        return resource(faces.subscription(setting(), state().subscriptions.add(row))), 201


def _family(event: str) -> str:
    return event.partition(".")[0]


def _whose(given: Given) -> tuple[str, str, str | None]:
    """`organization` is always wanted, and `user` as well for a user's own."""
    organization = given.resource(setting(), "organization", "organizations", required=True)
    scope = given.choice("scope", SCOPES, required=True)
    user = given.resource(setting(), "user", "users", required=scope == "user")
    if scope == "group":
        given.text("group", required=True)
    return str(organization), str(scope), user if scope == "user" else None


def _check_rights(caller: Caller, organization: str, scope: str, user: str | None) -> None:
    """The whole organization only for who administers it; another member's events as well. Nobody here has groups."""
    if organization not in state().organizations:
        raise ApiError(404)
    if organization != caller.user.organization_id:
        raise ApiError(403, NO_ACCESS)
    if scope == "group":
        raise ApiError(404)
    if scope == "organization" and not caller.is_admin:
        raise ApiError(403, NO_PERMISSION)
    if user is not None:
        member = state().users.get(user)
        if member is None or not caller.same_organization(member):
            raise ApiError(403, NOT_IN_ORGANIZATION)
        if not caller.may_manage(user):
            raise ApiError(403, NO_PERMISSION)


@blueprint.get("/webhook_subscriptions")
def list_subscriptions() -> Json:
    caller, given = auth.needed("webhooks:read"), Given(request.args)
    organization, scope, user = _whose(given)
    way = given.choice("sort", ("created_at:asc", "created_at:desc")) or "created_at:asc"
    count = paging.read(given)
    given.finish()
    _check_rights(caller, organization, scope, user)
    rows = [
        row
        for row in list(state().subscriptions.values())
        if row.organization_id == organization and row.scope == scope and (user is None or row.user_id == user)
    ]
    rows.sort(key=lambda row: row.created_at, reverse=way.endswith("desc"))
    return paging.page(rows, lambda row: faces.subscription(setting(), row), count)


def _find(hook_id: str) -> Subscription:
    caller: Any = g.caller
    row = state().subscriptions.get(hook_id)
    if row is None:
        raise ApiError(404)
    if row.creator_id != caller.user.id and not (row.organization_id == caller.user.organization_id and caller.is_admin):
        raise ApiError(403, NO_ACCESS)
    return row


@blueprint.get("/webhook_subscriptions/<hook_id>")
def show_subscription(hook_id: str) -> Json:
    auth.needed("webhooks:read")
    return resource(faces.subscription(setting(), _find(hook_id)))


@blueprint.delete("/webhook_subscriptions/<hook_id>")
def unsubscribe(hook_id: str) -> tuple[str, int]:
    auth.needed("webhooks:write")
    with world().writing():
        row = _find(hook_id)
        del state().subscriptions[row.id]
    world().deliveries.forget(row.id)
    return "", 204


@blueprint.get("/sample_webhook_data")
def show_sample() -> Json:
    """A bare envelope, without `resource`."""
    caller, given = auth.needed("webhooks:read"), Given(request.args)
    event = given.choice("event", EVENTS, required=True)
    organization, scope, user = _whose(given)
    given.finish()
    _check_rights(caller, organization, scope, user)
    return samples.envelope(world(), str(event), caller.user)
