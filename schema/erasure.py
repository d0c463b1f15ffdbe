"""Erasing a user, for admins."""

from typing import Annotated

import strawberry

from schema.context import Given, Info, given
from schema.problems import InvalidInput, NotFound, NotPermitted, ProviderFailure, answered
from services import erasure, errors


@strawberry.input(description="Whom to erase, for good.")
class EraseUserInput:
    user_id: strawberry.ID = strawberry.field(description="The user's id.")
    confirm_email: str | None = strawberry.field(
        default=strawberry.UNSET, description="Their e-mail address, where they have one: guards against a mistaken id."
    )


@strawberry.type(description="Nothing is left of the user but an id and what happened under it.")
class UserErased:
    user_id: strawberry.ID = strawberry.field(description="The user's id.")
    already_erased: bool = strawberry.field(description="It had been done before; nothing was done now.")
    bookings: int = strawberry.field(description="In how many bookings they are an erased person now.")


EraseUserResult = Annotated[
    UserErased | NotFound | NotPermitted | InvalidInput | ProviderFailure,
    strawberry.union("EraseUserResult", description="What eraseUser answers."),
]


@answered
def erase(info: Info, input: Given[EraseUserInput]) -> EraseUserResult:  # noqa: A002 - as everywhere
    context = info.context
    if not context.viewer.is_admin:
        raise errors.NotPermitted("Only admins erase users.")
    done = erasure.erase(context.rt, context.viewer, str(input.user_id), given(input.confirm_email))
    return UserErased(user_id=strawberry.ID(done.user_id), already_erased=done.already, bookings=done.bookings)
