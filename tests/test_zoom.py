"""Zoom: linking somebody, one meeting for a booking's whole life whatever gets lost, what happens at Zoom itself, recordings."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest
from harness import (
    CLIENT_ID,
    CLIENT_SECRET,
    CONNECT,
    CONNECTION,
    DEFAULTS,
    DISCONNECT,
    EVENT_TYPES,
    REFRESH,
    SYNC,
    ZOOM_ACCOUNT,
    ZOOM_SECRET,
    Caller,
    Issuer,
    World,
    at,
    clean,
    iso,
    stored,
)
from processes import Plan, Process, Task, all_at_once

from models import Drift, LinkedAccount
from models import Meeting as MeetingRow
from sandbox.app import Sandbox
from sandbox.zoom import scopes
from sandbox.zoom.rows import Meeting
from services import jobs, webhooks
from services.providers.base import ProviderSettings
from services.providers.zoom.provider import ZoomSettings

QUARANTINE = 120
"""Seconds: sent at once, with another token after twenty more, Zoom's longest processing time, the clocks' difference."""
JOB_LEASE = 121
SWEEP = 3601
MEETINGS = "/zoom/api/v2/*meetings*"
UNKNOWN_MARK = "[convene:01JAAAAAAAAAAAAAAAAAAAAAAA]"
MAKES_NONE = {"locations": [{"type": "address", "address": "High Street 1", "public": True}]}
CONFIRMED_BY_HAND = {"confirmationPolicy": {"type": "always", "blockUnconfirmedBookingsInBooker": False}}
GROUP = {"kind": "group", "limit": 5}
OWN_CONFERENCE = {"locations": [{"kind": "zoom_conference"}]}
LOST = {"kind": "drop", "when": "after"}
NOT_ARRIVED = {"kind": "drop", "when": "before"}
TUESDAY = at(2, 9)

UPDATE = """mutation($input: UpdateEventTypeInput!) { updateEventType(input: $input) { __typename
  ... on EventTypeUpdated { eventType { createsZoomMeeting recordsMeeting } } ... on Problem { code message } } }"""
RECORDINGS = """query { bookings { edges { node { id start recordings { id kind url start end } } } } }"""


class Story:
    """A coach with Zoom, whose sessions get a meeting there, and those who book them."""

    def __init__(
        self,
        world: World,
        provider: str = "CALENDLY",
        *,
        linked: str = "SERVER_TO_SERVER",
        creates: bool = True,
        records: bool = False,
        **event_type: Any,
    ) -> None:
        self.world, self.provider, self.invitees = world, provider, {}
        self.clara, self.otto = world.caller("Clara", time_zone="Europe/Berlin"), world.caller("Otto")
        zoom_user(world, self.clara)
        connect(self.clara, linked)
        if provider == "CALENDLY":
            kinds = [{"name": "Session", "duration": 30, **event_type}]
            who = {"email": self.clara.email, "name": self.clara.name, "timeZone": self.clara.time_zone}
            world.sandbox_call("calendly/users", **who, eventTypes=kinds)
        else:
            kinds = [{"title": "Session", "slug": "session", "lengthInMinutes": 30, **MAKES_NONE, **event_type}]
            world.account(self.clara, eventTypes=kinds)
        self.clara.link(provider=provider)
        for person in (self.clara, self.otto):
            person.gql("{ viewer { id } }")
        if creates:
            self.switch(createsZoomMeeting=True, recordsMeeting=records)

    def switch(self, **wish: bool) -> None:
        (edge,) = self.clara.one(EVENT_TYPES)["edges"]
        done = self.clara.one(UPDATE, input={"eventTypeId": edge["node"]["id"], **wish})
        assert done["__typename"] == "EventTypeUpdated", done

    def book(self, start: datetime = TUESDAY, name: str = "Otto") -> None:
        """Somebody books on the provider's page, and the news of it arrive."""
        if self.provider == "CALENDLY":
            (kind,) = self.world.sandbox.world.calendly.event_types.values()
            invitee = {"name": name, "email": f"{name.lower()}@example.test", "timeZone": "Europe/London"}
            made = self.world.sandbox_call("calendly/bookings", eventType=kind.id, start=iso(start), invitee=invitee)
            self.invitees[name] = made["invitee"]["uri"]
        else:
            self.world.book(self.clara, start, name=name)
        self.world.sandbox.settle()

    def booked(self, start: datetime = TUESDAY, name: str = "Otto") -> dict[str, Any]:
        self.book(start, name)
        self.quiet()
        return self.booking()

    def move(self, start: datetime, name: str = "Otto") -> None:
        if self.provider == "CALENDLY":
            moved = self.world.sandbox_call("calendly/reschedule", invitee=self.invitees[name], start=iso(start))
            self.invitees[name] = moved["new"]["uri"]
        else:
            assert self.clara.move(self.booking()["id"], start)["__typename"] == "BookingRescheduled"
        self.world.sandbox.settle()

    def cancel(self) -> None:
        assert self.clara.cancel(self.booking()["id"])["__typename"] == "BookingCancelled"
        self.world.sandbox.settle()

    def leave(self, name: str) -> None:
        self.world.sandbox_call("calendly/cancel", invitee=self.invitees[name], by="invitee")
        self.quiet()

    def quiet(self) -> None:
        """Until neither we nor Zoom have anything more to do; a storm would not end."""
        for _ in range(20):
            self.world.sandbox.settle()
            if not self.world.jobs():
                return
        raise AssertionError("it does not come to rest")

    def later(self, seconds: float) -> None:
        self.world.move_clock(seconds=seconds)
        self.quiet()

    def booking(self) -> dict[str, Any]:
        (booking,) = self.clara.bookings()
        return booking

    def meetings(self) -> list[Meeting]:
        return list(self.world.sandbox.world.zoom.meetings.values())

    def meeting(self) -> Meeting:
        (meeting,) = self.meetings()
        return meeting

    def calls(self, method: str) -> int:
        return sum(
            1 for r in self.world.sandbox.requests if r.method == method and r.path.startswith("/zoom/api/v2/") and "meetings" in r.path
        )

    def fault(self, effect: dict[str, Any], method: str, **more: Any) -> Any:
        return self.world.sandbox.fault(effect, method=method, path=MEETINGS, **more)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.clara.one(CONNECTION, provider="ZOOM")
        return found

    def interrupted(self, step: str) -> None:
        """A process does what is due and dies at that step; its claim ends a while later."""
        with Process(self.world, work, Plan(die_at=step)) as process:
            process.go()
            process.wait_dead()

    def outside(self, path: str, method: str = "POST", **body: Any) -> None:
        """What the host does at Zoom itself."""
        self.world.sandbox_call(f"zoom/meetings{path}", method, **body)

    def held(self, start: datetime, **what: Any) -> None:
        """The meeting is over: everybody was there for half an hour, and it was recorded as said."""
        now = self.world.clock.now()
        self.world.move_clock(seconds=(start - now).total_seconds() + 1800)
        self.outside(f"/{self.meeting().id}/end", **what)
        self.quiet()


def zoom_user(world: World, person: Caller, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = world.sandbox_call("zoom/users", email=person.email, name=person.name, timeZone=person.time_zone, **more)
    return found


def connect(person: Caller, kind: str = "SERVER_TO_SERVER") -> None:
    if kind == "OAUTH":
        person.link(provider="ZOOM")
        return
    done = asked(person)
    assert done["__typename"] == "ProviderLinked", done


def asked(person: Caller) -> dict[str, Any]:
    found: dict[str, Any] = person.one(CONNECT, input={"provider": "ZOOM", "kind": "SERVER_TO_SERVER"})
    return found


def exchanges(world: World) -> int:
    return world.calls("POST", "/zoom/web/oauth/token")


def account_app(world: World, **changed: Any) -> None:
    hook = {"webhookUrl": f"{world.url}/webhooks/zoom", "secretToken": ZOOM_SECRET}
    app = {"clientId": "convene-account", "clientSecret": CLIENT_SECRET, "accountId": ZOOM_ACCOUNT, **hook}
    world.sandbox_call("zoom/apps", **{**app, **changed})


def work(task: Task) -> int:
    """What another process does: all that is due."""
    return jobs.run_until_quiet(task.convene.rt)


def work_one_round(task: Task) -> int:
    """The same without what becomes due by it."""
    return webhooks.apply_due(task.convene.rt) + jobs.run_work(task.convene.rt, "meeting")


def history(booking: dict[str, Any]) -> list[str]:
    return [edge["node"]["kind"] for edge in booking["history"]["edges"]]


def link_of(meeting: Meeting, world: World) -> str:
    return f"{world.sandbox.url}/zoom/web/j/{meeting.id}?pwd={meeting.encrypted_password}"


def drifts() -> list[str]:
    return sorted(row.kind for row in Drift.select())


def recordings_of(person: Caller) -> list[dict[str, Any]]:
    (edge,) = person.one(RECORDINGS)["edges"]
    found: list[dict[str, Any]] = edge["node"]["recordings"]
    return found


def told(person: Caller, kind: str = "RECORDING_READY") -> int:
    return [n["kind"] for n in person.notifications()].count(kind)


@pytest.fixture
def story(world: World) -> Story:
    return Story(world)


# ---- linking: the whole account ------------------------------------------------------------------------------------------


def test_a_coach_is_linked_to_the_user_with_their_verified_address(world: World) -> None:
    clara = world.caller("Clara", time_zone="Europe/Berlin")
    user = zoom_user(world, clara)
    zoom_user(world, world.caller("Other"))
    before = clara.one(CONNECTION, provider="ZOOM")
    assert (before["state"], before["message"]) == ("NOT_CONNECTED", "Zoom is not connected. Connect it with connectProvider.")
    assert asked(clara)["__typename"] == "ProviderLinked"
    status = clara.one(CONNECTION, provider="ZOOM")
    assert (status["state"], status["message"], status["problem"]) == ("ACTIVE", "Zoom is connected.", None)
    account = status["linkedAccount"]
    assert (account["kind"], account["account"]["externalId"], account["account"]["email"]) == ("SERVER_TO_SERVER", user["id"], clara.email)
    # again: the same link, and the token that is there
    assert asked(clara)["__typename"] == "ProviderLinked"
    assert clara.one(CONNECTION, provider="ZOOM")["linkedAccount"]["id"] == account["id"]
    assert exchanges(world) == 1


@pytest.mark.parametrize("status", ["nobody", "pending"])
def test_without_an_active_user_nobody_is_linked(world: World, status: str) -> None:
    clara = world.caller("Clara")
    if status == "pending":
        zoom_user(world, clara, status="pending")
    assert asked(clara) == {
        "__typename": "NotFound",
        "code": "NOT_FOUND",
        "message": "There is no active Zoom user with your verified address in this installation's account.",
    }
    assert clara.one(CONNECTION, provider="ZOOM")["state"] == "NOT_CONNECTED"


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email": None}])
def test_a_sign_in_without_a_verified_address_finds_no_user(world: World, claims: dict[str, Any]) -> None:
    zoom_user(world, world.caller("Clara"))
    clara = Caller(world, "Clara", "clara@example.test", "UTC", claims)
    answer = asked(clara)
    assert (answer["__typename"], [f["path"] for f in answer["fields"]]) == ("InvalidInput", [["kind"]])
    assert (exchanges(world), world.calls("GET", "/zoom/api/v2/users")) == (0, 0)
    assert clara.one(CONNECTION, provider="ZOOM")["state"] == "NOT_CONNECTED"


def test_many_at_once_share_one_exchange_and_so_they_do_when_it_expired(world: World) -> None:
    people = [world.caller(f"Coach{n}") for n in range(6)]
    for person in people:
        zoom_user(world, person)
        person.gql("{ viewer { id } }")

    def together() -> list[str]:
        barrier = threading.Barrier(len(people))

        def one(person: Caller) -> str:
            barrier.wait()
            return str(asked(person)["__typename"])

        with ThreadPoolExecutor(len(people)) as pool:
            return list(pool.map(one, people))

    assert together() == ["ProviderLinked"] * 6
    assert exchanges(world) == 1
    world.move_clock(minutes=58)
    assert together() == ["ProviderLinked"] * 6
    assert exchanges(world) == 1, "it lives for more than a minute yet"
    world.move_clock(minutes=1, seconds=1)
    assert together() == ["ProviderLinked"] * 6
    assert exchanges(world) == 2


@pytest.mark.parametrize(
    ("changed", "switch"), [({"clientSecret": "new"}, 400), ({"clientSecret": "new"}, 401), ({"accountId": "another"}, 400)]
)
def test_wrong_credentials_are_the_operators_matter(world: World, changed: dict[str, str], switch: int) -> None:
    story = Story(world)
    world.sandbox_call("zoom/switches", "PUT", badClientStatus=switch)
    account_app(world, **changed)
    world.move_clock(hours=1)
    mona = world.caller("Mona")
    zoom_user(world, mona, accountId=ZOOM_ACCOUNT)
    refused = asked(mona)
    assert (refused["__typename"], refused["code"]) == ("ProviderFailure", "CLIENT_MISCONFIGURED")
    assert mona.one(CONNECTION, provider="ZOOM")["state"] == "NOT_CONNECTED"
    assert story.booked()["status"] == "CONFIRMED"
    status = story.status()
    assert (status["state"], status["problem"]["code"]) == ("DEGRADED", "CLIENT_MISCONFIGURED")
    assert story.meetings() == []
    account_app(world)
    story.later(SWEEP)
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), world)
    assert story.status()["state"] == "ACTIVE"


def test_a_refused_token_is_renewed_once(story: Story) -> None:
    story.world.move_clock(minutes=5)
    story.world.sandbox_call("zoom/tokens/revoke", clientId="convene-account")
    story.booked()
    assert story.meeting().start == at(2, 9)
    assert (exchanges(story.world), story.calls("POST")) == (2, 2)


def test_a_token_that_is_refused_right_away_is_not_renewed_in_a_loop(story: Story) -> None:
    story.world.sandbox_call("zoom/tokens/revoke", clientId="convene-account")
    story.booked()
    assert (exchanges(story.world), story.meetings()) == (1, [])
    story.later(61)
    assert story.meeting().start == at(2, 9)
    assert exchanges(story.world) == 2


def test_disconnecting_leaves_the_installations_own_access(story: Story) -> None:
    gone = story.clara.one(DISCONNECT, provider="ZOOM")
    assert (gone["__typename"], gone["revokedUpstream"], gone["status"]["state"]) == ("ProviderUnlinked", False, "NOT_CONNECTED")
    assert gone["message"] == "Zoom is disconnected. The installation's own access to the Zoom account stays."
    assert story.world.calls("POST", "/oauth/revoke") == 0
    assert story.booked()["meetingUrl"] is None
    assert story.meetings() == []


class NotSetUp(World):
    """An installation whose operator has not set Zoom up."""

    def _provider_settings(self) -> dict[str, ProviderSettings]:
        zoom = f"{self.sandbox.url}/zoom"
        return {**super()._provider_settings(), "zoom": ZoomSettings(api_url=f"{zoom}/api", auth_url=f"{zoom}/web")}


@pytest.fixture
def bare_world(database_url: str, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[World]:
    shared_sandbox.reset()
    with NotSetUp(database_url, issuer, shared_sandbox) as running:
        clean()
        yield running


@pytest.mark.parametrize("kind", ["OAUTH", "SERVER_TO_SERVER"])
def test_where_zoom_is_not_set_up_the_answers_say_so(bare_world: World, kind: str) -> None:
    clara = bare_world.caller("Clara")
    zoom_user(bare_world, clara)
    answer = clara.one(CONNECT, input={"provider": "ZOOM", "kind": kind})
    assert (answer["__typename"], [f["path"] for f in answer["fields"]]) == ("InvalidInput", [["kind"]])
    assert "is not set up in this installation" in answer["fields"][0]["message"]
    status = clara.one(CONNECTION, provider="ZOOM")
    assert (status["state"], status["message"]) == ("NOT_CONNECTED", "Zoom is not set up in this installation.")
    assert bare_world.http.post("/webhooks/zoom", json={}).status_code == 404
    assert exchanges(bare_world) == 0


# ---- linking: a user's own OAuth -------------------------------------------------------------------------------------------


def test_by_oauth_the_coach_is_me_and_the_refresh_token_rotates(world: World) -> None:
    story = Story(world, linked="OAUTH")
    account = story.status()["linkedAccount"]
    assert (account["kind"], account["account"]["email"]) == ("OAUTH", story.clara.email)
    booking = story.booked()
    assert booking["meetingUrl"] == link_of(story.meeting(), world)
    posts = [r.path for r in world.sandbox.requests if r.method == "POST" and r.path.startswith("/zoom/api/")]
    assert posts == ["/zoom/api/v2/users/me/meetings"]
    for day in (3, 4):
        world.move_clock(hours=1)
        story.move(at(day, 9))
        story.quiet()
        assert story.meeting().start == at(day, 9)
    assert exchanges(world) == 3, "the code, and each time the refresh token of the last answer"
    assert story.status()["state"] == "ACTIVE"
    assert (story.booking()["meetingUrl"], story.calls("POST")) == (booking["meetingUrl"], 1)


def test_oauth_tokens_are_revoked_at_zoom(world: World) -> None:
    clara = world.caller("Clara")
    zoom_user(world, clara)
    connect(clara, "OAUTH")
    gone = clara.one(DISCONNECT, provider="ZOOM")
    assert (gone["__typename"], gone["revokedUpstream"]) == ("ProviderUnlinked", True)
    assert gone["message"] == "Zoom is disconnected. Every token of it is revoked there and deleted here."
    assert [t for t in world.sandbox.world.zoom.tokens.values() if t.client_id == CLIENT_ID] == []


def test_a_coach_may_go_over_to_their_own_oauth(story: Story) -> None:
    booking = story.booked()
    link = story.status()["linkedAccount"]["id"]
    connect(story.clara, "OAUTH")
    account = story.status()["linkedAccount"]
    assert (account["id"], account["kind"]) == (link, "OAUTH")
    story.move(at(3, 10))
    story.quiet()
    assert (story.meeting().start, story.booking()["meetingUrl"], story.calls("POST")) == (at(3, 10), booking["meetingUrl"], 1)


def test_one_zoom_user_is_linked_to_one_person(world: World) -> None:
    otto, clara = world.caller("Otto"), world.caller("Clara")
    zoom_user(world, otto)
    clara.link(provider="ZOOM", user=otto.email)
    assert asked(otto)["__typename"] == "AccountInUse"
    assert otto.one(CONNECTION, provider="ZOOM")["state"] == "NOT_CONNECTED"


def test_what_zoom_has_not_is_a_typed_answer(story: Story) -> None:
    """Zoom has no event types and no bookings of its own."""
    for query in (SYNC, DEFAULTS):
        answer = story.clara.one(query, provider="ZOOM")
        assert (answer["__typename"], answer["code"]) == ("ProviderFailure", "NOT_SUPPORTED")
    assert story.world.calls("GET", "/zoom/api/v2/users/clara@example.test") == 1


@pytest.mark.parametrize("minutes", [0, 5])
def test_the_installations_token_can_be_renewed_by_force(story: Story, minutes: int) -> None:
    story.world.move_clock(minutes=minutes)
    answer = story.clara.one(REFRESH, provider="ZOOM", force=True)
    assert (answer["__typename"], answer["status"]["state"]) == ("ConnectionRefreshed", "ACTIVE")
    assert exchanges(story.world) == (2 if answer["refreshed"] else 1)


def test_a_declined_consent_links_nobody(world: World) -> None:
    clara = world.caller("Clara")
    zoom_user(world, clara)
    begun = clara.begin(provider="ZOOM")
    clara.consent(begun, decision="deny")
    assert clara.complete(begun["state"])["__typename"] == "AuthorizationDenied"
    assert exchanges(world) == 0


def test_a_meeting_needs_a_linked_account(world: World) -> None:
    clara = world.coach()
    (edge,) = clara.one(EVENT_TYPES)["edges"]
    answer = clara.one(UPDATE, input={"eventTypeId": edge["node"]["id"], "createsZoomMeeting": True})
    assert (answer["__typename"], answer["message"]) == (
        "NotConnected",
        "Connect Zoom first (connectProvider): the meetings are made in your account.",
    )
    assert clara.one(EVENT_TYPES)["edges"][0]["node"]["createsZoomMeeting"] is False


# ---- a booking's whole life --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["CALENDLY", "CAL_COM"])
def test_one_meeting_for_the_bookings_whole_life(world: World, provider: str) -> None:
    story = Story(world, provider)
    booking = story.booked()
    made = story.meeting()
    assert (made.host, made.start, made.duration, made.settings["auto_recording"]) == (story.clara.email, at(2, 9), 30, "none")
    assert booking["meetingUrl"] == link_of(made, world)
    assert sorted(history(booking)) == ["BOOKED", "MEETING_ADDED"]
    assert story.otto.bookings()[0]["meetingUrl"] == booking["meetingUrl"]
    stranger = world.caller("Nosy")
    assert stranger.bookings() == []
    assert stranger.one("query($id: ID!) { booking(id: $id) { meetingUrl } }", id=booking["id"]) is None

    story.move(at(3, 10))
    story.quiet()
    moved = story.booking()
    assert (moved["id"], moved["start"], moved["meetingUrl"]) == (booking["id"], iso(at(3, 10)), booking["meetingUrl"])
    assert (story.meeting().id, story.meeting().start) == (made.id, at(3, 10))
    assert history(moved).count("MEETING_ADDED") == 1

    story.cancel()
    story.quiet()
    assert (story.meetings(), story.booking()["meetingUrl"]) == ([], None)
    assert {method: story.calls(method) for method in ("POST", "PATCH", "DELETE")} == {"POST": 1, "PATCH": 1, "DELETE": 1}
    assert drifts() == []


def test_an_admin_who_takes_no_part_sees_no_link(story: Story) -> None:
    booking = story.booked()
    admin = story.world.caller("Ada", admin=True)
    shown = admin.one("query($id: ID!) { booking(id: $id) { meetingUrl recordings { url } } }", id=booking["id"])
    assert shown == {"meetingUrl": None, "recordings": []}


def test_switched_on_later_it_is_for_bookings_to_come(world: World) -> None:
    story = Story(world, creates=False)
    story.booked(at(2, 9))
    assert story.meetings() == []
    world.move_clock(days=2)
    story.book(at(4, 9))
    story.quiet()
    story.switch(createsZoomMeeting=True)
    story.quiet()
    assert story.meeting().start == at(4, 9), "the one that is over needs none"
    assert [b["meetingUrl"] is not None for b in sorted(story.clara.bookings(), key=lambda b: b["start"])] == [False, True]
    story.switch(createsZoomMeeting=True, recordsMeeting=True)
    story.quiet()
    assert (story.meeting().settings["auto_recording"], story.calls("POST")) == ("cloud", 1)


def test_switched_off_again_what_was_made_stays_and_follows(story: Story) -> None:
    story.booked(at(2, 9))
    story.switch(createsZoomMeeting=False)
    story.move(at(3, 9))
    story.book(at(4, 9), "Mia")
    story.quiet()
    assert story.meeting().start == at(3, 9)


def test_a_recorded_session_is_recorded_in_the_cloud(world: World) -> None:
    story = Story(world, records=True)
    story.booked()
    assert story.meeting().settings["auto_recording"] == "cloud"


def decide(story: Story, decision: str) -> None:
    """The coach confirms or declines at Cal.com."""
    key = story.world.sandbox_call("calcom/api-keys", email=story.clara.email)["apiKey"]
    headers = {"Authorization": f"Bearer {key}", "cal-api-version": "2024-08-13"}
    (uid,) = [b.uid for b in story.world.sandbox.world.calcom.bookings.values() if b.status == "pending"]
    decided = httpx.post(f"{story.world.sandbox.url}/calcom/v2/bookings/{uid}/{decision}", headers=headers)
    assert decided.status_code == 200, decided.text
    story.quiet()


def test_a_pending_booking_gets_its_meeting_when_it_is_confirmed(world: World) -> None:
    story = Story(world, "CAL_COM", **CONFIRMED_BY_HAND)
    assert story.booked()["status"] == "PENDING"
    assert (story.meetings(), story.calls("POST")) == ([], 0)
    decide(story, "confirm")
    assert (story.booking()["status"], story.booking()["meetingUrl"]) == ("CONFIRMED", link_of(story.meeting(), world))


def test_a_pending_booking_that_is_declined_never_has_a_meeting(world: World) -> None:
    story = Story(world, "CAL_COM", **CONFIRMED_BY_HAND)
    story.booked()
    decide(story, "decline")
    story.later(SWEEP)
    assert (story.booking()["meetingUrl"], story.meetings(), story.calls("POST")) == (None, [], 0)


@pytest.mark.parametrize("decision", ["confirm", "decline"])
def test_a_mentees_move_that_waits_keeps_the_meeting_until_it_is_decided(world: World, decision: str) -> None:
    story = Story(world, "CAL_COM", **CONFIRMED_BY_HAND)
    story.booked()
    decide(story, "confirm")
    made = link_of(story.meeting(), world)
    moved = story.otto.move(story.booking()["id"], at(3, 10))
    assert moved["__typename"] == "RescheduleAwaitingConfirmation", moved
    story.quiet()
    assert (len(story.meetings()), story.booking()["meetingUrl"]) == (1, made)
    decide(story, decision)
    kept = decision == "confirm"
    assert [m.start for m in story.meetings()] == ([at(3, 10)] if kept else [])
    assert (story.booking()["meetingUrl"], story.calls("POST")) == (made if kept else None, 1)


def test_a_group_event_has_one_meeting_until_the_last_one_leaves(world: World) -> None:
    story = Story(world, **GROUP)
    for name in ("Otto", "Mia", "Jan"):
        story.book(at(2, 9), name)
    story.quiet()
    made = story.meeting()
    assert [b["meetingUrl"] for b in story.clara.bookings()] == [link_of(made, world)] * 3
    assert [history(b).count("MEETING_ADDED") for b in story.clara.bookings()] == [1, 1, 1]
    story.leave("Otto")
    story.leave("Mia")
    assert story.meeting().id == made.id
    story.leave("Jan")
    assert (story.meetings(), story.calls("POST"), story.calls("DELETE")) == ([], 1, 1)


def test_who_joins_a_group_event_later_gets_the_same_meeting(world: World) -> None:
    story = Story(world, **GROUP)
    story.book(at(2, 9), "Otto")
    story.quiet()
    story.book(at(2, 9), "Mia")
    story.quiet()
    assert [b["meetingUrl"] for b in story.clara.bookings()] == [link_of(story.meeting(), world)] * 2
    assert story.calls("POST") == 1


def test_who_joins_a_group_event_later_has_it_in_their_history_too(world: World) -> None:
    story = Story(world, **GROUP)
    story.booked(at(2, 9), "Otto")
    story.book(at(2, 9), "Mia")
    story.quiet()
    assert [history(b).count("MEETING_ADDED") for b in story.clara.bookings()] == [1, 1]


def test_who_left_a_group_event_no_longer_sees_where_the_others_meet(world: World) -> None:
    story = Story(world, **GROUP)
    story.book(at(2, 9), "Otto")
    story.book(at(2, 9), "Mia")
    story.quiet()
    story.leave("Otto")
    (gone,) = story.otto.bookings()
    assert (gone["status"], gone["meetingUrl"]) == ("CANCELLED", None)


def test_one_who_moves_out_of_a_group_event_gets_another_meeting(world: World) -> None:
    story = Story(world, **GROUP)
    story.book(at(2, 9), "Otto")
    story.book(at(2, 9), "Mia")
    story.quiet()
    story.move(at(3, 9), "Otto")
    story.quiet()
    links = {b["start"]: b["meetingUrl"] for b in story.clara.bookings()}
    assert {m.start for m in story.meetings()} == {at(2, 9), at(3, 9)}
    assert links == {iso(m.start): link_of(m, world) for m in story.meetings() if m.start}
    story.leave("Mia")
    assert story.meeting().start == at(3, 9)


# ---- lost answers ---------------------------------------------------------------------------------------------------------------


def test_a_lost_answer_is_found_by_its_mark(story: Story) -> None:
    story.fault(LOST, "POST")
    story.booked()
    assert story.booking()["meetingUrl"] is None
    story.later(6)
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), story.world)
    assert history(story.booking()).count("MEETING_ADDED") == 1
    assert story.calls("POST") == 1


def test_it_is_made_again_only_when_the_first_can_no_longer_be_under_way(story: Story) -> None:
    story.fault(NOT_ARRIVED, "POST")
    story.booked()
    for _ in range(QUARANTINE // 10 - 1):
        story.later(10)
        assert story.calls("POST") == 1, "its absence does not count yet"
    story.later(11)
    assert (story.calls("POST"), story.booking()["meetingUrl"]) == (2, link_of(story.meeting(), story.world))


def test_a_booking_that_was_moved_while_the_answer_was_lost_has_a_meeting_at_its_time(story: Story) -> None:
    story.fault(LOST, "POST")
    story.booked()
    story.move(at(3, 10))
    story.quiet()
    story.later(QUARANTINE + 1)
    assert (story.meeting().start, story.calls("POST")) == (at(3, 10), 1)
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), story.world)


@pytest.mark.parametrize("effect", [NOT_ARRIVED, LOST], ids=["before", "after"])
def test_a_booking_that_was_cancelled_while_the_answer_was_lost_leaves_no_meeting(story: Story, effect: dict[str, Any]) -> None:
    story.fault(effect, "POST")
    story.booked()
    story.cancel()
    story.quiet()
    story.later(QUARANTINE + 1)
    assert (story.meetings(), story.calls("POST"), story.booking()["meetingUrl"]) == ([], 1, None)


@pytest.mark.parametrize(
    ("provider", "effect"),
    [("CALENDLY", NOT_ARRIVED), ("CAL_COM", LOST), ("CALENDLY", {"kind": "status", "status": 503}), ("CAL_COM", {"kind": "malformed"})],
    ids=["before", "after", "503", "cut"],
)
def test_with_a_loss_at_every_call_there_is_one_meeting_and_in_the_end_none(world: World, effect: dict[str, Any], provider: str) -> None:
    story = Story(world, provider)
    story.fault(effect, "POST")
    story.booked()
    story.later(QUARANTINE + 1)
    story.later(QUARANTINE + 1)
    made = story.meeting()
    assert story.booking()["meetingUrl"] == link_of(made, world)

    story.fault(effect, "GET", times=3)
    story.fault(effect, "PATCH")
    story.fault(effect, "GET", times=3, skip=4)
    story.move(at(3, 10))
    for _ in range(4):
        story.later(130)
    assert (story.meeting().id, story.meeting().start) == (made.id, at(3, 10))
    assert story.booking()["meetingUrl"] == link_of(made, world)

    story.world.sandbox.world.faults.clear()
    story.fault(effect, "DELETE")
    story.cancel()
    story.quiet()
    story.later(130)
    assert (story.meetings(), story.booking()["meetingUrl"]) == ([], None)
    assert drifts() == []


@pytest.mark.parametrize(("step", "posts"), [("meeting.sent", 1), ("meeting.answered", 1), ("meeting.stored", 1)])
def test_killed_while_making_it(story: Story, step: str, posts: int) -> None:
    story.book()
    story.interrupted(step)
    story.quiet()
    story.later(JOB_LEASE)
    story.later(QUARANTINE)
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), story.world)
    assert story.calls("POST") == posts
    assert history(story.booking()).count("MEETING_ADDED") == 1


@pytest.mark.parametrize("step", ["meeting.changing", "meeting.changed"])
def test_killed_while_changing_it(story: Story, step: str) -> None:
    made = link_of(story.meeting(), story.world) if story.booked() else ""
    story.move(at(3, 10))
    story.interrupted(step)
    story.quiet()
    story.later(JOB_LEASE)
    assert (story.meeting().start, story.booking()["meetingUrl"]) == (at(3, 10), made)
    assert (story.calls("POST"), story.calls("PATCH"), drifts()) == (1, 1, [])


def test_killed_after_changing_it_and_moved_again_nobody_is_blamed(story: Story) -> None:
    """The time that Zoom has then is our own, although we never stored it."""
    story.booked()
    story.move(at(3, 10))
    story.interrupted("meeting.changed")
    story.move(at(4, 10))
    story.quiet()
    story.later(JOB_LEASE)
    assert (story.meeting().start, drifts()) == (at(4, 10), [])


@pytest.mark.parametrize("step", ["meeting.deleting", "meeting.deleted"])
def test_killed_while_deleting_it(story: Story, step: str) -> None:
    story.booked()
    story.cancel()
    story.interrupted(step)
    story.quiet()
    story.later(JOB_LEASE)
    assert (story.meetings(), story.booking()["meetingUrl"]) == ([], None)


def test_two_workers_at_once_make_one(story: Story) -> None:
    story.book()
    with Process(story.world, work) as one, Process(story.world, work) as two:
        all_at_once([one, two])
    story.quiet()
    assert (story.meeting().start, story.calls("POST")) == (at(2, 9), 1)


def test_frozen_before_it_sent_it_sends_nothing_any_more(story: Story) -> None:
    story.book()
    with Process(story.world, work, Plan(freeze_at="meeting.sent")) as process:
        process.go()
        process.wait_frozen()
        story.later(JOB_LEASE)
        story.later(QUARANTINE)
        made = story.meeting()
        process.thaw()
        process.result()
    story.quiet()
    assert (story.meeting().id, story.calls("POST")) == (made.id, 1)
    assert story.booking()["meetingUrl"] == link_of(made, story.world)


def test_frozen_with_the_answer_in_hand_it_wakes_to_what_others_found(story: Story) -> None:
    story.book()
    with Process(story.world, work, Plan(freeze_at="meeting.answered")) as process:
        process.go()
        process.wait_frozen()
        story.later(JOB_LEASE)
        story.move(at(3, 10))
        story.quiet()
        assert story.meeting().start == at(3, 10)
        process.thaw()
        process.result()
    story.quiet()
    story.later(SWEEP)
    assert (story.meeting().start, story.calls("POST"), drifts()) == (at(3, 10), 1, [])
    assert history(story.booking()).count("MEETING_ADDED") == 1


def test_frozen_before_a_change_it_does_not_have_the_last_word(story: Story) -> None:
    story.booked()
    story.move(at(3, 10))
    with Process(story.world, work_one_round, Plan(freeze_at="meeting.changing")) as process:
        process.go()
        process.wait_frozen()
        story.later(JOB_LEASE)
        story.move(at(4, 10))
        story.quiet()
        assert story.meeting().start == at(4, 10)
        process.thaw()
        process.result()
    story.quiet()
    assert (story.meeting().start, story.calls("POST"), drifts()) == (at(4, 10), 1, [])


@pytest.mark.parametrize("change", ["move", "cancel"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_changes_while_it_is_being_made_is_caught_up(story: Story, when: str, change: str) -> None:
    story.book()
    held = story.fault({"kind": "hold", "when": when}, "POST")
    worker = threading.Thread(target=story.world.jobs)
    worker.start()
    assert held.wait_held()
    story.world.move_clock(seconds=1)
    story.move(at(3, 10)) if change == "move" else story.cancel()
    story.world.jobs()
    held.release()
    worker.join()
    story.quiet()
    assert [m.start for m in story.meetings()] == ([at(3, 10)] if change == "move" else [])
    assert (story.calls("POST"), drifts()) == (1, [])
    assert (story.booking()["meetingUrl"] is not None) == (change == "move")


def test_a_sweep_that_meets_one_in_the_making_leaves_it(story: Story) -> None:
    story.later(SWEEP - 2 * JOB_LEASE)
    story.book()
    held = story.fault({"kind": "hold", "when": "after"}, "POST")
    worker = threading.Thread(target=story.world.jobs)
    worker.start()
    assert held.wait_held()
    story.later(JOB_LEASE - 2)
    story.later(JOB_LEASE + 2)
    held.release()
    worker.join()
    story.quiet()
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), story.world)
    assert (story.calls("POST"), story.calls("DELETE"), drifts()) == (1, 0, [])


# ---- orphans -------------------------------------------------------------------------------------------------------------------


def test_what_bears_our_mark_and_belongs_to_nothing_is_swept_up(story: Story) -> None:
    story.booked()
    made = story.meeting()
    plan = {"email": story.clara.email, "topic": "Copy", "start_time": iso(at(5, 9))}
    for agenda in (made.agenda, UNKNOWN_MARK, "What I want to talk about"):
        story.outside("", **plan, agenda=agenda)
    story.later(SWEEP)
    assert sorted(m.agenda for m in story.meetings()) == sorted([made.agenda, UNKNOWN_MARK, "What I want to talk about"])
    assert story.booking()["meetingUrl"] == link_of(made, story.world)
    assert (drifts(), story.calls("DELETE")) == (["ORPHAN"], 1)


def test_what_came_late_for_a_cancelled_booking_is_swept_up(story: Story) -> None:
    story.booked()
    agenda = story.meeting().agenda
    story.cancel()
    story.quiet()
    story.outside("", email=story.clara.email, agenda=agenda, start_time=iso(at(2, 9)))
    story.later(SWEEP)
    assert (story.meetings(), drifts()) == ([], ["ORPHAN"])


def test_two_that_bear_one_mark_become_one(story: Story) -> None:
    story.fault(LOST, "POST")
    story.booked()
    story.outside("", email=story.clara.email, agenda=story.meeting().agenda, start_time=iso(at(2, 9)))
    story.later(6)
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), story.world)


# ---- what the host does at Zoom ------------------------------------------------------------------------------------------------


def test_a_meeting_that_the_host_moved_is_put_back(story: Story) -> None:
    booking = story.booked()
    story.outside(f"/{story.meeting().id}", "PATCH", start_time=iso(at(5, 9)))
    story.quiet()
    assert (story.meeting().start, story.booking()["start"]) == (at(2, 9), iso(at(2, 9)))
    assert story.booking()["meetingUrl"] == booking["meetingUrl"]
    assert (drifts(), story.calls("PATCH"), story.calls("POST")) == (["CHANGED"], 1, 1)


def test_a_meeting_that_the_host_deleted_is_made_anew(story: Story) -> None:
    booking = story.booked()
    story.outside(f"/{story.meeting().id}", "DELETE")
    story.quiet()
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), story.world) != booking["meetingUrl"]
    assert (drifts(), story.calls("POST"), history(story.booking()).count("MEETING_ADDED")) == (["CHANGED"], 2, 2)


@pytest.mark.parametrize("change", ["PATCH", "DELETE"])
def test_what_the_host_did_is_found_although_no_webhook_told_it(story: Story, change: str) -> None:
    story.booked()
    story.world.sandbox.fault({"kind": "drop"}, webhook="*", times=None)
    story.outside(f"/{story.meeting().id}", change, **({"start_time": iso(at(5, 9))} if change == "PATCH" else {}))
    story.later(SWEEP)
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), story.world)
    assert (story.meeting().start, drifts()) == (at(2, 9), ["CHANGED"])


def test_a_meeting_that_took_place_is_left_to_the_host(story: Story) -> None:
    story.booked()
    story.world.move_clock(days=2)
    story.outside(f"/{story.meeting().id}", "DELETE")
    story.quiet()
    assert (story.meetings(), story.calls("POST"), drifts()) == ([], 1, [])


def test_echoes_of_our_own_calls_change_nothing(story: Story) -> None:
    story.booked()
    story.move(at(3, 10))
    story.quiet()
    version = story.booking()["version"]
    story.world.sandbox.world.requests.clear()
    for _ in range(3):
        for entry in story.world.sandbox.world.deliveries.entries():
            if entry.outgoing.event.startswith("meeting."):
                story.world.sandbox_call(f"deliveries/{entry.id}/resend")
        story.quiet()
    assert {method: story.calls(method) for method in ("GET", "POST", "PATCH", "DELETE")} == dict.fromkeys(
        ("GET", "POST", "PATCH", "DELETE"), 0
    )
    assert (story.booking()["version"], drifts()) == (version, [])


def test_a_whole_life_takes_few_calls(story: Story) -> None:
    story.booked()
    story.move(at(3, 10))
    story.quiet()
    story.cancel()
    story.quiet()
    assert [story.calls(method) for method in ("POST", "PATCH", "DELETE")] == [1, 1, 1]
    assert story.world.calls("GET", "/zoom/api/v2/meetings/") <= 3, "before and after the change, and when its echo came"


def test_a_running_meeting_is_deleted_when_it_is_over(story: Story) -> None:
    story.booked()
    story.world.move_clock(seconds=(at(2, 8, 50) - story.world.clock.now()).total_seconds())
    meeting = story.meeting()
    story.outside(f"/{meeting.id}/start")
    story.cancel()
    story.quiet()
    assert story.meeting().id == meeting.id, "Zoom deletes none that runs"
    story.outside(f"/{meeting.id}/end")
    story.later(SWEEP)
    assert (story.meetings(), story.booking()["meetingUrl"]) == ([], None)


# ---- away and back -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["move", "cancel"])
def test_what_changed_while_zoom_was_disconnected_is_caught_up(world: World, change: str) -> None:
    story = Story(world, linked="OAUTH")
    story.booked()
    story.clara.one(DISCONNECT, provider="ZOOM")
    story.move(at(3, 10)) if change == "move" else story.cancel()
    story.quiet()
    assert story.meeting().start == at(2, 9), "nobody may touch it now"
    connect(story.clara, "OAUTH")
    story.later(SWEEP)
    assert [m.start for m in story.meetings()] == ([at(3, 10)] if change == "move" else [])
    assert story.calls("POST") == 1


@pytest.mark.parametrize("change", ["move", "cancel"])
def test_what_changed_while_the_link_was_broken_is_caught_up(world: World, change: str) -> None:
    story = Story(world, linked="OAUTH")
    story.booked()
    world.sandbox_call("zoom/tokens/revoke", email=story.clara.email, clientId=CLIENT_ID)
    story.move(at(3, 10)) if change == "move" else story.cancel()
    story.quiet()
    status = story.status()
    assert (status["state"], status["problem"]["code"]) == ("NEEDS_RECONNECT", "REVOKED")
    connect(story.clara, "OAUTH")
    story.later(SWEEP)
    assert [m.start for m in story.meetings()] == ([at(3, 10)] if change == "move" else [])
    assert (story.calls("POST"), story.status()["state"]) == (1, "ACTIVE")


def test_linked_again_what_is_missing_is_made_at_once(world: World) -> None:
    story = Story(world, linked="OAUTH")
    story.clara.one(DISCONNECT, provider="ZOOM")
    assert story.booked()["meetingUrl"] is None
    connect(story.clara, "OAUTH")
    story.quiet()
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), world)


def test_app_deauthorized_unlinks_and_deletes(world: World) -> None:
    story = Story(world, linked="OAUTH")
    booking = story.booked()
    assert world.sandbox_call("zoom/deauthorize", email=story.clara.email) == {"count": 1}
    story.quiet()
    status = story.status()
    assert (status["state"], status["linkedAccount"]) == ("NOT_CONNECTED", None)
    after = story.booking()
    assert (after["id"], after["status"], after["meetingUrl"]) == (booking["id"], "CONFIRMED", None)
    assert MeetingRow.select().count() == 0
    assert LinkedAccount.get(LinkedAccount.provider == "zoom").email is None
    posts = story.calls("POST")
    story.later(SWEEP)
    assert story.calls("POST") == posts
    connect(story.clara, "OAUTH")
    assert story.status()["state"] == "ACTIVE"


# ---- adopted -------------------------------------------------------------------------------------------------------------------


def writes(story: Story) -> int:
    return sum(story.calls(method) for method in ("POST", "PATCH", "DELETE"))


def test_the_meeting_that_calendly_makes_is_adopted_and_never_touched(world: World) -> None:
    story = Story(world, **OWN_CONFERENCE)
    booking = story.booked()
    assert (booking["meetingUrl"], story.meetings()) == (None, []), "it is in work"
    story.later(6)
    assert story.booking()["meetingUrl"].startswith("https://zoom.example/j/")
    story.move(at(3, 10))
    story.quiet()
    story.later(6)
    assert story.booking()["start"] == iso(at(3, 10))
    assert story.booking()["meetingUrl"].startswith("https://zoom.example/j/")
    story.later(SWEEP)
    story.cancel()
    story.quiet()
    assert (writes(story), story.meetings()) == (0, [])


def test_where_calendlys_own_one_failed_ours_takes_its_place(world: World) -> None:
    world.sandbox_call("calendly/switches", "PUT", conferenceFails=True)
    story = Story(world, **OWN_CONFERENCE)
    story.booked()
    assert (story.booking()["meetingUrl"], writes(story)) == (None, 0)
    story.later(6)
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), world)
    story.cancel()
    story.quiet()
    assert story.meetings() == []


def test_one_that_never_comes_is_not_asked_for_for_ever(world: World) -> None:
    world.sandbox_call("calendly/switches", "PUT", conferenceSeconds=None)
    story = Story(world, **OWN_CONFERENCE)
    story.booked()
    for _ in range(14):
        story.later(150)
    assert (story.booking()["meetingUrl"], writes(story)) == (None, 0)
    asked_for = world.calls("GET", "/calendly/api/scheduled_events/")
    assert asked_for < 100
    story.later(240)
    assert world.calls("GET", "/calendly/api/scheduled_events/") <= asked_for + 2


def room(number: str = "81234567890") -> dict[str, Any]:
    return {"locations": [{"type": "link", "link": f"https://us02web.zoom.us/j/{number}?pwd=abc", "public": True}]}


def test_a_booking_at_calcom_with_a_zoom_link_is_never_doubled(world: World) -> None:
    story = Story(world, "CAL_COM", **room())
    assert story.booked()["meetingUrl"] == "https://us02web.zoom.us/j/81234567890?pwd=abc"
    story.move(at(3, 10))
    story.quiet()
    story.later(SWEEP)
    story.cancel()
    story.quiet()
    assert (writes(story), story.meetings()) == (0, [])


def test_where_calcom_makes_a_conference_zoom_makes_none(world: World) -> None:
    story = Story(world, "CAL_COM", locations=[{"type": "integration", "integration": "cal-video"}])
    link = story.booked()["meetingUrl"]
    assert link
    assert (writes(story), "zoom" in link) == (0, False)


def test_ours_makes_room_for_one_that_the_coach_gives_the_booking(world: World) -> None:
    story = Story(world, "CAL_COM")
    story.booked()
    assert len(story.meetings()) == 1
    world.move_clock(minutes=1)
    key = world.sandbox_call("calcom/api-keys", email=story.clara.email)["apiKey"]
    headers = {"Authorization": f"Bearer {key}", "cal-api-version": "2024-08-13"}
    link = "https://us02web.zoom.us/j/81234567890?pwd=abc"
    url = f"{world.sandbox.url}/calcom/v2/bookings/{story.booking()['externalId']}/location"
    changed = httpx.patch(url, json={"location": {"type": "link", "link": link}}, headers=headers)
    assert changed.status_code == 200, changed.text
    story.later(SWEEP)
    assert (story.booking()["meetingUrl"], story.meetings()) == (link, [])


# ---- limits and permissions ------------------------------------------------------------------------------------------------------


def test_a_daily_limit_harms_no_booking_and_is_over_at_midnight(story: Story) -> None:
    story.booked(at(3, 9))
    story.world.sandbox_call("zoom/limits", "PUT", dailyPerHost=1)
    story.book(at(3, 11), "Mia")
    story.book(at(3, 13), "Jan")
    story.quiet()
    assert len(story.meetings()) == 2
    status = story.status()
    assert (status["state"], status["problem"]["code"], status["problem"]["retryAt"]) == ("DEGRADED", "RATE_LIMITED", iso(at(2, 0)))
    late = next(b for b in story.clara.bookings() if b["meetingUrl"] is None)
    assert late["status"] == "CONFIRMED"

    posts = story.calls("POST")
    story.later(600)
    assert story.calls("POST") == posts, "it waits until then"
    story.world.move_clock(seconds=(at(2, 0) - story.world.clock.now()).total_seconds() + 1)
    story.world.sandbox.world.zoom.limits["dailyPerHost"] = 100
    story.quiet()
    assert len(story.meetings()) == 3
    assert all(b["meetingUrl"] for b in story.clara.bookings())
    assert (story.status()["state"], story.status()["problem"]) == ("ACTIVE", None)


def test_while_the_daily_limit_holds_a_meeting_is_deleted_all_the_same(story: Story) -> None:
    story.booked(at(3, 9))
    (first,) = story.clara.bookings()
    story.world.sandbox_call("zoom/limits", "PUT", dailyPerHost=1)
    story.book(at(3, 11), "Mia")
    story.book(at(3, 13), "Jan")
    story.quiet()
    assert story.clara.cancel(first["id"])["__typename"] == "BookingCancelled"
    story.quiet()
    assert at(3, 9) not in {m.start for m in story.meetings()}
    status = story.status()
    assert (status["state"], status["problem"] and status["problem"]["code"]) == ("DEGRADED", "RATE_LIMITED"), "it still holds"


def test_a_move_under_the_daily_limit_keeps_the_link_and_is_caught_up(story: Story) -> None:
    booking = story.booked(at(3, 9))
    story.world.sandbox_call("zoom/limits", "PUT", dailyPerHost=1)
    story.book(at(4, 9), "Mia")
    story.quiet()
    story.move(at(3, 15))
    story.quiet()
    moved = next(b for b in story.clara.bookings() if b["id"] == booking["id"])
    assert (moved["start"], moved["meetingUrl"]) == (iso(at(3, 15)), booking["meetingUrl"])
    assert {m.start for m in story.meetings()} == {at(3, 9), at(4, 9)}
    assert story.status()["problem"]["retryAt"] == iso(at(2, 0))
    story.world.move_clock(seconds=(at(2, 0) - story.world.clock.now()).total_seconds() + 1)
    story.quiet()
    assert {m.start for m in story.meetings()} == {at(3, 15), at(4, 9)}
    assert story.status()["state"] == "ACTIVE"


@pytest.mark.parametrize("status", [400, 401])
def test_a_missing_scope_is_named_and_mended(world: World, status: int) -> None:
    world.sandbox_call("zoom/switches", "PUT", missingScopeStatus=status)
    account_app(world, scopes=[scope for scope in scopes.ACCOUNT if not scope.startswith("meeting:write")])
    story = Story(world)
    booking = story.booked()
    assert (booking["status"], booking["meetingUrl"], story.meetings()) == ("CONFIRMED", None, [])
    problem = story.status()["problem"]
    assert problem["code"] == "SCOPE_MISSING"
    assert [s for s in problem["missingScopes"] if s.startswith("meeting:write")]
    assert exchanges(world) == 1, "another token would lack it as well"
    account_app(world)
    world.move_clock(minutes=5)
    connect(story.clara)
    story.quiet()
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), world)
    assert story.status()["state"] == "ACTIVE"


def test_a_host_who_may_not_host_is_told_so_and_it_is_made_after_connecting_again(world: World) -> None:
    story = Story(world)
    host = next(one for one in world.sandbox.world.zoom.users.values() if one.email == story.clara.email)
    host.status = "pending"
    booking = story.booked()
    assert (booking["status"], booking["meetingUrl"], story.meetings()) == ("CONFIRMED", None, [])
    told = story.status()
    assert (told["state"], told["problem"]["code"]) == ("NEEDS_RECONNECT", "PLAN_REQUIRED")
    assert told["message"].startswith("Your Zoom plan does not include what Convene needs. Connect Zoom again")
    tried = world.calls("POST", "/meetings")
    world.move_clock(hours=3)
    world.jobs()
    assert (tried, world.calls("POST", "/meetings")) == (1, 1), "only the person can change it"
    host.status = "active"
    connect(story.clara)
    story.quiet()
    assert story.booking()["meetingUrl"] == link_of(story.meeting(), world)
    assert story.status()["state"] == "ACTIVE"


def test_a_permission_that_was_not_granted_is_named_and_given_later(world: World) -> None:
    story = Story(world, creates=False)
    story.clara.one(DISCONNECT, provider="ZOOM")
    begun = story.clara.begin(provider="ZOOM")
    story.clara.consent(begun, granted=[scope for scope in scopes.PERSONAL if scope != "meeting:write:meeting"])
    assert story.clara.complete(begun["state"])["__typename"] == "ProviderLinked"
    story.switch(createsZoomMeeting=True)
    assert story.booked()["status"] == "CONFIRMED"
    status = story.status()
    assert (status["state"], status["problem"]["code"], story.meetings()) == ("NEEDS_RECONNECT", "SCOPE_MISSING", [])
    assert "meeting:write:meeting" in status["problem"]["missingScopes"]
    connect(story.clara, "OAUTH")
    story.quiet()
    assert (story.status()["state"], story.booking()["meetingUrl"]) == ("ACTIVE", link_of(story.meeting(), world))


def test_a_hosts_secrets_are_nowhere(world: World) -> None:
    story = Story(world, records=True)
    booking = story.booked()
    story.move(at(3, 10))
    story.quiet()
    story.outside(f"/{story.meeting().id}", "PATCH", topic="Another")
    story.quiet()
    story.held(at(3, 10), recording=True, transcript=True)
    answers = json.dumps([story.clara.bookings(), story.otto.bookings(), story.status(), booking])
    kept = stored(world.database_url)
    for secret in ("zak=", "start_url", "/zoom/web/s/", "download_token"):
        assert secret not in answers
        assert secret not in world.logged.getvalue()
        assert secret.encode() not in kept
    tokens = [t.text for t in world.sandbox.world.zoom.tokens.values()]
    assert tokens
    for token in tokens:
        assert token not in world.logged.getvalue()
        assert token.encode() not in kept


# ---- recordings ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["CALENDLY", "CAL_COM"])
def test_recordings_hang_on_the_booking_for_its_participants(world: World, provider: str) -> None:
    story = Story(world, provider, records=True)
    story.booked()
    story.held(at(2, 9), recording=True, transcript="later")
    (recording,) = world.sandbox.world.zoom.recordings.values()
    shown = recordings_of(story.clara)
    assert sorted(r["kind"] for r in shown) == ["audio_only", "chat_file", "shared_screen_with_speaker_view", "timeline"]
    assert {(r["start"], r["end"]) for r in shown} == {(iso(at(2, 9)), iso(at(2, 9, 30)))}
    assert all(r["url"].endswith(f"pwd={recording.play_passcode}") for r in shown)
    assert recordings_of(story.otto) == shown
    assert (told(story.clara), told(story.otto)) == (1, 1)

    story.outside(f"/{story.meeting().id}/transcript")
    story.quiet()
    assert "audio_transcript" in {r["kind"] for r in recordings_of(story.otto)}
    assert (told(story.clara), told(story.otto)) == (1, 1), "the recording was told already"

    admin = world.caller("Ada", admin=True)
    asked_by_admin = admin.one("query($id: ID!) { booking(id: $id) { recordings { url } } }", id=story.booking()["id"])
    assert asked_by_admin == {"recordings": []}


def test_a_meeting_stopped_and_started_again_has_two_sessions(world: World) -> None:
    story = Story(world, records=True)
    story.booked()
    story.held(at(2, 9), recording=True, twice=True)
    shown = recordings_of(story.clara)
    assert (len(shown), len({r["id"] for r in shown}), len({r["start"] for r in shown})) == (8, 8, 2)
    assert (told(story.clara), told(story.otto)) == (2, 2)


def test_a_recording_that_is_told_twice_is_kept_once(world: World) -> None:
    story = Story(world, records=True)
    story.booked()
    world.sandbox.fault({"kind": "duplicate", "count": 3}, webhook="recording.completed")
    story.held(at(2, 9), recording=True)
    first = recordings_of(story.clara)
    (entry, *_) = [e for e in world.sandbox.world.deliveries.entries() if e.outgoing.event == "recording.completed"]
    # the same again in other bytes, as a retry that is made anew
    signed(world, entry.outgoing.body + b" ")
    story.quiet()
    assert (recordings_of(story.clara), len(first)) == (first, 4)
    assert (told(story.clara), told(story.otto)) == (1, 1)


def test_a_recording_that_two_apps_tell_is_kept_once(world: World) -> None:
    """The account's app and the one that the coach authorized are both told, each with a token of its own."""
    story = Story(world, linked="OAUTH", records=True)
    story.booked()
    story.held(at(2, 9), recording=True)
    sent = [e for e in world.sandbox.world.deliveries.entries() if e.outgoing.event == "recording.completed"]
    assert len(sent) == 2
    assert (len(recordings_of(story.otto)), told(story.clara), told(story.otto)) == (4, 1, 1)


def test_a_recording_that_comes_late_is_found_by_its_meeting(world: World) -> None:
    story = Story(world, records=True)
    story.booked()
    story.held(at(2, 9), recording="later")
    assert (recordings_of(story.clara), told(story.clara)) == ([], 0)
    world.move_clock(hours=20)
    story.outside(f"/{story.meeting().id}/recording")
    story.quiet()
    assert (len(recordings_of(story.clara)), told(story.clara)) == (4, 1)


def test_what_zoom_still_works_on_is_not_shown(world: World) -> None:
    story = Story(world, records=True)
    story.booked()
    number = story.meeting().id
    assert number > 2**32
    done = {"recording_start": iso(at(2, 9)), "recording_end": iso(at(2, 9, 30)), "file_type": "MP4"}
    files = [
        {**done, "id": "f1", "status": "completed", "play_url": "https://zoom.example/rec/play/f1"},
        {**done, "id": "f2", "status": "processing", "play_url": "https://zoom.example/rec/play/f2"},
        {**done, "status": "processing"},
        {**done, "id": "f4", "status": "completed"},
    ]
    content = {"id": number, "host_id": host_id(world), "uuid": "/abc==", "recording_files": files, "recording_play_passcode": "p4ss"}
    event = {"event": "recording.completed", "event_ts": 1_803_900_000_000, "payload": {"object": content}, "download_token": "secret"}
    assert signed(world, json.dumps(event).encode()).status_code == 200
    story.quiet()
    assert [r["url"] for r in recordings_of(story.clara)] == ["https://zoom.example/rec/play/f1?pwd=p4ss"]


def host_id(world: World, email: str = "clara@example.test") -> str:
    user = world.sandbox.world.zoom.user(email)
    assert user is not None
    return user.id


def told_of_recording(world: World, number: int | str, start: datetime, file_id: str = "f1", host: str = "clara@example.test") -> None:
    """A recording of a meeting that the sandbox's Zoom does not know."""
    page = f"https://zoom.example/rec/play/{file_id}"
    file = {"id": file_id, "status": "completed", "file_type": "MP4", "play_url": page}
    file |= {"recording_start": iso(start), "recording_end": iso(start)}
    content = {"id": int(number), "host_id": host_id(world, host), "uuid": f"{file_id}==", "recording_files": [file]}
    event = {"event": "recording.completed", "event_ts": 1_803_900_000_000, "payload": {"object": content}}
    assert signed(world, json.dumps(event).encode()).status_code == 200


@pytest.mark.parametrize("provider", ["CALENDLY", "CAL_COM"])
def test_an_adopted_meetings_recordings_hang_on_its_booking(world: World, provider: str) -> None:
    story = Story(world, provider, **(OWN_CONFERENCE if provider == "CALENDLY" else room()))
    story.booked()
    story.later(6)
    number = story.booking()["meetingUrl"].rsplit("/", 1)[1].partition("?")[0]
    world.move_clock(days=2)
    told_of_recording(world, number, at(2, 9, 1))
    story.quiet()
    assert [r["url"] for r in recordings_of(story.otto)] == ["https://zoom.example/rec/play/f1"]
    assert (told(story.clara), told(story.otto)) == (1, 1)
    assert writes(story) == 0


def test_in_a_room_that_serves_several_bookings_each_has_its_own(world: World) -> None:
    story = Story(world, "CAL_COM", **room())
    story.book(at(2, 9), "Otto")
    story.book(at(2, 10), "Mia")
    story.quiet()
    world.move_clock(days=2)
    told_of_recording(world, "81234567890", at(2, 9, 2), "f1")
    told_of_recording(world, "81234567890", at(2, 10, 1), "f2")
    story.quiet()
    mia = world.caller("Mia")
    assert [r["url"] for r in recordings_of(story.otto)] == ["https://zoom.example/rec/play/f1"]
    assert [r["url"] for r in recordings_of(mia)] == ["https://zoom.example/rec/play/f2"]
    assert (told(story.otto), told(mia)) == (1, 1)


def test_what_else_the_coach_records_in_that_room_is_nobodys(world: World) -> None:
    """A room is used for other talks too: what was not recorded around the booking's time is not its recording."""
    story = Story(world, "CAL_COM", **room())
    story.booked(at(2, 9))
    world.move_clock(days=7)
    told_of_recording(world, "81234567890", at(6, 15), "private")
    story.quiet()
    assert (recordings_of(story.otto), told(story.otto)) == ([], 0)


def test_a_room_of_somebody_elses_gives_nothing_away(world: World) -> None:
    """Whoever books may have written the link: another host's recordings are not this coach's booking's."""
    zoom_user(world, world.caller("Mallory"))
    story = Story(world, "CAL_COM", **room())
    story.booked()
    world.move_clock(days=2)
    told_of_recording(world, "81234567890", at(2, 9, 1), host="mallory@example.test")
    story.quiet()
    assert (recordings_of(story.otto), told(story.otto), told(story.clara)) == ([], 0, 0)


def test_who_left_a_group_event_gets_none_of_its_recordings(world: World) -> None:
    story = Story(world, records=True, **GROUP)
    story.book(at(2, 9), "Otto")
    story.book(at(2, 9), "Mia")
    story.quiet()
    story.leave("Otto")
    story.held(at(2, 9), recording=True)
    mia = world.caller("Mia")
    assert (len(recordings_of(mia)), told(mia)) == (4, 1)
    assert (recordings_of(story.otto), told(story.otto)) == ([], 0)


def test_a_group_events_recordings_are_everybodys(world: World) -> None:
    story = Story(world, records=True, **GROUP)
    story.book(at(2, 9), "Otto")
    story.book(at(2, 9), "Mia")
    story.quiet()
    story.held(at(2, 9), recording=True)
    mia = world.caller("Mia")
    assert recordings_of(mia) == recordings_of(story.otto)
    assert (told(mia), told(story.otto)) == (1, 1)


def test_a_recording_of_a_meeting_that_is_none_of_ours_is_nobodys(story: Story) -> None:
    story.booked()
    told_of_recording(story.world, 99_999_999_999, at(2, 9))
    story.quiet()
    assert (recordings_of(story.clara), told(story.clara)) == ([], 0)


# ---- webhooks --------------------------------------------------------------------------------------------------------------------


def signature(secret: str, stamp: str, body: bytes) -> str:
    return "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()


def signed(world: World, body: bytes, secret: str = ZOOM_SECRET, stamp: str = "1803900000") -> httpx.Response:
    headers = {"x-zm-request-timestamp": stamp, "x-zm-signature": signature(secret, stamp, body), "Content-Type": "application/json"}
    return world.http.post("/webhooks/zoom", content=body, headers=headers)


def stored_events(world: World) -> int:
    admin = world.caller("Ada", admin=True)
    return len(admin.one("query { webhookEvents(first: 100) { edges { node { kind provider } } } }")["edges"])


def test_only_what_zoom_signed_is_taken(world: World) -> None:
    body = '{"event":"meeting.ended", "payload":{"object":{"id":"1","topic":"Überblick"}}}'.encode()
    good = {"x-zm-request-timestamp": "1803900000000", "x-zm-signature": signature(ZOOM_SECRET, "1803900000000", body)}
    bad: list[dict[str, str]] = [
        {},
        {"x-zm-signature": good["x-zm-signature"]},
        {**good, "x-zm-request-timestamp": "1803900000001"},
        {**good, "x-zm-signature": signature("another", "1803900000000", body)},
        {**good, "x-zm-signature": good["x-zm-signature"].replace("v0=", "v1=")},
        {**good, "x-zm-signature": good["x-zm-signature"].removeprefix("v0=")},
    ]
    for headers in bad:
        assert world.http.post("/webhooks/zoom", content=body, headers=headers).status_code == 401
    assert world.http.post("/webhooks/zoom", content=body + b" ", headers=good).status_code == 401
    assert stored_events(world) == 0
    assert world.http.post("/webhooks/zoom", content=body, headers=good).status_code == 200
    assert world.http.post("/webhooks/zoom", content=body, headers=good).status_code == 200, "a repeat is taken as well"
    assert stored_events(world) == 1
    assert signed(world, b"not json").status_code == 400


def test_the_challenge_is_answered_rightly_and_only_to_zoom(world: World) -> None:
    assert set(world.sandbox_call("zoom/validate").values()) == {True}
    body = json.dumps({"event": "endpoint.url_validation", "payload": {"plainToken": "abc"}}).encode()
    answer = signed(world, body)
    expected = hmac.new(ZOOM_SECRET.encode(), b"abc", hashlib.sha256).hexdigest()
    assert (answer.status_code, answer.json()) == (200, {"plainToken": "abc", "encryptedToken": expected})
    refused = signed(world, body, secret="another")
    assert refused.status_code == 401
    assert "encryptedToken" not in refused.text
    assert stored_events(world) == 0
    world.move_clock(hours=73)
    assert set(world.sandbox_call("zoom/validate", due=True).values()) == {True}


class TwoSecrets(World):
    """An installation whose two Zoom apps have a secret each."""

    def _provider_settings(self) -> dict[str, ProviderSettings]:
        providers = super()._provider_settings()
        zoom = providers["zoom"].model_copy(update={"webhook_secrets": ("the-other-secret", ZOOM_SECRET)})
        return {**providers, "zoom": zoom}


@pytest.fixture
def two_secrets(database_url: str, issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[World]:
    shared_sandbox.reset()
    with TwoSecrets(database_url, issuer, shared_sandbox) as running:
        clean()
        yield running


def test_with_two_secrets_each_app_is_answered_with_its_own(two_secrets: World) -> None:
    account_app(two_secrets, secretToken="the-other-secret")
    assert two_secrets.sandbox_call("zoom/validate") == {CLIENT_ID: True, "convene-account": True}
    story = Story(two_secrets)
    story.booked()
    story.outside(f"/{story.meeting().id}", "PATCH", start_time=iso(at(5, 9)))
    story.quiet()
    assert (story.meeting().start, drifts()) == (at(2, 9), ["CHANGED"])


def test_a_forged_deauthorization_unlinks_nobody(world: World) -> None:
    clara = world.caller("Clara")
    user = zoom_user(world, clara)
    connect(clara, "OAUTH")
    body = json.dumps({"event": "app_deauthorized", "payload": {"user_id": user["id"]}}).encode()
    assert signed(world, body, secret="another").status_code == 401
    world.jobs()
    assert clara.one(CONNECTION, provider="ZOOM")["state"] == "ACTIVE"


def test_events_that_mean_nothing_to_us_are_kept_and_change_nothing(story: Story) -> None:
    story.booked()
    version = story.booking()["version"]
    for event in (
        {"event": "meeting.started", "payload": {"object": {"id": str(story.meeting().id)}}},
        {"event": "user.created", "payload": None},
        {"event": "recording.completed", "payload": {"object": {"id": story.meeting().id}}},
        {"event": "recording.completed", "payload": {"object": {"id": story.meeting().id, "uuid": "x", "recording_files": [None]}}},
        {"event": 5},
        ["no object"],
    ):
        assert signed(story.world, json.dumps(event).encode()).status_code == 200
    posts = story.calls("POST")
    story.quiet()
    assert (story.booking()["version"], story.calls("POST"), recordings_of(story.clara)) == (version, posts, [])
    admin = story.world.caller("Ada", admin=True)
    states = admin.one("query { webhookEvents(first: 100) { edges { node { state provider } } } }")["edges"]
    assert {e["node"]["state"] for e in states} <= {"APPLIED", "IGNORED"}
