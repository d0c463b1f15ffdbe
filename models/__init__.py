"""Peewee models, one file per aggregate. They hold data and say what is unique; services decide."""

from models.availability import AvailabilityCache
from models.base import db
from models.booking import Booking, BookingChange, BookingExternalId, Operation, Participant
from models.event_type import EventType
from models.job import JobClaim, ProviderHealth, RateBucket
from models.linked_account import AtomsSession, HandedOutToken, LinkedAccount, OAuthState, TokenRotation
from models.notification import Notification
from models.person import Person, PersonIdentity, User
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
    EventType,
    Booking,
    BookingExternalId,
    Participant,
    Operation,
    BookingChange,
    AvailabilityCache,
    WebhookSubscription,
    WebhookEvent,
    Notification,
    JobClaim,
    RateBucket,
    ProviderHealth,
)

__all__ = [
    "ALL",
    "AtomsSession",
    "AvailabilityCache",
    "Booking",
    "BookingChange",
    "BookingExternalId",
    "EventType",
    "HandedOutToken",
    "JobClaim",
    "LinkedAccount",
    "Notification",
    "OAuthState",
    "Operation",
    "Participant",
    "Person",
    "PersonIdentity",
    "ProviderHealth",
    "RateBucket",
    "TokenRotation",
    "User",
    "WebhookEvent",
    "WebhookSubscription",
    "db",
]
