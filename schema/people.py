"""Users and hosts."""

from enum import Enum

import strawberry

from schema.context import Info
from schema.scalars import TimeZone
from services import notifications, preferences


@strawberry.type(description="A person who offers or takes part in meetings. `id` is the person's id; a merged one still resolves.")
class Host:
    id: strawberry.ID = strawberry.field(description="The person's id.")
    name: str = strawberry.field(description="Their name.")


@strawberry.enum(description="How somebody is told.")
class NotificationChannel(Enum):
    EMAIL = strawberry.enum_value("EMAIL", description="By e-mail, where this installation sends any.")
    IN_APP = strawberry.enum_value("IN_APP", description="In `notifications`.")


@strawberry.type(description="How the viewer wants to be told.")
class Preferences:
    time_zone: TimeZone | None = strawberry.field(description="The zone they chose, which goes before the sign-in's; null: the sign-in's.")
    channels: list[NotificationChannel] = strawberry.field(description="By which they are told.")
    reminder_minutes: list[int] = strawberry.field(description="How many minutes before a meeting they are reminded, the longest first.")

    @classmethod
    def of(cls, found: preferences.Preferences) -> "Preferences":
        return cls(
            time_zone=TimeZone(found.time_zone) if found.time_zone else None,
            channels=[NotificationChannel(channel) for channel in found.channels],
            reminder_minutes=list(found.reminders),
        )


@strawberry.type(description="Who is signed in.")
class User:
    id: strawberry.ID = strawberry.field(description="The user's id.")
    name: str = strawberry.field(description='From the identity provider, else of the linked account, else "Unnamed".')
    email: str | None = strawberry.field(description="The verified e-mail address.")
    time_zone: TimeZone = strawberry.field(description="As chosen, else from the identity provider, else of the linked account, else UTC.")
    is_admin: bool = strawberry.field(description="Whether the identity provider says so.")

    @strawberry.field(description="Notifications not read yet.")
    def unread_notifications(self, info: Info) -> int:
        return notifications.unread_count(info.context.viewer)

    @strawberry.field(description="How they want to be told.")
    def preferences(self, info: Info) -> Preferences:
        return Preferences.of(preferences.of(info.context.viewer))


def viewer(info: Info) -> User:
    v = info.context.viewer
    return User(id=strawberry.ID(v.user_id), name=v.name, email=v.email, time_zone=TimeZone(v.time_zone), is_admin=v.is_admin)
