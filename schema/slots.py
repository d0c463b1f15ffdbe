"""Slots, and the reasons why one cannot be had; used by availability and by moves."""

from datetime import datetime
from enum import Enum

import strawberry


@strawberry.enum(description="Why a slot cannot be had.")
class SlotReason(Enum):
    PAST = "PAST"
    OFF_GRID = "OFF_GRID"
    NOTICE = "NOTICE"
    OUTSIDE_HOURS = "OUTSIDE_HOURS"
    BUSY = "BUSY"
    BUFFER = "BUFFER"
    BOOKED = "BOOKED"
    HELD = "HELD"
    LIMIT = "LIMIT"
    OTHER_PARTY_UNAVAILABLE = "OTHER_PARTY_UNAVAILABLE"
    SOURCE_UNAVAILABLE = "SOURCE_UNAVAILABLE"


@strawberry.type(description="A span that is free.")
class Slot:
    start: datetime = strawberry.field(description="When it begins.")
    end: datetime = strawberry.field(description="When it ends.")
