"""A coach's rules for moving and cancelling."""

from typing import Annotated

import strawberry

from schema.context import Given, Info, given
from schema.problems import InvalidInput, NotFound, answered
from services import policies

NAMES = {
    "move_notice_minutes": "move_notice_minutes",
    "cancel_notice_minutes": "cancel_notice_minutes",
    "max_moves": "most_moves",
    "mentee_may_move": "mentee_may_move",
    "mentee_may_cancel": "mentee_may_cancel",
    "reason_required": "reason_required",
}


@strawberry.type(description="What a coach lets mentees do with their bookings through Convene. The coach is free.")
class Policy:
    move_notice_minutes: int = strawberry.field(description="How long before its start a booking can last be moved; 0: any time.")
    cancel_notice_minutes: int = strawberry.field(description="How long before its start a booking can last be cancelled; 0: any time.")
    max_moves: int | None = strawberry.field(description="How often a booking may be moved; null: no limit.")
    mentee_may_move: bool = strawberry.field(description="Whether mentees may move their bookings themselves.")
    mentee_may_cancel: bool = strawberry.field(description="Whether mentees may cancel their bookings themselves.")
    reason_required: bool = strawberry.field(description="Whether moving or cancelling needs a reason.")

    @classmethod
    def of(cls, rules: policies.Rules) -> "Policy":
        return cls(**{name: getattr(rules, column) for name, column in NAMES.items()})


RESET = "null: no rule of its own."


@strawberry.input(description="Rules of the viewer's; what is left out stays as it is, null takes a rule back.")
class UpdatePolicyInput:
    event_type_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="For this event type of the viewer's; default: for all that have no rule of their own."
    )
    move_notice_minutes: int | None = strawberry.field(default=strawberry.UNSET, description=f"0 to 129600. {RESET}")
    cancel_notice_minutes: int | None = strawberry.field(default=strawberry.UNSET, description=f"0 to 129600. {RESET}")
    max_moves: int | None = strawberry.field(default=strawberry.UNSET, description=f"0 to 100. {RESET}")
    mentee_may_move: bool | None = strawberry.field(default=strawberry.UNSET, description=RESET)
    mentee_may_cancel: bool | None = strawberry.field(default=strawberry.UNSET, description=RESET)
    reason_required: bool | None = strawberry.field(default=strawberry.UNSET, description=RESET)


@strawberry.type(description="The rules that hold now.")
class PolicyUpdated:
    policy: Policy = strawberry.field(description="For the event type, or in general.")


UpdatePolicyResult = Annotated[
    PolicyUpdated | NotFound | InvalidInput,
    strawberry.union("UpdatePolicyResult", description="What updatePolicy answers."),
]


@answered
def update(info: Info, input: Given[UpdatePolicyInput]) -> UpdatePolicyResult:  # noqa: A002 - the contract's name
    change = {column: getattr(input, name) for name, column in NAMES.items() if getattr(input, name) is not strawberry.UNSET}
    event_type_id = given(input.event_type_id)
    return PolicyUpdated(policy=Policy.of(policies.update(info.context.rt, info.context.viewer, event_type_id, change)))


def mine(
    info: Info,
    event_type_id: Annotated[strawberry.ID | None, strawberry.argument(description="Of this event type; default: in general.")] = None,
) -> Policy:
    return Policy.of(policies.of_host(info.context.viewer.person_id, event_type_id))
