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
  connectionStatus(provider: CAL_COM) {
    state sandbox message
    problem { code message retryAt }
    linkedAccount { id account { name email } sync { lastSyncedAt webhooks bookings } }
  }
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
        id version title status start end viewerRole
        participants { role name email isViewer }
        eventType { title durationMinutes }
        rescheduling { mode blockedBy }
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
