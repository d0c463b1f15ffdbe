"""Expected failures as GraphQL types: every one implements Problem, so a client needs one fragment for all."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import strawberry

from models import LinkedAccount as LinkedAccountRow
from schema.context import Info
from schema.people import Host
from schema.scalars import ConnectionProblemCode, ParticipantRole, Provider
from schema.slots import Slot, SlotReason
from services import errors, linked_accounts

CODE = "Stable, for programs."
MESSAGE = "One sentence, for people."


@strawberry.interface(description="An expected failure, answered as data.")
class Problem:
    code: str = strawberry.field(description=CODE)
    message: str = strawberry.field(description=MESSAGE)


@strawberry.type(description="It is not there, or not the viewer's to know of.")
class NotFound(Problem): ...


@strawberry.type(description="The viewer takes part, but this is another party's to do.")
class NotPermitted(Problem): ...


@strawberry.type(description="The provider has no way to do this; the message says where it can be done instead.")
class NotSupported(Problem):
    unsupported: list[str] = strawberry.field(description="Which fields of the input cannot be set; empty: all of it.")


@strawberry.type(description="The key was used with another input.")
class IdempotencyKeyReused(Problem): ...


@strawberry.type(description="The viewer has no link to this provider.")
class NotConnected(Problem): ...


@strawberry.type(description="Access was declined on the provider's consent page.")
class AuthorizationDenied(Problem): ...


@strawberry.type(description="The state is unknown, used, too old or another user's. Begin again.")
class AuthorizationExpired(Problem): ...


@strawberry.type(description="The upstream account is linked to another user.")
class AccountInUse(Problem): ...


@strawberry.type(description="Less was granted than Convene needs; nothing was linked.")
class ScopeMissing(Problem): ...


@strawberry.type(description="Another upstream account than the one this link belongs to.")
class DifferentAccount(Problem):
    expected: str = strawberry.field(description="The account that is linked.")
    got: str = strawberry.field(description="The account that was authorised.")


@strawberry.type(description="Something is wrong with one field of the input.")
class FieldError:
    path: list[str] = strawberry.field(description="Where in the input.")
    message: str = strawberry.field(description=MESSAGE)


@strawberry.type(description="Well-formed nonsense.")
class InvalidInput(Problem):
    fields: list[FieldError] = strawberry.field(description="What is wrong where.")


@strawberry.type(description="Why a connection is not usable.")
class ConnectionProblem:
    code: ConnectionProblemCode = strawberry.field(description=CODE)
    message: str = strawberry.field(description=MESSAGE)
    missing_scopes: list[str] = strawberry.field(description="What was not granted, for SCOPE_MISSING.")
    retry_at: datetime | None = strawberry.field(description="When it is tried again by itself.")

    @classmethod
    def of(cls, problem: linked_accounts.StatusProblem | None) -> "ConnectionProblem | None":
        if problem is None:
            return None
        return cls(
            code=ConnectionProblemCode(problem.code),
            message=problem.message,
            missing_scopes=problem.missing_scopes,
            retry_at=problem.retry_at,
        )


@strawberry.type(description="NEEDS_RECONNECT only; what passes by itself is ProviderFailure.")
class ConnectionUnusable(Problem):
    is_viewers: bool = strawberry.field(description="Whose link it is.")
    provider: Provider = strawberry.field(description="At which provider.")
    problem: ConnectionProblem | None = strawberry.field(description="The details, for the viewer's own link only.")


@strawberry.type(description="The provider cannot do it now, or refuses.")
class ProviderFailure(Problem):
    retryable: bool = strawberry.field(description="Whether the same call may succeed later.")
    retry_at: datetime | None = strawberry.field(description="When to try again, where that is known.")


@strawberry.type(description="Why a slot cannot be had. Of the other party only that they are busy, clipped to the asked slot.")
class SlotConflict:
    participant: Host = strawberry.field(description="Whose side.")
    role: ParticipantRole = strawberry.field(description="What they are in the booking.")
    reason: SlotReason = strawberry.field(description="Why.")
    start: datetime = strawberry.field(description="From when, within the asked slot.")
    end: datetime = strawberry.field(description="Until when, within the asked slot.")


@strawberry.type(description="Somebody who must be free at that time is not.")
class SlotUnavailable(Problem):
    conflicts: list[SlotConflict] = strawberry.field(description="Who and why.")
    alternatives: list[Slot] = strawberry.field(description="Up to five next slots.")
    can_accept: bool = strawberry.field(description="Whether `acceptConflicts: true` would go on.")


@strawberry.type(description="A calendar that had to be asked could not be.")
class SourceUnverified(Problem):
    participant: Host = strawberry.field(description="Whose calendar.")
    role: ParticipantRole = strawberry.field(description="What they are in the booking.")
    can_accept: bool = strawberry.field(description="The mover may take the risk (the mentee's side only).")


@strawberry.type(description="The provider's quota for this is used up.")
class QuotaExhausted(Problem):
    reset_at: datetime = strawberry.field(description="When there is some again.")


@strawberry.type(description="The viewer asked this too often.")
class TooManyRequests(Problem):
    retry_at: datetime = strawberry.field(description="When it is answered again.")


@strawberry.type(description="A rule of the coach's, or of the provider's, forbids it.")
class PolicyViolation(Problem):
    rule: str = strawberry.field(description="The rule's name.")


def _plain(kind: type[Any]) -> Callable[[Any, Any], Any]:
    return lambda _info, e: kind(code=e.code, message=e.message)


def _unusable(info: Info, e: errors.ConnectionUnusable) -> ConnectionUnusable:
    rt, viewer = info.context.rt, info.context.viewer
    own = e.user_id == viewer.user_id
    row = LinkedAccountRow.get_or_none(LinkedAccountRow.id == e.account_id) if own else None
    problem = linked_accounts.state_of(rt, row)[1] if row else None
    return ConnectionUnusable(
        code=e.code, message=e.message, is_viewers=own, provider=Provider(e.provider), problem=ConnectionProblem.of(problem)
    )


def _slot_unavailable(_info: Info, e: errors.SlotUnavailable) -> SlotUnavailable:
    return SlotUnavailable(
        code=e.code,
        message=e.message,
        conflicts=[
            SlotConflict(
                participant=Host(id=strawberry.ID(c.person_id), name=c.name or "Unnamed"),
                role=ParticipantRole(c.role),
                reason=SlotReason(c.reason),
                start=c.start,
                end=c.end,
            )
            for c in e.details.conflicts
        ],
        alternatives=[Slot(start=start, end=end) for start, end in e.details.alternatives],
        can_accept=e.details.can_accept,
    )


def _unverified(_info: Info, e: errors.SourceUnverified) -> SourceUnverified:
    host = Host(id=strawberry.ID(e.person_id), name=e.name or "Unnamed")
    return SourceUnverified(code=e.code, message=e.message, participant=host, role=ParticipantRole(e.role), can_accept=e.can_accept)


TYPES: dict[type[errors.ConveneError], Callable[[Any, Any], Any]] = {
    errors.NotFound: _plain(NotFound),
    errors.NotPermitted: _plain(NotPermitted),
    errors.NotSupported: lambda _i, e: NotSupported(code=e.code, message=e.message, unsupported=list(e.fields)),
    errors.IdempotencyKeyReused: _plain(IdempotencyKeyReused),
    errors.NotConnected: _plain(NotConnected),
    errors.AuthorizationDenied: _plain(AuthorizationDenied),
    errors.AuthorizationExpired: _plain(AuthorizationExpired),
    errors.AccountInUse: _plain(AccountInUse),
    errors.ScopeMissing: _plain(ScopeMissing),
    errors.DifferentAccount: lambda _i, e: DifferentAccount(code=e.code, message=e.message, expected=e.expected, got=e.got),
    errors.InvalidInput: lambda _i, e: InvalidInput(
        code=e.code, message=e.message, fields=[FieldError(path=list(f.path), message=f.message) for f in e.fields]
    ),
    errors.ConnectionUnusable: _unusable,
    errors.ProviderFailure: lambda _i, e: ProviderFailure(
        code=e.failure_code, message=e.message, retryable=e.may_retry, retry_at=e.retry_at
    ),
    errors.QuotaExhausted: lambda _i, e: QuotaExhausted(code=e.code, message=e.message, reset_at=e.reset_at),
    errors.TooManyRequests: lambda _i, e: TooManyRequests(code=e.code, message=e.message, retry_at=e.retry_at),
    errors.SlotUnavailable: _slot_unavailable,
    errors.SourceUnverified: _unverified,
    errors.PolicyViolation: lambda _i, e: PolicyViolation(code=e.code, message=e.message, rule=e.rule),
}
"""How each expected error is shown. Files that bring a problem with types of their own add theirs."""


def _shown(info: Info, error: errors.ConveneError) -> Any:
    show = TYPES.get(type(error))
    if show is None:
        raise error
    try:
        return show(info, error)
    except errors.NotFound as hidden:
        # what the problem would show is no longer the viewer's to see
        return TYPES[errors.NotFound](info, hidden)


P = ParamSpec("P")
R = TypeVar("R")


def answered(resolver: Callable[P, R]) -> Callable[P, R]:
    """Let a resolver raise services' Problems and answer them as members of its union."""

    @wraps(resolver)
    def resolve(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return resolver(*args, **kwargs)
        except errors.ConveneError as error:
            info = next(a for a in (*args, *kwargs.values()) if isinstance(a, strawberry.Info))
            return _shown(info, error)

    return resolve
