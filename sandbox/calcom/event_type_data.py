"""What an event type holds: what may be sent, and the defaults of all the rest."""

import copy
from typing import Any

from sandbox.calcom import checks
from sandbox.calcom.checks import Field, Reasons
from sandbox.calcom.state import Json

LOCATION_TYPES = {
    "address": "address",
    "link": "link",
    "integration": "integration",
    "phone": "phone",
    "attendeeAddress": None,
    "attendeePhone": None,
    "attendeeDefined": None,
    "organizersDefaultApp": None,
}
OFF = {"disabled": True}


def _default_field(kind: str, slug: str, *, required: bool, hidden: bool | None = False, **more: Any) -> Json:
    field: Json = {"isDefault": True, "type": kind, "slug": slug, "required": required, **more}
    return field if hidden is None else field | {"hidden": hidden}


DEFAULT_FIELDS = [
    _default_field("name", "name", required=True, hidden=None, label="your_name", disableOnPrefill=False),
    _default_field("email", "email", required=True, disableOnPrefill=False),
    _default_field("radioInput", "location", required=False),
    _default_field("text", "title", required=True, hidden=True, disableOnPrefill=False),
    _default_field("textarea", "notes", required=False, disableOnPrefill=False),
    _default_field("multiemail", "guests", required=False, disableOnPrefill=False),
    _default_field("textarea", "rescheduleReason", required=False, disableOnPrefill=False),
]
DEFAULTS: Json = {
    "lengthInMinutes": 30,
    "title": "",
    "slug": "",
    "description": "",
    "locations": [],
    "bookingFields": DEFAULT_FIELDS,
    "recurrence": None,
    "disableGuests": False,
    "slotInterval": None,
    "minimumBookingNotice": 120,
    "beforeEventBuffer": 0,
    "afterEventBuffer": 0,
    "metadata": {},
    "price": 0,
    "currency": "usd",
    "lockTimeZoneToggleOnBookingPage": False,
    "forwardParamsSuccessRedirect": True,
    "successRedirectUrl": None,
    "isInstantEvent": False,
    "scheduleId": None,
    "onlyShowFirstAvailableSlot": False,
    "offsetStart": 0,
    "bookingWindow": OFF,
    "confirmationPolicy": OFF,
    "requiresBookerEmailVerification": False,
    "hideCalendarNotes": False,
    "seats": OFF,
    "useDestinationCalendarEmail": False,
    "hideCalendarEventDetails": False,
    "hideOrganizerEmail": False,
    "calVideoSettings": {"sendTranscriptionEmails": True},
    "hidden": False,
    "bookingRequiresAuthentication": False,
    "bookerActiveBookingsLimit": OFF,
    "disableCancelling": {"disabled": False},
    "disableRescheduling": {"disabled": False},
    "interfaceLanguage": None,
    "allowReschedulingPastBookings": False,
    "allowReschedulingCancelledBookings": False,
    "showOptimizedSlots": False,
}


def _locations(name: str, value: Any) -> Reasons:
    fine = isinstance(value, list) and all(
        isinstance(one, dict)
        and str(one.get("type")) in LOCATION_TYPES
        and (LOCATION_TYPES[one["type"]] is None or isinstance(one.get(LOCATION_TYPES[one["type"]]), str))
        for one in value
    )
    return {} if fine else {"customValidation": f"Validation failed for {name}: unknown or incomplete location"}


def _policy(name: str, value: Any) -> Reasons:
    fine = isinstance(value, dict) and (
        value.get("disabled") is True
        or value.get("type") == "always"
        or (value.get("type") == "time" and _is_threshold(value.get("noticeThreshold")))
    )
    return {} if fine else {"validation": f"{name} must be {{type: always}}, {{type: time, noticeThreshold}} or {{disabled: true}}"}


def _is_threshold(value: Any) -> bool:
    return isinstance(value, dict) and value.get("unit") in {"minutes", "hours"} and not checks.at_least(0)("", value.get("count"))


def _window(name: str, value: Any) -> Reasons:
    """Off, so many days from now, or a range of dates."""
    if isinstance(value, dict) and not value.get("disabled"):
        size = value.get("value")
        dates = isinstance(size, list) and len(size) == 2 and not any(checks.edge("", one) for one in size)
        fine = dates if value.get("type") == "range" else not checks.at_least(0, 10_000)("", size)
    else:
        fine = isinstance(value, dict)
    return {} if fine else {"customValidation": f"Validation failed for {name}"}


def _rule_of_moving(name: str, value: Any) -> Reasons:
    fine = isinstance(value, dict) and not checks.at_least(0)("", value.get("minutesBefore") or 0)
    return {} if fine else {"isObject": f"{name} must be an object"}


def _lengths(name: str, value: Any) -> Reasons:
    fine = isinstance(value, list) and all(not checks.at_least(1)("", one) for one in value)
    return {} if fine else {"isInt": f"each value in {name} must be an integer number"}


def _booking_fields(name: str, value: Any) -> Reasons:
    fine = isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("type"), str) and isinstance(one.get("slug"), str) for one in value
    )
    return {} if fine else {"customValidation": f"Validation failed for {name}"}


CHANGES: dict[str, Field] = {
    "lengthInMinutes": Field(checks.at_least(1)),
    "lengthInMinutesOptions": Field(_lengths),
    "title": Field(checks.text),
    "slug": Field(checks.text),
    "description": Field(checks.text),
    "locations": Field(_locations),
    "bookingFields": Field(_booking_fields),
    "disableGuests": Field(checks.boolean),
    "slotInterval": Field(checks.at_least(1)),
    "minimumBookingNotice": Field(checks.at_least(0)),
    "beforeEventBuffer": Field(checks.at_least(0)),
    "afterEventBuffer": Field(checks.at_least(0)),
    "scheduleId": Field(checks.at_least(1)),
    "offsetStart": Field(checks.at_least(0)),
    "confirmationPolicy": Field(_policy),
    "hidden": Field(checks.boolean),
    "bookingWindow": Field(_window),
    "disableRescheduling": Field(_rule_of_moving),
    "onlyShowFirstAvailableSlot": Field(checks.boolean),
    "lockTimeZoneToggleOnBookingPage": Field(checks.boolean),
    "requiresBookerEmailVerification": Field(checks.boolean),
    "allowReschedulingPastBookings": Field(checks.boolean),
    "allowReschedulingCancelledBookings": Field(checks.boolean),
    "successRedirectUrl": Field(checks.url),
    **{
        name: Field(checks.obj)
        for name in (
            "recurrence",
            "seats",
            "color",
            "disableCancelling",
            "calVideoSettings",
        )
    },
    **{name: Field(checks.obj) for name in ("bookingLimitsCount", "bookingLimitsDuration", "bookerActiveBookingsLimit", "metadata")},
    **{name: Field(checks.boolean) for name in ("hideCalendarNotes", "hideCalendarEventDetails", "hideOrganizerEmail")},
    **{name: Field(checks.text) for name in ("customName", "interfaceLanguage")},
}
CREATION = CHANGES | {
    "lengthInMinutes": Field(checks.at_least(1), required=True),
    "title": Field(checks.text, required=True),
    "slug": Field(checks.text, required=True),
}


def filled(given: Json) -> Json:
    return merged(copy.deepcopy(DEFAULTS), given)


def merged(data: Json, given: Json) -> Json:
    """Own booking fields come after the default ones; a null resets to the default."""
    given = {name: DEFAULTS.get(name) if value is None else value for name, value in given.items()}
    if "bookingFields" in given:
        own = [{"isDefault": False, **field} for field in given["bookingFields"] if field.get("slug") not in _DEFAULT_SLUGS]
        given["bookingFields"] = [*copy.deepcopy(DEFAULT_FIELDS), *own]
    if "locations" in given:
        given["locations"] = [one | ({"public": True} if one["type"] == "link" else {}) for one in given["locations"]]
    return data | given


_DEFAULT_SLUGS = {field["slug"] for field in DEFAULT_FIELDS}
