"""Sends what is in the outbox: claimed by one statement, each with a stable Message-ID, so that what went out twice is shown once.

A try ends sent, not accepted (tried again with a growing pause), refused for good (dead at once), or with its answer lost:
then it is sent again too, since a reader of mail knows the message by its id, and one that is missing helps nobody.
"""

from datetime import timedelta
from email.utils import parseaddr

from models import Booking, Delivery, Notification
from models.base import db, is_away, release_connection
from services import claims, letters, mailer, notifications, recipients
from services.letters import Unaddressable
from services.logging import get_logger
from services.mailer import MailError, Refused, Server
from services.recipients import EMAIL, Recipient
from services.runtime import Runtime

log = get_logger("deliveries")

BATCH = 10
LEASE = timedelta(seconds=90)
"""Longer than the hard limit of a try with all its addresses."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
MAX_ATTEMPTS = 29
"""With these pauses a message is given up after 23 hours."""
KEPT_FOR = timedelta(days=28)
WAITING = ("PENDING", "RETRYING")
QUEUE = claims.Queue(Delivery, lambda row: row.state.in_(WAITING))


def send_due(rt: Runtime) -> int:
    """Claim a batch of what is due and send it; answers how many were claimed. Without a mail server everything waits."""
    if not rt.settings.smtp_url:
        return 0
    batch = QUEUE.claim(rt, limit=BATCH)
    rt.step("delivery.claimed")
    claims.work_off(rt, Delivery, batch, lambda delivery: _one(rt, delivery), lease=LEASE)
    return len(batch)


def send_again(rt: Runtime, delivery_id: str) -> bool:
    """Make a DEAD message due again, with all its tries; False when it is none. Its Message-ID stays."""
    again = {"state": "PENDING", "attempts": 0, "due_at": rt.clock.now(), "attended_at": None}
    revived = Delivery.update(**again).where((Delivery.id == delivery_id) & (Delivery.state == "DEAD")).execute()
    db.after_commit(lambda: rt.wake("mail"))
    return bool(revived)


def clean_up(rt: Runtime) -> int:
    """Drop messages that came to an end four weeks ago."""
    old = Delivery.state.not_in(WAITING) & (Delivery.updated_at < rt.clock.now() - KEPT_FOR)
    return int(Delivery.delete().where(old).execute())


def _one(rt: Runtime, delivery: Delivery) -> None:
    if delivery.attempts > MAX_ATTEMPTS:
        # counted at the claim: also one that takes its process down with it comes to an end
        _end(rt, delivery, "DEAD", last_error=delivery.last_error or "gave up: it never came to an end")
        return
    try:
        _send(rt, delivery)
    except (Unaddressable, Refused) as error:
        log.warning("mail refused for good", delivery=delivery.id, reason=str(error))
        _end(rt, delivery, "DEAD", last_error=str(error) or "the address is none")
    except MailError as error:
        _later(rt, delivery, str(error))
    except Exception as error:
        if is_away(error):
            raise
        log.exception("mail could not be sent", delivery=delivery.id)
        rt.metrics.errors.labels("deliveries").inc()
        _later(rt, delivery, type(error).__name__)


def _send(rt: Runtime, delivery: Delivery) -> None:
    notification = Notification.get_by_id(delivery.notification_id)
    to = _recipient(delivery, notification)
    if _pointless(rt, notification, to):
        _end(rt, delivery, "DROPPED", last_error=None)
        return
    message = letters.compose(rt, delivery, notification, to)
    release_connection()
    _, sender = parseaddr(rt.settings.mail_from)
    mailer.send(Server.of(rt.settings.smtp_url), sender, delivery.address, message)
    rt.step("delivery.sent")
    _end(rt, delivery, "SENT", last_error=None, sent_at=rt.clock.now())
    rt.step("delivery.ended")


def _recipient(delivery: Delivery, notification: Notification) -> Recipient:
    """As they are now but for the address: that is the one for which it was queued."""
    person_id, booking_id = notification.person_id, notification.booking_id
    found = recipients.in_booking(booking_id, person_id) if booking_id else None
    return recipients.at_address(found or recipients.of_person(person_id), delivery.address)


def _pointless(rt: Runtime, notification: Notification, to: Recipient) -> bool:
    """Whether it is no longer wanted, or no longer true."""
    if EMAIL not in to.channels:
        return True
    if notification.kind == "RECONNECT_NEEDED":
        return not notifications.still_broken(notification)
    if notification.kind == "REMINDER":
        booking: Booking = notification.booking
        return booking.status != "CONFIRMED" or booking.start != notification.new_start or booking.start <= rt.clock.now()
    return False


def _end(rt: Runtime, delivery: Delivery, state: str, **values: object) -> None:
    """Guarded by the claim: whoever lost the lease leaves the row to its new holder."""
    ended = Delivery.update(state=state, lease_owner=None, lease_until=None, **values).where(claims.held(Delivery, delivery)).execute()
    if ended:
        rt.metrics.deliveries.labels(state.lower()).inc()


def _later(rt: Runtime, delivery: Delivery, reason: str) -> None:
    if delivery.attempts >= MAX_ATTEMPTS:
        log.error("mail given up", delivery=delivery.id, reason=reason)
        _end(rt, delivery, "DEAD", last_error=reason)
        return
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(delivery.attempts - 1, 10))
    log.warning("mail not sent yet", delivery=delivery.id, reason=reason)
    _end(rt, delivery, "RETRYING", last_error=reason, due_at=rt.clock.now() + pause)
