"""Expected failures, as one tree.

    ConveneError                      code, message for the user, retryable
    ├── BadUserInput                  a malformed scalar, cursor or argument: a GraphQL error
    ├── Unauthenticated               no or no good token
    ├── Forbidden                     admins only
    ├── InProgress                    the outcome of the caller's own operation is not known yet
    ├── Problem                       everything that a mutation or query answers as data
    │   ├── InvalidInput              well-formed nonsense, with a sentence per field
    │   ├── NotFound                  is not there, or not the viewer's to know of
    │   ├── NotPermitted
    │   ├── NotSupported              the provider has no way to do this
    │   ├── NotConnected
    │   ├── AuthorizationDenied, AuthorizationExpired, AccountInUse, DifferentAccount, ScopeMissing
    │   ├── IdempotencyKeyReused
    │   ├── PolicyViolation, StaleBooking, BookingNotReschedulable, BookingNotCancellable
    │   ├── SlotUnavailable, SourceUnverified
    │   ├── QuotaExhausted            the provider's cap for this is used up until `reset_at`
    │   ├── TooManyRequests           of this caller
    │   ├── ConnectionUnusable        only the person can repair the link
    │   └── ProviderFailure           passes by itself, or is the operator's to repair
    └── ProviderError                 what one call to a provider came to; services turn it into a Problem
        ├── NotSent                   nothing reached the provider
        │   ├── RateLimited           and `retry_at` says when it may
        │   └── BreakerOpen
        ├── OutcomeUnknown            it may or may not have been done
        │   └── BadAnswer             a 2xx that cannot be read
        └── Refused                   the provider said no (4xx)
            ├── TokenRefused          this token, not this request
            ├── InvalidGrant          the refresh token or code is spent, revoked or unknown
            ├── InvalidClient         our own client id or secret is wrong
            ├── InsufficientScope
            ├── PlanRequired          the account may not do this at all
            └── Unbookable            nobody may, through the API

`message` is always fit for the user's eyes: no token, no uid, no SQL.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar


class ConveneError(Exception):
    """The root: a stable `code`, a sentence for the user, and whether the same call may succeed later."""

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadUserInput(ConveneError):
    """A malformed scalar, cursor or page size. The sentence says what is accepted."""

    code = "BAD_USER_INPUT"


class Unauthenticated(ConveneError):
    """No bearer token, or one that does not verify. `reason` is for the log, never for the caller."""

    code = "UNAUTHENTICATED"

    def __init__(self, reason: str) -> None:
        super().__init__("Sign in first: send 'Authorization: Bearer <token>' with a valid token of your identity provider.")
        self.reason = reason


class Forbidden(ConveneError):
    """The viewer is known but may not do this."""

    code = "FORBIDDEN"


# ---- problems: answered as data ----------------------------------------------------------------------------------------


class Problem(ConveneError):
    """An expected failure that the schema answers as a member of a union."""


@dataclass(frozen=True)
class FieldProblem:
    path: tuple[str, ...]
    message: str


class InvalidInput(Problem):
    """Well-formed nonsense. `fields` says where and why."""

    code = "INVALID_INPUT"

    def __init__(self, *fields: FieldProblem) -> None:
        super().__init__(" ".join(f.message for f in fields))
        self.fields = fields

    @classmethod
    def of(cls, path: str, message: str) -> "InvalidInput":
        return cls(FieldProblem(tuple(path.split(".")), message))


class NotFound(Problem):
    """Is not there, or is not the viewer's to know of; the two cannot be told apart."""

    code = "NOT_FOUND"


class NotPermitted(Problem):
    """The viewer takes part but this is another party's to do."""

    code = "NOT_PERMITTED"


class NotSupported(Problem):
    """The provider has no way to do this at all. The sentence says what to do instead; `fields` what cannot be set."""

    code = "NOT_SUPPORTED"

    def __init__(self, message: str, *fields: str) -> None:
        super().__init__(message)
        self.fields = fields


class NotConnected(Problem):
    """The viewer has no link to that provider."""

    code = "NOT_CONNECTED"


class AuthorizationDenied(Problem):
    """The person, or the provider, said no on the consent page."""

    code = "AUTHORIZATION_DENIED"


class AuthorizationExpired(Problem):
    """The state is unknown, used, too old or another user's; begin again with connectProvider."""

    code = "AUTHORIZATION_EXPIRED"


class AccountInUse(Problem):
    """The upstream account is linked to another user."""

    code = "ACCOUNT_IN_USE"


class ScopeMissing(Problem):
    """The person granted less than Convene needs; nothing was linked."""

    code = "SCOPE_MISSING"


class DifferentAccount(Problem):
    """Another upstream account than the one this link belongs to; `switchAccount` would replace it."""

    code = "DIFFERENT_ACCOUNT"

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(
            f"This link belongs to {expected}, but {got} was authorised. Sign in to the other account, or connect again "
            "with switchAccount to replace it."
        )
        self.expected, self.got = expected, got


class IdempotencyKeyReused(Problem):
    """The same key with another input."""

    code = "IDEMPOTENCY_KEY_REUSED"


class StaleBooking(Problem):
    """`expectedVersion` is not the booking's; `booking_id` lets the answer show the present one."""

    code = "STALE_BOOKING"

    def __init__(self, booking_id: str) -> None:
        super().__init__("The booking changed since you read it. Look at it again, then repeat with its present version.")
        self.booking_id = booking_id


class BookingBlocked(Problem):
    """The booking cannot be changed now; `blocked_by` says why, by RescheduleBlocker names."""

    def __init__(self, message: str, *blocked_by: str) -> None:
        super().__init__(message)
        self.blocked_by = blocked_by


class BookingNotReschedulable(BookingBlocked):
    code = "BOOKING_NOT_RESCHEDULABLE"


class BookingNotCancellable(BookingBlocked):
    code = "BOOKING_NOT_CANCELLABLE"


class PolicyViolation(Problem):
    """A rule of the coach's, or of the provider's, forbids it; `rule` names it."""

    code = "POLICY_VIOLATION"

    def __init__(self, message: str, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True)
class Conflict:
    """Why a slot cannot be had: whose side, which SlotReason, and the taken part of the asked slot."""

    person_id: str
    name: str
    role: str
    reason: str
    start: datetime
    end: datetime


@dataclass
class SlotDetails:
    conflicts: list[Conflict]
    alternatives: list[tuple[datetime, datetime]] = field(default_factory=list)
    can_accept: bool = False


class SlotUnavailable(Problem):
    """Somebody who must be free is not."""

    code = "SLOT_UNAVAILABLE"

    def __init__(self, message: str, details: SlotDetails) -> None:
        super().__init__(message)
        self.details = details


class SourceUnverified(Problem):
    """A calendar that had to be asked could not be."""

    code = "SOURCE_UNVERIFIED"
    retryable = True

    def __init__(self, message: str, *, person_id: str, name: str, role: str, can_accept: bool) -> None:
        super().__init__(message)
        self.person_id, self.name, self.role, self.can_accept = person_id, name, role, can_accept


class QuotaExhausted(Problem):
    """The provider's cap on what may be done through its API is used up; `reset_at` is when there is some again."""

    code = "QUOTA_EXHAUSTED"
    retryable = True

    def __init__(self, message: str, reset_at: datetime) -> None:
        super().__init__(message)
        self.reset_at = reset_at


class TooManyRequests(Problem):
    """This caller has asked this too often; `retry_at` is when it is answered again."""

    code = "TOO_MANY_REQUESTS"
    retryable = True

    def __init__(self, message: str, retry_at: datetime) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class InProgress(ConveneError):
    """The outcome of the caller's own operation is not known yet; not a problem but an answer of its own."""

    code = "IN_PROGRESS"
    retryable = True

    def __init__(self, operation_id: str) -> None:
        super().__init__("The outcome is not known yet; it will be settled. Ask again with the same key.")
        self.operation_id = operation_id


class ConnectionUnusable(Problem):
    """Only the person can repair the link (NEEDS_RECONNECT). `problem` is shown to the link's owner alone."""

    code = "CONNECTION_UNUSABLE"

    def __init__(self, message: str, *, account_id: str, user_id: str, provider: str) -> None:
        super().__init__(message)
        self.account_id, self.user_id, self.provider = account_id, user_id, provider


class ProviderFailure(Problem):
    """It passes by itself (`retry_at` where that is known), or the operator must repair it."""

    code = "PROVIDER_UNAVAILABLE"

    def __init__(
        self, message: str, *, code: str = "PROVIDER_UNAVAILABLE", retryable: bool = True, retry_at: datetime | None = None
    ) -> None:
        super().__init__(message)
        self.failure_code, self.may_retry, self.retry_at = code, retryable, retry_at


# ---- one call to a provider ----------------------------------------------------------------------------------------------


class ProviderError(ConveneError):
    """What one call came to. `provider` is the slug, `detail` is for the log (no secrets), `status` the HTTP status."""

    code = "PROVIDER_ERROR"

    def __init__(self, provider: str, detail: str, *, status: int | None = None, body: Any = None) -> None:
        super().__init__(f"{provider}: {detail}")
        self.provider, self.detail, self.status, self.body = provider, detail, status, body


class NotSent(ProviderError):
    """Nothing reached the provider: no connection, or our own refusal to send."""

    code = "PROVIDER_NOT_SENT"
    retryable = True


class RateLimited(NotSent):
    """The provider's budget is spent until `retry_at`. A 429 did no work, so it counts as not sent."""

    code = "RATE_LIMITED"

    def __init__(self, provider: str, retry_at: datetime) -> None:
        super().__init__(provider, f"rate limited until {retry_at:%H:%M:%S}Z", status=429)
        self.retry_at = retry_at


class BreakerOpen(NotSent):
    """The provider failed repeatedly a moment ago; nothing is sent until it has had a pause."""

    code = "PROVIDER_UNAVAILABLE"


class OutcomeUnknown(ProviderError):
    """Sent, and no whole answer came back, or a 5xx: it may or may not have been done."""

    code = "PROVIDER_OUTCOME_UNKNOWN"
    retryable = True


class BadAnswer(OutcomeUnknown):
    """A 2xx whose body cannot be read; for a write its outcome is as unknown as a lost answer's."""

    code = "PROVIDER_BAD_ANSWER"


class Refused(ProviderError):
    """The provider said no, and did nothing."""

    code = "PROVIDER_REFUSED"


class TokenRefused(Refused):
    """401, or 498 at Cal.com: this token is not good (any more)."""

    code = "TOKEN_REFUSED"


class InsufficientScope(Refused):
    """403 for want of a scope; `scopes` names what was required where the provider says."""

    code = "INSUFFICIENT_SCOPE"

    def __init__(self, provider: str, scopes: list[str]) -> None:
        super().__init__(provider, "insufficient scope", status=403)
        self.scopes = scopes


class Unbookable(Refused):
    """The API has no way to book this. `message` says why, fit for the user."""

    code = "UNBOOKABLE"

    def __init__(self, provider: str, message: str) -> None:
        super().__init__(provider, message)
        self.message = message


class PlanRequired(Refused):
    """The account's plan or role at the provider does not allow this at all; its person can change that."""

    code = "PLAN_REQUIRED"


class InvalidGrant(Refused):
    """The refresh token or authorization code is spent, revoked, expired or unknown."""

    code = "INVALID_GRANT"


class InvalidClient(Refused):
    """Our own client credentials are wrong; no account is to blame."""

    code = "INVALID_CLIENT"
