"""The bookings of the page, the same for everybody: 8 scalars, 2 participants x 3 and an event type x 3 each."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

FIRST = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
QUERY = """query Page($rows: Int!) { bookings(rows: $rows) { id version title status provider start end createdAt
  participants { name email role } eventType { id title durationMinutes } } }"""
SDL = """
scalar DateTime
enum BookingStatus { PENDING CONFIRMED DECLINED CANCELLED COMPLETED }
enum Provider { CAL_COM CALENDLY ZOOM }
enum ParticipantRole { COACH MENTEE GUEST }
type Query { bookings(rows: Int!): [Booking!]! }
type Booking { id: ID! version: Int! title: String! status: BookingStatus! provider: Provider! start: DateTime! end: DateTime!
  createdAt: DateTime! participants: [Participant!]! eventType: EventType }
type Participant { name: String! email: String role: ParticipantRole! }
type EventType { id: ID! title: String! durationMinutes: Int! }
"""


def booking(number: int) -> dict[str, Any]:
    """One booking as the page shows it, with its times as datetimes."""
    start = FIRST + timedelta(minutes=45 * number)
    return {
        "id": f"01KB{number:022d}",
        "version": 1 + number % 3,
        "title": f"Coaching session {number} between Clara Coach and Mentee {number}",
        "status": "CONFIRMED",
        "provider": "CAL_COM",
        "start": start,
        "end": start + timedelta(minutes=30),
        "createdAt": FIRST - timedelta(days=7, minutes=number),
        "participants": [
            {"name": "Clara Coach", "email": "clara.coach@example.test", "role": "COACH"},
            {"name": f"Mentee {number}", "email": f"mentee{number}@example.test", "role": "MENTEE"},
        ],
        "eventType": {"id": f"01KE{number % 5:022d}", "title": f"Session of kind {number % 5}", "durationMinutes": 30},
    }


def request_body(rows: int) -> bytes:
    return json.dumps({"query": QUERY, "variables": {"rows": rows}}).encode()
