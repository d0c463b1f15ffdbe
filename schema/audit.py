"""The audit trail, for admins."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import orjson
import strawberry
from strawberry.relay import PageInfo

from models import AuditEntry as Row
from schema.connections import Edge, Key, page
from schema.context import Info, given
from services import audit
from services.errors import BadUserInput, Forbidden
from services.runtime import Runtime

KEY = Key("audit_entries", Row.at, Row.id, lambda row: row.at, descending=True)
MOST_ACTIONS = 20


@strawberry.enum(description="Who did something.")
class AuditActorKind(Enum):
    USER = strawberry.enum_value("USER", description="Somebody who was signed in.")
    ADMIN = strawberry.enum_value("ADMIN", description="Somebody who was signed in as an admin.")
    PROVIDER = strawberry.enum_value("PROVIDER", description="The provider, or somebody there.")
    JOB = strawberry.enum_value("JOB", description="Convene by itself.")
    OPERATOR = strawberry.enum_value("OPERATOR", description="Whoever ran a script on the server.")


@strawberry.enum(description="By which way something came in.")
class AuditFace(Enum):
    GRAPHQL = strawberry.enum_value("GRAPHQL", description="POST /graphql.")
    REST = strawberry.enum_value("REST", description="Another address of the server.")
    OAUTH = strawberry.enum_value("OAUTH", description="A browser on its way back from a consent page.")
    WEBHOOK = strawberry.enum_value("WEBHOOK", description="A delivery while it was taken in.")
    JOB = strawberry.enum_value("JOB", description="A job, deliveries that were stored included.")
    SCRIPT = strawberry.enum_value("SCRIPT", description="A script on the server.")


@strawberry.type(description="One value that is different now. A text as it is, anything else as JSON.")
class AuditChange:
    field: str = strawberry.field(description="What.")
    before: str | None = strawberry.field(description="As it was; null: not there, or not known.")
    after: str | None = strawberry.field(description="As it is; null: not there any more.")


@strawberry.type(description="One thing that was changed. Once its person was erased, nothing but ids is left of who it was.")
class AuditEntry:
    id: strawberry.ID = strawberry.field(description="Its id.")
    seq: int | None = strawberry.field(description="Its number in the chain; null for some seconds.")
    at: datetime = strawberry.field(description="When.")
    action: str = strawberry.field(description="What was done, as in `booking.moved` (docs/audit.md lists them).")
    subject_type: str = strawberry.field(description="To what kind of thing, by its GraphQL type's name.")
    subject_id: strawberry.ID | None = strawberry.field(description="To which; null for several at once.")
    owner_id: strawberry.ID | None = strawberry.field(description="The user whose thing it is, where it is one's.")
    actor_kind: AuditActorKind = strawberry.field(description="Who did it.")
    actor_id: strawberry.ID | None = strawberry.field(description="Which user.")
    actor_name: str | None = strawberry.field(description="Their name then.")
    actor_email: str | None = strawberry.field(description="Their address then.")
    face: AuditFace = strawberry.field(description="By which way.")
    origin: str | None = strawberry.field(description="Which job or script.")
    address: str | None = strawberry.field(description="The network address of the caller.")
    user_agent: str | None = strawberry.field(description="The caller's program, shortened.")
    request_id: str | None = strawberry.field(description="The request's id, as in the log.")
    reason: str | None = strawberry.field(description="Why, where somebody said so.")
    changes: list[AuditChange] = strawberry.field(description="Before and after, without secrets.")
    erased: bool = strawberry.field(description="What it told of people is erased.")
    hash: str | None = strawberry.field(description="Its hash in the chain; null for some seconds.")


@strawberry.type(description="A page of the audit trail, newest first.")
class AuditEntryConnection:
    edges: list[Edge[AuditEntry]] = strawberry.field(description="The items.")
    page_info: PageInfo = strawberry.field(description="Where this page stands.")


@strawberry.input(description="Which entries; what is left out does not matter.")
class AuditFilter:
    actor_id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="Done by this user.")
    owner_id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="Done to what is this user's.")
    actions: list[str] | None = strawberry.field(default=strawberry.UNSET, description="One of these, at most 20.")
    subject_type: str | None = strawberry.field(default=strawberry.UNSET, description="Done to this kind of thing.")
    subject_id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="Done to this very thing.")
    since: datetime | None = strawberry.field(default=strawberry.UNSET, description="At that moment or later.")
    until: datetime | None = strawberry.field(default=strawberry.UNSET, description="Before that moment.")


def listed(
    info: Info,
    first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100.")] = 25,
    after: Annotated[str | None, strawberry.argument(description="Go on behind this cursor.")] = strawberry.UNSET,
    filter: Annotated[AuditFilter | None, strawberry.argument(description="Only these.")] = strawberry.UNSET,  # noqa: A002
) -> AuditEntryConnection | None:
    if not info.context.viewer.is_admin:
        raise Forbidden("Only admins see the audit trail.")
    query = Row.select()
    wanted = given(filter)
    for condition in _conditions(wanted) if wanted is not None else ():
        query = query.where(condition)
    found = page(query, KEY, first, after)
    return AuditEntryConnection(edges=found.edges(_shown(info.context.rt, row) for row in found.rows), page_info=found.info)


def _conditions(wanted: AuditFilter) -> list[Any]:
    plain = {name: given(getattr(wanted, name)) for name in ("actor_id", "owner_id", "subject_type", "subject_id")}
    found = [getattr(Row, name) == value for name, value in plain.items() if value is not None]
    if (actions := given(wanted.actions)) is not None:
        if len(actions) > MOST_ACTIONS:
            raise BadUserInput(f"At most {MOST_ACTIONS} actions are taken.")
        found.append(Row.action.in_(actions))
    if (since := given(wanted.since)) is not None:
        found.append(Row.at >= since)
    if (until := given(wanted.until)) is not None:
        found.append(Row.at < until)
    return found


def _shown(rt: Runtime, row: Row) -> AuditEntry:
    told = audit.readable(rt, row)
    return AuditEntry(
        id=strawberry.ID(row.id),
        seq=row.seq,
        at=row.at,
        action=row.action,
        subject_type=row.subject_type,
        subject_id=_id(row.subject_id),
        owner_id=_id(row.owner_id),
        actor_kind=AuditActorKind(row.actor_kind),
        actor_id=_id(row.actor_id),
        actor_name=told["actor"]["name"],
        actor_email=told["actor"]["email"],
        face=AuditFace(row.face),
        origin=told["origin"]["name"],
        address=told["origin"]["address"],
        user_agent=told["origin"]["agent"],
        request_id=row.request_id,
        reason=told["reason"],
        changes=_changes(told["before"] or {}, told["after"] or {}),
        erased=row.erased_by is not None,
        hash=row.hash,
    )


def _id(value: str | None) -> strawberry.ID | None:
    return None if value is None else strawberry.ID(value)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[AuditChange]:
    names = sorted({*before, *after})
    return [AuditChange(field=name, before=_text(before.get(name)), after=_text(after.get(name))) for name in names]


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
