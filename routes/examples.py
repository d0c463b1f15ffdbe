"""The operations with which GraphiQL opens; a test runs each of them against the demo people."""

from datetime import datetime, timedelta
from typing import Any


def examples(now: datetime) -> list[dict[str, Any]]:
    """Each with its name, text and variables; the times lie in the week that begins next Monday."""
    monday = (now + timedelta(days=7 - now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)

    def moment(days: int, hour: int = 0) -> str:
        return f"{monday + timedelta(days=days, hours=hour):%Y-%m-%dT%H:%M:%SZ}"

    return [
        {
            "name": "Me",
            "query": """query Me {
  viewer { id name email timeZone unreadNotifications }
  linkedAccounts {
    provider kind state
    problem { code message retryAt }
    account { name email }
    sync { lastSyncedAt webhooks bookings }
  }
  calendly: connectionStatus(provider: CALENDLY) { state sandbox message }
  zoom: connectionStatus(provider: ZOOM) { state message }
}
""",
            "variables": None,
        },
        {
            "name": "Bookings",
            "query": """query Bookings {
  bookings(first: 10, filter: { status: [CONFIRMED, PENDING] }) {
    edges {
      cursor
      node {
        id version provider title status start end viewerRole meetingUrl
        participants { role name email isViewer }
        eventType { title durationMinutes }
        rescheduling { mode blockedBy providerPageUrl }
        recordings { kind url }
        history { edges { node { kind at by previousStart newStart } } }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
""",
            "variables": None,
        },
        {
            "name": "WhereCanItMove",
            "query": """# Put the id of a booking (see Bookings) and a window into the variables.
query WhereCanItMove($booking: ID!, $window: TimeWindowInput!) {
  availability(input: { target: { bookingId: $booking }, window: $window }) {
    ... on Availability {
      durationMinutes timeZone computedAt
      days { date starts }
      sources { participant { name } role state asOf }
      warnings { code message }
    }
    ... on Problem { code message }
  }
}
""",
            "variables": {"booking": "", "window": {"start": moment(0), "end": moment(5)}},
        },
        {
            "name": "Move",
            "query": """# A new idempotencyKey per intention; the same one again gives the same outcome.
mutation Move($input: RescheduleBookingInput!) {
  rescheduleBooking(input: $input) {
    __typename
    ... on BookingRescheduled {
      previousStart
      booking { id version start end status }
      notificationsQueuedFor { name role }
      warnings { code message }
    }
    ... on RescheduleAwaitingConfirmation { booking { id start status } }
    ... on RescheduleInProgress { operation { id state } }
    ... on RescheduleOnProviderPage { url message }
    ... on SlotUnavailable { canAccept alternatives { start end } }
    ... on Problem { code message }
  }
}
""",
            "variables": {"input": {"bookingId": "", "newStart": moment(1, 10), "idempotencyKey": "my-first-move"}},
        },
        {
            "name": "WhyNot",
            "query": """# Why a time can or cannot be had. Put the id of a booking (see Bookings) into the variables.
query WhyNot($input: ExplainSlotInput!) {
  explainSlot(input: $input) {
    __typename
    ... on SlotExplanation { available reasons { reason message role participant { name } } }
    ... on Problem { code message }
  }
}
""",
            "variables": {"input": {"target": {"bookingId": ""}, "start": moment(1, 3)}},
        },
        {
            "name": "Book",
            "query": """# Put the id of an event type into the variables. As its host also name who attends, as attendee.
mutation Book($input: CreateBookingInput!) {
  createBooking(input: $input) {
    __typename
    ... on BookingCreated { booking { id start status } warnings { code message } }
    ... on BookingAwaitingConfirmation { booking { id start status } }
    ... on SlotUnavailable { canAccept alternatives { start end } conflicts { role reason } }
    ... on InvalidInput { fields { path message } }
    ... on QuotaExhausted { resetAt }
    ... on Problem { code message }
  }
}
""",
            "variables": {"input": {"eventTypeId": "", "start": moment(1, 10), "idempotencyKey": "book-1"}},
        },
        {
            "name": "Confirm",
            "query": """# A coach's answer to a booking that is PENDING; declineBooking takes the same.
mutation Confirm($input: DecideBookingInput!) {
  confirmBooking(input: $input) {
    __typename
    ... on BookingDecided { booking { id status } }
    ... on Problem { code message }
  }
}
""",
            "variables": {"input": {"bookingId": "", "idempotencyKey": "confirm-1"}},
        },
        {
            "name": "MyRules",
            "query": """# What mentees may do with my bookings. Null takes a rule back.
mutation MyRules($input: UpdatePolicyInput!) {
  updatePolicy(input: $input) {
    ... on PolicyUpdated {
      policy { moveNoticeMinutes cancelNoticeMinutes maxMoves menteeMayMove menteeMayCancel reasonRequired }
    }
    ... on Problem { code message }
  }
}
""",
            "variables": {"input": {"moveNoticeMinutes": 120, "maxMoves": 3}},
        },
        {
            "name": "Notifications",
            "query": """query Notifications {
  notifications(first: 10) {
    unreadCount
    edges { node { kind title body createdAt readAt booking { id start } } }
  }
}
""",
            "variables": None,
        },
        {
            "name": "DefaultEventTypes",
            "query": """mutation DefaultEventTypes {
  createDefaultEventTypes(input: { provider: CAL_COM }) {
    ... on DefaultEventTypes {
      totalCreated
      createdEventTypes { id title durationMinutes }
      existingEventTypes { id title durationMinutes }
    }
    ... on Problem { code message }
  }
}
""",
            "variables": None,
        },
        {
            "name": "ConnectCalendly",
            "query": """# 1. Open `authorizationUrl` in a browser and approve. 2. Run Complete with the `state`.
mutation ConnectCalendly {
  connectProvider(input: { provider: CALENDLY }) {
    ... on AuthorizationRedirect { authorizationUrl state expiresAt }
    ... on Problem { code message }
  }
}

mutation Complete($state: String!) {
  completeConnection(input: { state: $state }) {
    ... on ProviderLinked { status { state message } }
    ... on Problem { code message }
  }
}
""",
            "variables": {"state": ""},
        },
        {
            "name": "ConnectZoom",
            "query": """# The Zoom user with your verified address in this installation's account. Linked at once.
mutation ConnectZoom {
  connectProvider(input: { provider: ZOOM, kind: SERVER_TO_SERVER }) {
    ... on ProviderLinked { status { state message linkedAccount { account { name email } } } }
    ... on Problem { code message }
  }
}
""",
            "variables": None,
        },
        {
            "name": "EventTypesAndHours",
            "query": """query EventTypesAndHours {
  eventTypes(first: 20) {
    edges { node {
      id provider title durationMinutes durationOptions active hidden group requiresConfirmation
      createsZoomMeeting recordsMeeting schedulingUrl
    } }
  }
  schedules {
    id provider name timeZone isDefault editable providerPageUrl
    weekly { day hours { start end } }
    overrides { date hours { start end } }
  }
}
""",
            "variables": None,
        },
        {
            "name": "ChangeEventType",
            "query": """# Put the id of an event type (see EventTypesAndHours) into the variables. Link Zoom first (see ConnectZoom).
mutation ChangeEventType($input: UpdateEventTypeInput!) {
  updateEventType(input: $input) {
    __typename
    ... on EventTypeUpdated { eventType { id title createsZoomMeeting recordsMeeting } }
    ... on NotSupported { unsupported }
    ... on Problem { code message }
  }
}
""",
            "variables": {"input": {"eventTypeId": "", "createsZoomMeeting": True, "recordsMeeting": True}},
        },
        {
            "name": "Attention",
            "query": """# For admins only. resolveAttention(input: {id, action}) does one of its actions.
query Attention {
  attention(first: 10) {
    edges { node { id kind since title detail advice actions provider booking { id start } } }
  }
}
""",
            "variables": None,
        },
        {
            "name": "Inbox",
            "query": """# For admins only.
query Inbox {
  webhookEvents(first: 10) {
    edges { node { kind state receivedAt appliedAt attempts lastError bookingId } }
  }
}
""",
            "variables": None,
        },
    ]
