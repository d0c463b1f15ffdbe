"""Peewee models, one file per aggregate. They hold data and say what is unique; services decide."""

from models.audit import AuditChain, AuditEntry
from models.availability import AvailabilityCache
from models.base import db
from models.booking import Booking, BookingChange, BookingExternalId, Hold, Operation, Participant
from models.drift import Drift
from models.event_type import EventType
from models.job import JobClaim, ProviderHealth, RateBucket
from models.linked_account import (
    AtomsSession,
    HandedOutToken,
    InstallationToken,
    LinkedAccount,
    OAuthState,
    PendingRevocation,
    TokenRotation,
)
from models.live import LiveChange, LiveTicket
from models.meeting import Meeting, Recording
from models.notification import Delivery, Notification
from models.person import Person, PersonIdentity, User
from models.policy import Policy
from models.schedule import Schedule
from models.sealed import SealingKey
from models.webhook import WebhookEvent, WebhookSubscription

# In the order of their foreign keys: parents first.
ALL = (
    Person,
    PersonIdentity,
    User,
    LinkedAccount,
    OAuthState,
    TokenRotation,
    AtomsSession,
    HandedOutToken,
    InstallationToken,
    PendingRevocation,
    EventType,
    Schedule,
    Meeting,
    Recording,
    Booking,
    BookingExternalId,
    Participant,
    Operation,
    Hold,
    BookingChange,
    AvailabilityCache,
    WebhookSubscription,
    WebhookEvent,
    Notification,
    Delivery,
    Drift,
    Policy,
    LiveChange,
    LiveTicket,
    JobClaim,
    RateBucket,
    ProviderHealth,
    SealingKey,
    AuditEntry,
    AuditChain,
)

__all__ = [
    "ALL",
    "AtomsSession",
    "AuditChain",
    "AuditEntry",
    "AvailabilityCache",
    "Booking",
    "BookingChange",
    "BookingExternalId",
    "Delivery",
    "Drift",
    "EventType",
    "HandedOutToken",
    "Hold",
    "InstallationToken",
    "JobClaim",
    "LinkedAccount",
    "LiveChange",
    "LiveTicket",
    "Meeting",
    "Notification",
    "OAuthState",
    "Operation",
    "Participant",
    "PendingRevocation",
    "Person",
    "PersonIdentity",
    "Policy",
    "ProviderHealth",
    "RateBucket",
    "Recording",
    "Schedule",
    "SealingKey",
    "TokenRotation",
    "User",
    "WebhookEvent",
    "WebhookSubscription",
    "db",
]
