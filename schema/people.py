"""Users and hosts."""

import strawberry

from schema.context import Info
from schema.scalars import TimeZone
from services import notifications


@strawberry.type(description="A person who offers or takes part in meetings. `id` is the person's id; a merged one still resolves.")
class Host:
    id: strawberry.ID = strawberry.field(description="The person's id.")
    name: str = strawberry.field(description="Their name.")


@strawberry.type(description="Who is signed in.")
class User:
    id: strawberry.ID = strawberry.field(description="The user's id.")
    name: str = strawberry.field(description='From the identity provider, else of the linked account, else "Unnamed".')
    email: str | None = strawberry.field(description="The verified e-mail address.")
    time_zone: TimeZone = strawberry.field(description="From the identity provider, else of the linked account, else UTC.")
    is_admin: bool = strawberry.field(description="Whether the identity provider says so.")

    @strawberry.field(description="Notifications not read yet.")
    def unread_notifications(self, info: Info) -> int:
        return notifications.unread_count(info.context.viewer)


def viewer(info: Info) -> User:
    v = info.context.viewer
    return User(id=strawberry.ID(v.user_id), name=v.name, email=v.email, time_zone=TimeZone(v.time_zone), is_admin=v.is_admin)
