"""Changing how the viewer wants to be told."""

from typing import Annotated, Any

import strawberry

from schema.context import Given, Info
from schema.people import NotificationChannel, Preferences
from schema.problems import InvalidInput, answered
from schema.scalars import TimeZone
from services import preferences


@strawberry.input(description="What is to change; what is left out stays as it is.")
class UpdatePreferencesInput:
    time_zone: TimeZone | None = strawberry.field(default=strawberry.UNSET, description="Null: back to the sign-in's.")
    channels: list[NotificationChannel] | None = strawberry.field(default=strawberry.UNSET, description="Null: all of them. Empty: none.")
    reminder_minutes: list[int] | None = strawberry.field(
        default=strawberry.UNSET, description="Up to five different numbers from 5 to 20160. Null or empty: no reminders."
    )

    @property
    def changed(self) -> dict[str, Any]:
        channels = [channel.value for channel in self.channels] if self.channels else self.channels
        values = {"time_zone": self.time_zone, "channels": channels, "reminders": self.reminder_minutes}
        return {name: value for name, value in values.items() if value is not strawberry.UNSET}


@strawberry.type(description="They are as asked.")
class PreferencesUpdated:
    preferences: Preferences = strawberry.field(description="All of them, as they are now.")


UpdatePreferencesResult = Annotated[
    PreferencesUpdated | InvalidInput,
    strawberry.union("UpdatePreferencesResult", description="What updatePreferences answers."),
]


@answered
def update(info: Info, input: Given[UpdatePreferencesInput]) -> UpdatePreferencesResult:  # noqa: A002
    return PreferencesUpdated(preferences=Preferences.of(preferences.update(info.context.viewer, **input.changed)))
