"""Scalars and enums that several files share."""

import re
from datetime import UTC, datetime
from enum import Enum, EnumMeta
from typing import Any, NewType

import strawberry

from services.errors import BadUserInput
from services.identity import is_zone
from services.providers.registry import PROVIDERS

MILLISECOND = 1000
"""In microseconds."""


def _serialize(value: datetime) -> str:
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    # a page has hundreds of them: cutting the text is a third of the work of formatting it
    return f"{value.isoformat()[: 19 if value.microsecond < MILLISECOND else 23]}Z"


CLOCK = r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?|\d{8}[Tt]\d{4}(\d\d(\.\d{1,9})?)?)"
NAIVE = re.compile(rf"^{CLOCK}\Z")
SHAPE = re.compile(rf"^{CLOCK}([Zz]|[+-]\d\d(:?\d\d)?)\Z")


def _parse(value: object) -> datetime:
    if not isinstance(value, str):
        raise BadUserInput("A DateTime is a text such as 2027-03-01T09:00:00Z or 2027-03-01T10:00:00+01:00.")
    try:
        if not (SHAPE.match(value) or NAIVE.match(value)):
            raise ValueError(value)  # noqa: TRY301 - Python's parser takes more than ISO 8601 date-times
        at = datetime.fromisoformat(value.upper())
    except ValueError as error:
        raise BadUserInput(f"{value[:40]!r} is no date and time. Write 2027-03-01T09:00:00Z or 2027-03-01T10:00:00+01:00.") from error
    if at.tzinfo is None:
        raise BadUserInput(f"{value[:40]!r} has no offset, so it could mean many moments. Add Z or an offset such as +01:00.")
    try:
        at = at.astimezone(UTC)
    except OverflowError as error:
        raise BadUserInput(f"{value[:40]!r} is out of range.") from error
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


DATE_TIME = strawberry.scalar(
    name="DateTime",
    description="UTC with `Z` on the way out; on the way in any ISO 8601 date-time that carries an offset.",
    serialize=_serialize,
    parse_value=_parse,
)

TimeZone = NewType("TimeZone", str)


def _parse_zone(value: object) -> str:
    if not isinstance(value, str) or not is_zone(value):
        raise BadUserInput(f"{str(value)[:40]!r} is no IANA time zone. Write a name such as Europe/Berlin or UTC.")
    return value


TIME_ZONE = strawberry.scalar(name="TimeZone", description="IANA time zone name.", serialize=str, parse_value=_parse_zone)

SCALARS: dict[object, Any] = {datetime: DATE_TIME, TimeZone: TIME_ZONE}

Provider: Any = strawberry.enum(
    EnumMeta.__call__(Enum, "Provider", {provider.enum_name: slug for slug, provider in PROVIDERS.items()}),
    name="Provider",
    description="A scheduling provider. Generated from the provider registry.",
)


@strawberry.enum(description="How an account is linked.")
class LinkKind(Enum):
    OAUTH = strawberry.enum_value("OAUTH", description="Consent on the provider's own page.")
    MANAGED_USER = strawberry.enum_value(
        "MANAGED_USER", description="An account made with our platform credentials (Cal.com; deprecated there). Linked at once."
    )
    SERVER_TO_SERVER = strawberry.enum_value(
        "SERVER_TO_SERVER",
        description="The user with the caller's verified e-mail in the account for which this installation has credentials of its "
        "own (Zoom). Linked at once.",
    )


@strawberry.enum(description="How usable a connection is.")
class ConnectionState(Enum):
    NOT_CONNECTED = strawberry.enum_value("NOT_CONNECTED", description="Never linked, or unlinked.")
    ACTIVE = strawberry.enum_value("ACTIVE", description="Usable.")
    DEGRADED = strawberry.enum_value(
        "DEGRADED",
        description="Usable soon without the person's doing: provider down, rate limited, our client misconfigured. "
        "Reads answer from cache, writes answer ProviderFailure.",
    )
    NEEDS_RECONNECT = strawberry.enum_value(
        "NEEDS_RECONNECT", description="Only the person can repair it: revoked, rotation lost, scope missing, plan required."
    )


@strawberry.enum(description="What is wrong with a connection.")
class ConnectionProblemCode(Enum):
    REVOKED = "REVOKED"
    ROTATION_LOST = "ROTATION_LOST"
    SCOPE_MISSING = "SCOPE_MISSING"
    PLAN_REQUIRED = "PLAN_REQUIRED"
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    RATE_LIMITED = "RATE_LIMITED"
    CLIENT_MISCONFIGURED = "CLIENT_MISCONFIGURED"


@strawberry.enum(description="How the provider's news reach us.")
class WebhookHealth(Enum):
    RECEIVING = "RECEIVING"
    RETRYING = "RETRYING"
    DISABLED = "DISABLED"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    UNREACHABLE = "UNREACHABLE"


@strawberry.enum(description="What a booking is now. COMPLETED: confirmed, and its end has passed.")
class BookingStatus(Enum):
    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    DECLINED = "DECLINED"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"


@strawberry.enum(description="Order of bookings, by start.")
class BookingOrder(Enum):
    START_ASC = "START_ASC"
    START_DESC = "START_DESC"


@strawberry.enum(description="What a person is in a booking.")
class ParticipantRole(Enum):
    COACH = "COACH"
    MENTEE = "MENTEE"
    GUEST = "GUEST"
