"""Why a slot can or cannot be had."""

from datetime import datetime
from typing import Annotated

import strawberry

from schema.availability import AvailabilityTarget
from schema.context import Given, Info, given
from schema.people import Host
from schema.problems import ConnectionUnusable, InvalidInput, NotFound, ProviderFailure, TooManyRequests, answered
from schema.scalars import ParticipantRole
from schema.slots import Slot, SlotReason
from services import slot_reasons


@strawberry.input(description="Which slot is to be explained.")
class ExplainSlotInput:
    target: AvailabilityTarget = strawberry.field(description="Of what.")
    start: datetime = strawberry.field(description="When it would begin.")
    duration_minutes: int | None = strawberry.field(
        default=strawberry.UNSET, description="One of the event type's lengths; default: its own."
    )


@strawberry.type(description="One reason why a slot cannot be had.")
class SlotExplanationReason:
    reason: SlotReason = strawberry.field(description="Stable, for programs.")
    message: str = strawberry.field(description="One sentence, for people.")
    participant: Host | None = strawberry.field(description="Whose side; null where it is nobody's in particular.")
    role: ParticipantRole | None = strawberry.field(description="What they are.")


@strawberry.type(description="Whether a slot can be had, and if not, every reason in order of precedence.")
class SlotExplanation:
    slot: Slot = strawberry.field(description="The slot.")
    available: bool = strawberry.field(description="Whether it works for all who must be free.")
    reasons: list[SlotExplanationReason] = strawberry.field(
        description="In order of precedence; of the other party only OTHER_PARTY_UNAVAILABLE."
    )


ExplainSlotResult = Annotated[
    SlotExplanation | NotFound | InvalidInput | ConnectionUnusable | TooManyRequests | ProviderFailure,
    strawberry.union("ExplainSlotResult", description="What explainSlot answers."),
]


@answered
def explain(info: Info, input: Given[ExplainSlotInput]) -> ExplainSlotResult:  # noqa: A002 - the contract's name
    found = slot_reasons.explain(
        info.context.rt,
        info.context.viewer,
        booking_id=given(input.target.booking_id),
        event_type_id=given(input.target.event_type_id),
        start=input.start,
        minutes=given(input.duration_minutes),
    )
    return SlotExplanation(
        slot=Slot(start=found.start, end=found.end), available=found.available, reasons=[_shown(one) for one in found.reasons]
    )


def _shown(one: slot_reasons.Reason) -> SlotExplanationReason:
    return SlotExplanationReason(
        reason=SlotReason(one.code),
        message=one.message,
        participant=Host(id=strawberry.ID(one.person_id), name=one.name or "Unnamed") if one.person_id else None,
        role=ParticipantRole(one.role) if one.role else None,
    )
