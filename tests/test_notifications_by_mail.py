"""Who is told by e-mail and what the mail looks like; the outbox; invitations; links that need their person."""

import re
from collections.abc import Iterator
from email import message_from_string
from email.policy import default
from typing import Any

import httpx
import pytest
import vobject
from calendly_people import GROUP, calendly_coach, cancel_there, hear, invite
from harness import CONNECTION, REFRESH, Caller, Issuer, World, at, iso
from keeping import Ways
from mailing import empty, fault, mailing_world, mails, set_preferences, states
from processes import Plan, Process, Task
from test_managed_users import PLATFORM, SECRET, configure, linked, upstream

from models import Delivery, Notification, Participant
from sandbox.app import Sandbox
from services import deliveries, webhooks

CHECK = "Make sure this time works for you. Let us know if you need to change it."


@pytest.fixture
def world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, ways: Ways) -> Iterator[World]:
    with mailing_world(database_url, issuer, shared_sandbox, ways) as running:
        yield running


@pytest.fixture
def clara(world: World) -> Caller:
    return world.coach()


@pytest.fixture
def otto(world: World) -> Caller:
    """A mentee without a link."""
    person = world.caller("Otto", time_zone="America/New_York")
    person.gql("{ viewer { id } }")
    return person


def booked(world: World, clara: Caller, **more: Any) -> dict[str, Any]:
    """Otto books at Cal.com; the mailbox is empty after it."""
    world.book(clara, at(2, 9), **more)
    world.jobs()
    empty(world)
    return clara.bookings()[0]


# ---- who is told ---------------------------------------------------------------------------------------------------------


def test_the_other_one_gets_a_mail_in_their_zone_and_whoever_did_it_gets_none(world: World, clara: Caller, otto: Caller) -> None:
    booking = booked(world, clara)
    clara.move(booking["id"], at(3, 13), reason="A dentist")
    world.jobs()
    (mail,) = mails(world)
    assert mail["envelope"] == {"from": "notifications@convene.test", "to": ["otto@example.test"]}
    assert mail["subject"] == "Moved: Session between Clara and Otto"
    assert mail["headers"]["to"] == "Otto <otto@example.test>"
    assert mail["headers"]["autoSubmitted"] == "auto-generated"
    assert mail["headers"]["date"] == "Mon, 01 Mar 2027 08:00:00 +0000"
    lines = [line for line in mail["text"].splitlines() if line]
    moved = "Clara moved “Session between Clara and Otto” from Tue 2 Mar 2027, 04:00 (America/New_York)"
    assert lines == [
        f"{moved} to Wed 3 Mar 2027, 08:00 (America/New_York). {CHECK}",
        "Session between Clara and Otto",
        "Was: Tuesday, 2 March 2027, 04:00 (America/New_York)",
        "When: Wednesday, 3 March 2027, 08:00 to 08:30 (America/New_York)",
        *(line for line in lines if line.startswith(("Where: ", "Join: "))),
        "By: Clara",
        "Reason: A dentist",
        "--",
        "You get this e-mail because you take part in this booking.",
        "Which e-mails you get, and in which time zone, is set in the application's notification settings.",
    ]
    assert "<s " in mail["html"]
    assert 'lang="en"' in mail["html"]
    assert states() == [("SENT", 1, None)] * 2
    assert Notification.select().count() == 4, "the coach's confirmation is in the app"


def test_nobodys_address_but_ones_own_is_anywhere_in_a_mail(world: World, clara: Caller) -> None:
    booking = booked(world, clara, name="Otto", email="otto@example.test")
    clara.move(booking["id"], at(3, 13), reason="Ask boss@example.test or clara@example.test, not otto@example.test.")
    world.book(clara, at(4, 9), name="pia@example.test", email="pia@example.test")
    world.jobs()
    assert len(mails(world)) == 2
    for mail in mails(world):
        raw = message_from_string(mail["raw"], policy=default)
        parts = "\n".join(str(part.get_content()) for part in raw.walk() if not part.is_multipart())
        headers = "\n".join(f"{name}: {value}" for name, value in raw.items() if name not in {"Message-ID", "References", "In-Reply-To"})
        (own,) = mail["envelope"]["to"]
        found = set(re.findall(r"[\w.]+@[\w.]+\w", f"{headers}\n{parts}"))
        assert found <= {own, "notifications@convene.test"}
    assert "Reason: Ask [address] or [address], not otto@example.test." in mails(world)[0]["text"]


def test_what_people_write_is_escaped_and_makes_no_header(world: World, clara: Caller, otto: Caller) -> None:
    booking = booked(world, clara, name="Otto")
    Participant.update(name="Ev\r\nBcc: all@example.test").where(Participant.role == "COACH").execute()
    clara.move(booking["id"], at(3, 13), reason='<img src=x onerror=alert(1)>\r\nBcc: x <b>"bold"</b>')
    world.jobs()
    (mail,) = mails(world)
    assert mail["envelope"]["to"] == ["otto@example.test"]
    assert "bcc" not in mail["headers"]
    assert "<img" not in mail["html"]
    assert "&lt;img src=x onerror=alert(1)&gt; Bcc: x &lt;b&gt;" in mail["html"]


def test_without_an_account_it_goes_to_the_address_of_the_booking(world: World, clara: Caller) -> None:
    booking = booked(world, clara)
    clara.cancel(booking["id"])
    world.jobs()
    (mail,) = mails(world)
    assert mail["envelope"]["to"] == ["otto@example.test"]
    assert "Cancelled: Tuesday, 2 March 2027, 09:00 (Europe/London)" in mail["text"]
    assert "Join:" not in mail["text"]
    assert mail["text"].rstrip().endswith("Sign in to the application with this address to choose which e-mails you get.")


def test_a_verified_address_goes_before_the_bookings(world: World, clara: Caller) -> None:
    max_ = world.caller("Max", email="max@home.test")
    world.account(Caller(world, "Max", "max@work.test", "UTC", {}))
    max_.link(user="max@work.test")
    world.book(clara, at(2, 9), name="Max", email="max@work.test")
    world.jobs()
    empty(world)
    clara.cancel(clara.bookings()[0]["id"])
    world.jobs()
    assert [mail["envelope"]["to"] for mail in mails(world)] == [["max@home.test"]]


def test_somebody_without_any_address_is_told_in_the_app_alone(world: World) -> None:
    clara = world.caller("Clara", email_verified=False)
    world.account(clara)
    clara.link()
    broken(world, clara)
    world.jobs()
    assert [n["kind"] for n in clara.notifications()] == ["RECONNECT_NEEDED"]
    assert (mails(world), states()) == ([], [])


def test_channels_are_kept_to_also_by_what_was_queued_before(world: World, clara: Caller, otto: Caller) -> None:
    booking = booked(world, clara)
    set_preferences(otto, channels=["IN_APP"])
    clara.move(booking["id"], at(3, 13))
    world.jobs()
    assert mails(world) == []
    set_preferences(otto, channels=["EMAIL"])
    fault(world, "temporary", times=1)
    clara.move(booking["id"], at(4, 13), key="k2")
    world.jobs()
    assert (mails(world), states()[-1][0]) == ([], "RETRYING")
    assert [n["newStart"] for n in otto.notifications()] == [iso(at(3, 13)), iso(at(2, 9))], "no e-mail meant no row in the app either"
    set_preferences(otto, channels=[])
    world.move_clock(minutes=1)
    world.jobs()
    assert (mails(world), states()[-1][0]) == ([], "DROPPED")


def test_mails_about_one_booking_make_a_thread(world: World, clara: Caller) -> None:
    booking = booked(world, clara)
    clara.move(booking["id"], at(3, 13))
    clara.cancel(booking["id"])
    world.jobs()
    first, second = mails(world)
    assert first["headers"]["references"] == second["headers"]["references"] == f"<{booking['id']}@127.0.0.1>"
    assert first["headers"]["messageId"] != second["headers"]["messageId"]


def test_without_a_mail_server_nothing_is_queued(world: World, clara: Caller) -> None:
    world.rt.settings = world.rt.settings.model_copy(update={"smtp_url": ""})
    world.book(clara, at(2, 9))
    world.jobs()
    assert states() == []
    assert Notification.select().count() == 2


# ---- the outbox ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "error"), [("temporary", "message not accepted: 451"), ("refuse-connection", "not accepted: ")])
def test_what_was_not_accepted_is_tried_again_with_the_same_id(world: World, clara: Caller, kind: str, error: str) -> None:
    fault(world, kind, times=2)
    world.book(clara, at(2, 9))
    world.jobs()
    ((state, attempts, reason),) = states()
    assert (state, attempts) == ("RETRYING", 1)
    assert str(reason).startswith(error)
    world.move_clock(seconds=59)
    world.jobs()
    assert states()[0][1] == 1
    world.move_clock(seconds=1)
    world.jobs()
    assert states()[0][:2] == ("RETRYING", 2)
    world.move_clock(minutes=2)
    world.jobs()
    assert states() == [("SENT", 3, None)]
    assert [mail["headers"]["messageId"] for mail in mails(world)] == [Delivery.get().message_id]


def test_a_lost_answer_is_sent_again_under_the_same_id(world: World, clara: Caller) -> None:
    fault(world, "lost-answer", times=1)
    world.book(clara, at(2, 9))
    world.jobs()
    assert states()[0][0] == "RETRYING"
    assert str(states()[0][2]).startswith("answer lost: ")
    world.move_clock(minutes=1)
    world.jobs()
    assert states()[0][0] == "SENT"
    first, second = mails(world)
    assert first["headers"]["messageId"] == second["headers"]["messageId"]


def test_a_recipient_refused_for_good_is_dead_at_once_until_somebody_sends_it_again(world: World, clara: Caller) -> None:
    fault(world, "permanent", times=1)
    world.book(clara, at(2, 9))
    world.jobs()
    assert states() == [("DEAD", 1, "recipient refused: 550")]
    row = Delivery.get()
    assert deliveries.send_again(world.rt, row.id)
    world.jobs()
    assert states() == [("SENT", 1, None)]
    assert mails(world)[0]["headers"]["messageId"] == row.message_id
    assert not deliveries.send_again(world.rt, row.id), "what was sent is not sent again"


def test_it_is_given_up_after_a_day(world: World, clara: Caller) -> None:
    fault(world, "temporary", times=None)
    world.book(clara, at(2, 9))
    world.jobs()
    began = world.clock.now()
    while states()[0][0] == "RETRYING":
        world.clock.at = Delivery.get().due_at
        deliveries.send_due(world.rt)
    assert states() == [("DEAD", 29, "message not accepted: 451")]
    assert (world.clock.now() - began).total_seconds() == 23 * 3600 + 3 * 60


def test_what_ended_is_dropped_after_four_weeks(world: World, clara: Caller) -> None:
    booked(world, clara)
    world.move_clock(days=29)
    assert deliveries.clean_up(world.rt) == 1
    assert states() == []


def send(task: Task) -> int:
    return deliveries.send_due(task.convene.rt)


@pytest.mark.parametrize(("step", "times"), [("delivery.claimed", 1), ("delivery.sent", 2), ("delivery.ended", 1)])
def test_a_process_that_dies_sends_at_most_the_same_message_again(world: World, clara: Caller, step: str, times: int) -> None:
    world.book(clara, at(2, 9))
    webhooks.apply_due(world.rt)
    assert states() == [("PENDING", 0, None)]
    with Process(world, send, Plan(die_at=step)) as process:
        process.go()
        process.wait_dead()
    world.move_clock(seconds=91)
    world.jobs()
    assert states()[0][0] == "SENT"
    assert [mail["headers"]["messageId"] for mail in mails(world)] == [Delivery.get().message_id] * times


def test_several_processes_send_each_message_once(world: World, clara: Caller) -> None:
    for number in range(10):
        world.book(clara, at(2, 9), name=f"Otto{number}", force=True)
    while webhooks.apply_due(world.rt):
        pass
    with Process(world, send) as one, Process(world, send) as other:
        one.go()
        other.go()
        one.result(), other.result()
    world.jobs()
    assert [row[0] for row in states()] == ["SENT"] * 10
    assert len({mail["headers"]["messageId"] for mail in mails(world)}) == len(mails(world)) == 10


# ---- calendar entries ----------------------------------------------------------------------------------------------------


@pytest.fixture
def mona(world: World) -> Caller:
    """A coach with a managed user: Cal.com sends nobody mail about such a one's bookings."""
    world.sandbox_call("calcom/platform-clients", clientId=PLATFORM, clientSecret=SECRET, defaultEventTypes=True)
    configure(world)
    return linked(world)


def applied(entries: dict[str, Any], mail: dict[str, Any]) -> dict[str, Any]:
    """What a calendar has after the mail: a newer entry replaces the one of its UID, a cancelled one goes."""
    calendar = vobject.readOne(mail["calendar"]["text"])
    event = calendar.vevent
    assert calendar.method.value == mail["calendar"]["method"]
    before = entries.get(event.uid.value)
    assert before is None or int(event.sequence.value) > int(before.sequence.value)
    rest = {uid: entry for uid, entry in entries.items() if uid != event.uid.value}
    return rest if calendar.method.value == "CANCEL" else {**rest, event.uid.value: event}


def test_an_update_replaces_the_entry_and_a_cancellation_removes_it(world: World, mona: Caller) -> None:
    (host,) = upstream(world)
    slug = next(e.data["slug"] for e in world.sandbox.world.calcom.owned_event_types(host.id) if e.data["lengthInMinutes"] == 30)
    # the provider marks the addresses of managed users
    world.book(Caller(world, mona.name, host.email, mona.time_zone, {}), at(2, 9), slug=slug)
    world.jobs()
    (booking,) = mona.bookings()
    empty(world)
    mona.move(booking["id"], at(3, 13))
    world.jobs()
    mona.move(booking["id"], at(4, 13), key="k2")
    world.jobs()
    mona.cancel(booking["id"])
    world.jobs()
    first, second, third = [mail for mail in mails(world) if mail["envelope"]["to"] == ["otto@example.test"]]
    # she who made the changes has no other way to have her own entry follow them
    hers = [mail["calendar"]["method"] for mail in mails(world) if mail["envelope"]["to"] == [mona.email]]
    assert hers == ["REQUEST", "REQUEST", "CANCEL"]
    entries = applied({}, first)
    uid = f"{booking['id']}@127.0.0.1"
    assert list(entries) == [uid]
    assert (entries[uid].dtstart.value, entries[uid].dtend.value) == (at(3, 13), at(3, 13, 30))
    assert entries[uid].summary.value == booking["title"]
    assert entries[uid].status.value == "CONFIRMED"
    assert entries[uid].organizer.value == "mailto:notifications@convene.test"
    assert entries[uid].organizer.params["CN"] == ["Mona"]
    assert [a.value for a in entries[uid].contents["attendee"]] == ["mailto:otto@example.test"]
    entries = applied(entries, second)
    assert list(entries) == [uid]
    assert entries[uid].dtstart.value == at(4, 13)
    assert third["calendar"]["method"] == "CANCEL"
    assert vobject.readOne(third["calendar"]["text"]).vevent.status.value == "CANCELLED"
    assert applied(entries, third) == {}


def test_an_ordinary_account_sends_its_own_invitations(world: World, clara: Caller) -> None:
    booking = booked(world, clara)
    clara.move(booking["id"], at(3, 13))
    world.jobs()
    assert [mail["calendar"] for mail in mails(world)] == [None]
    assert "invite.ics" not in mails(world)[0]["raw"]


# ---- words ---------------------------------------------------------------------------------------------------------------


def test_whose_link_needs_reconnecting_is_asked_to_check(world: World, clara: Caller) -> None:
    mia = world.caller("Mia")
    world.account(mia)
    mia.link()
    world.book(clara, at(2, 9), name="Mia", email="mia@example.test")
    world.jobs()
    (booking,) = clara.bookings()
    clara.move(booking["id"], at(3, 13))
    assert not mia.notifications()[0]["body"].endswith(CHECK)
    broken(world, mia)
    clara.move(booking["id"], at(4, 13), key="k2")
    assert next(n for n in mia.notifications() if n["newStart"] == iso(at(4, 13)))["body"].endswith(CHECK)


def broken(world: World, person: Caller) -> None:
    world.sandbox_call("calcom/tokens/revoke", email=person.email)
    assert person.one(REFRESH, force=True)["__typename"] == "ConnectionUnusable"
    assert person.one(CONNECTION)["state"] == "NEEDS_RECONNECT"


def test_a_break_is_told_once_and_again_after_a_repair(world: World, clara: Caller) -> None:
    empty(world)
    broken(world, clara)
    world.jobs()
    clara.one(REFRESH, force=True)
    world.jobs()
    assert [n["kind"] for n in clara.notifications()] == ["RECONNECT_NEEDED"]
    assert clara.notifications()[0]["body"] == (
        "The connection to Cal.com no longer works, and only you can repair it. "
        "Open the connection settings and connect Cal.com again; bookings and history stay."
    )
    (mail,) = mails(world)
    assert (mail["subject"], mail["envelope"]["to"]) == ("Connect Cal.com again", ["clara@example.test"])
    clara.link()
    broken(world, clara)
    world.jobs()
    assert [n["kind"] for n in clara.notifications()] == ["RECONNECT_NEEDED"] * 2


def test_a_break_that_is_repaired_before_the_mail_went_out_is_not_mailed(world: World, clara: Caller) -> None:
    fault(world, "temporary", times=1)
    broken(world, clara)
    world.jobs()
    assert states()[-1][0] == "RETRYING"
    clara.link()
    world.move_clock(minutes=1)
    world.jobs()
    assert (states()[-1][0], mails(world)) == ("DROPPED", [])


def test_the_coach_of_a_group_event_is_told_once_that_it_is_cancelled(world: World) -> None:
    cora = calendly_coach(world, event_types=[GROUP])
    places = [invite(world, cora, "Circle", at(2, 9), name=name) for name in ("Otto", "Pia", "Rolf")]
    hear(world)
    cancel_there(world, places[2], by="invitee")
    hear(world)
    cancel_there(world, places[0], by="host")
    hear(world)
    told = [n["by"] for n in cora.notifications() if n["kind"] == "CANCELLED"]
    assert told == [None, "Rolf"]
    mentees = Notification.select().where((Notification.kind == "CANCELLED") & Notification.body.startswith("Cora "))
    assert mentees.count() == 2


def test_a_declined_move_does_not_bring_the_earlier_time_back(world: World) -> None:
    policy = {"type": "always", "blockUnconfirmedBookingsInBooker": False}
    clara = world.coach(eventTypes=[{"title": "Deep", "slug": "deep", "lengthInMinutes": 30, "confirmationPolicy": policy}])
    otto = world.caller("Otto", time_zone="Europe/London")
    booking = booked(world, clara, slug="deep", force=True, status="accepted")
    assert otto.move(booking["id"], at(3, 13))["__typename"] == "RescheduleAwaitingConfirmation"
    world.jobs()
    key = world.sandbox_call("calcom/api-keys", email=clara.email)["apiKey"]
    address = f"{world.sandbox.url}/calcom/v2/bookings/{clara.bookings()[0]['externalId']}/decline"
    headers = {"cal-api-version": "2026-02-25", "Authorization": f"Bearer {key}"}
    assert httpx.post(address, json={}, headers=headers).status_code == 200
    world.jobs()
    assert otto.notifications()[0]["body"].endswith(
        "was declined. The earlier time, Tue 2 Mar 2027, 09:00 (Europe/London), is not restored: the booking is cancelled."
    )
