"""What fuzzing found, each as the smallest input that shows it."""

import base64
import json
from collections.abc import Callable, Iterator
from email import message_from_string
from email.policy import default
from typing import Any

import pytest
from harness import REFRESH, SYNC, Issuer, World, at
from joserfc import jwt
from keeping import Ways
from mailing import empty, mailing_world, mails, states
from system.fuzz_proxy import Answer, Exchange, proxy, tapped, tapped_ways
from test_fuzz_answers import Stage, stage, surprise, told

from models import Delivery, EventType, OAuthState
from sandbox.app import Sandbox

__all__ = ["proxy", "stage", "tapped", "tapped_ways"]
JSON_TYPE = (("Content-Type", "application/json"),)


def surprises(world: World) -> set[str]:
    return {cause for line in world.logged.getvalue().splitlines() if (cause := surprise(line))}


def unsurprised(world: World) -> None:
    causes = surprises(world)
    assert not causes, told({cause: [] for cause in causes})


def says(
    kind: str, content: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = JSON_TYPE
) -> Callable[[Exchange], Answer | None]:
    """All answers of that kind are this."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda exchange: Answer(body, status, headers) if exchange.kind == kind else None


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


# ---- callers ------------------------------------------------------------------------------------------------------------------


CRIT = b'{"alg": "ES256", "kid": "first", "crit": 5}'


@pytest.mark.parametrize(("method", "path"), [("POST", "/graphql"), ("POST", "/tokens/cal/managed-user"), ("GET", "/audit/export")])
def test_a_token_whose_crit_is_no_list_is_refused_as_any_other(world: World, method: str, path: str) -> None:
    """Nobody has to be signed in for it: it was a 500."""
    token = f"{b64(CRIT)}.e30.AA"
    answer = world.http.request(method, path, headers={"Authorization": f"Bearer {token}"}, json={"query": "{ viewer { id } }"})
    assert answer.status_code == 401, answer.text
    unsurprised(world)


def test_a_token_that_ends_at_no_number_is_refused(world: World) -> None:
    """`NaN` compares with nothing, so such a token never ended."""
    payload = {"iss": world.issuer.url, "aud": world.issuer.audience, "sub": "someone", "exp": float("nan")}
    token = jwt.encode({"alg": "ES256", "kid": world.issuer.key.kid}, payload, world.issuer.key)
    answer = world.http.post("/graphql", json={"query": "{ viewer { id } }"}, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("after", ["0" * 5000, "00000000000000000001" + "9" * 30], ids=["zeros", "long"])
def test_an_export_after_a_number_that_is_none_is_bad_input(world: World, after: str) -> None:
    admin = world.caller("Ada", admin=True)
    answer = world.http.get(f"/audit/export?after={after}", headers={"Authorization": f"Bearer {admin.token}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_USER_INPUT")
    unsurprised(world)


WINDOW = '{start: "2027-03-02T00:00:00Z", end: "2027-03-03T00:00:00Z"}'


@pytest.mark.parametrize("target", ["{}", "{bookingId: null}", '{bookingId: "x", eventTypeId: "y"}'])
@pytest.mark.parametrize(
    "field", ["availability(input: {target: %s, window: WINDOW})", 'explainSlot(input: {target: %s, start: "2027-03-02T09:00:00Z"})']
)
def test_a_oneof_input_in_the_document_with_none_or_two_is_bad_input(world: World, field: str, target: str) -> None:
    """As a variable it always was."""
    query = "{ " + (field % target).replace("WINDOW", WINDOW) + " { __typename } }"
    (error,) = world.caller("Clara").errors(query)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    unsurprised(world)


@pytest.mark.parametrize(("error", "kept"), [("a\0b", "ab"), ("\0", "no code"), ("x" * 5000, "x" * 100)])
def test_a_refusal_with_u0000_is_kept_without(world: World, error: str, kept: str) -> None:
    begun = world.caller("Clara").begin()
    answer = world.http.get("/oauth/calcom/callback", params={"state": begun["state"], "error": error})
    assert answer.status_code == 303
    assert OAuthState.get().error == kept
    unsurprised(world)


# ---- token endpoints ---------------------------------------------------------------------------------------------------------

TOKEN_KINDS = {
    "CAL_COM": "POST /calcom/*/auth/*/token",
    "CALENDLY": "POST /calendly/auth/oauth/token",
    "ZOOM": "POST /zoom/web/oauth/token",
}
PAIR = {"access_token": "fresh", "refresh_token": "next", "token_type": "bearer"}


@pytest.mark.parametrize("expires_in", ["soon", {}, [], 1e300, -1e300, "9" * 5000], ids=lambda value: repr(value)[:8])
@pytest.mark.parametrize("provider", TOKEN_KINDS)
def test_a_pair_whose_life_cannot_be_read_is_kept(stage: Stage, provider: str, expires_in: Any) -> None:
    """Its refresh token is the only one that lives: how long the access token does is not known then."""
    stage.world.proxy.change = says(TOKEN_KINDS[provider], {**PAIR, "expires_in": expires_in})
    answer = stage.coach.one(REFRESH, provider=provider, force=True)
    assert answer["__typename"] == "ConnectionRefreshed", answer
    assert answer["status"]["linkedAccount"]["accessTokenExpiresAt"] is None
    unsurprised(stage.world)


@pytest.mark.parametrize("token", ["é", "a\nb", "", " "], ids=["not-ascii", "two-lines", "empty", "blank"])
def test_a_token_that_cannot_be_sent_is_not_taken(stage: Stage, token: str) -> None:
    """Kept as the account's own it would make a surprise of every call from then on."""
    stage.world.proxy.change = says(TOKEN_KINDS["CALENDLY"], {**PAIR, "access_token": token, "expires_in": 7200})
    answer = stage.coach.one(REFRESH, provider="CALENDLY", force=True)
    assert answer["__typename"] == "ProviderFailure", answer
    stage.world.proxy.change = None
    stage.coach.one(SYNC, provider="CALENDLY")
    unsurprised(stage.world)


# ---- answers --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "retry_after", ["9" * 5000, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"], ids=["too-many-digits", "a-year-beyond-all"]
)
def test_a_retry_after_that_is_no_time_counts_as_none(stage: Stage, retry_after: str) -> None:
    refusal = says("GET /calcom/*/bookings", {}, 429, (*JSON_TYPE, ("Retry-After", retry_after)))
    stage.world.proxy.change = refusal
    answer = stage.coach.one(SYNC)
    assert (answer["__typename"], answer["code"]) == ("ProviderFailure", "RATE_LIMITED")
    unsurprised(stage.world)


CALENDARS = "GET /calcom/*/calendars"


@pytest.mark.parametrize(
    "content",
    [
        {"data": []},
        {"data": "x"},
        {"data": {"connectedCalendars": "x"}},
        {"data": {"connectedCalendars": 5}},
        {"data": {"connectedCalendars": [1]}},
        {"data": {"connectedCalendars": [{"calendars": 5}]}},
        {"data": {"connectedCalendars": [{"calendars": ["x"]}]}},
    ],
    ids=repr,
)
def test_calendars_that_are_none_are_a_broken_answer(stage: Stage, content: Any) -> None:
    """The mentee's side cannot be asked, which the answer says."""
    stage.world.proxy.change = says(CALENDARS, content)
    stage.slots("CAL_COM")
    stage.book("CAL_COM")
    unsurprised(stage.world)


@pytest.mark.parametrize("pagination", ["x", [], 5, {"next_page_token": {}}], ids=repr)
def test_a_page_that_names_no_next_one_is_a_broken_answer(stage: Stage, pagination: Any) -> None:
    stage.world.proxy.change = says("GET /calendly/api/scheduled_events", {"collection": [], "pagination": pagination})
    stage.sync("CALENDLY")
    stage.world.proxy.change = says("GET /calcom/*/bookings", {"data": [], "pagination": pagination})
    stage.sync("CAL_COM")
    unsurprised(stage.world)


@pytest.mark.parametrize("item", [1, "a", None, [], {"id": None, "agenda": 5}], ids=repr)
def test_a_list_of_meetings_with_something_else_in_it_keeps_no_job_away(stage: Stage, item: Any) -> None:
    stage.world.proxy.change = says("GET /zoom/api/*/users/me/meetings", {"meetings": [item]})
    stage.jobs("ZOOM")
    unsurprised(stage.world)


@pytest.mark.parametrize("made", [[], "x", {}, {"id": None}, 5], ids=repr)
def test_a_subscription_without_an_id_is_a_broken_answer(stage: Stage, made: Any) -> None:
    """Cal.com's answer to a new webhook, of somebody who connects again."""
    stage.disconnect("CAL_COM")
    stage.world.proxy.change = says("POST /calcom/*/webhooks", {"data": made}, 201)
    begun = stage.mentee.begin()
    stage.mentee.consent(begun)
    assert stage.mentee.complete(begun["state"])["__typename"] == "ProviderLinked"
    stage.quiet()
    unsurprised(stage.world)


def test_an_account_without_an_id_is_nobodys(stage: Stage) -> None:
    """`null` became the account "None", which the second user with one could not link."""
    stage.world.proxy.change = says("GET /calcom/*/me", {"data": {"id": None, "email": "clara@example.test", "name": "Clara"}})
    stage.world.move_clock(hours=2)
    begun = stage.coach.begin()
    stage.coach.consent(begun)
    done = stage.coach.complete(begun["state"])
    assert (done["__typename"], done["code"]) == ("ProviderFailure", "PROVIDER_UNAVAILABLE")


def test_what_one_account_is_given_as_a_cookie_goes_to_no_other(stage: Stage) -> None:
    """All calls share one client: what a provider sets for one person's call must not be sent with another's."""

    def set_cookie(exchange: Exchange) -> Answer | None:
        return Answer(exchange.body, exchange.status, (*JSON_TYPE, ("Set-Cookie", "session=claras; Path=/")))

    stage.world.proxy.change = set_cookie
    stage.coach.one(SYNC)
    stage.world.proxy.change = None
    stage.world.proxy.cookies.clear()
    stage.mentee.one(SYNC)
    assert set(stage.world.proxy.cookies) == {""}


# ---- U+0000, which PostgreSQL keeps in no text ---------------------------------------------------------------------------------


def test_taking_u0000_out_of_an_answer_makes_no_other(stage: Stage) -> None:
    r"""`\u\u00000000` is no JSON; without the escape in its middle it would be one, with U+0000 in it."""
    stage.world.proxy.change = says(
        "GET /calcom/*/event-types", b'{"data": [{"id": 1, "lengthInMinutes": 30, "title": "a\\u\\u00000000b"}]}'
    )
    stage.jobs("CAL_COM")
    unsurprised(stage.world)


def test_an_answer_with_an_escaped_backslash_is_read(stage: Stage) -> None:
    r"""`\\u0000` is a backslash and five letters, no U+0000: taking it out left half of an escape."""
    kind = {"id": 1, "lengthInMinutes": 30, "title": "C:\\u0000"}
    stage.world.proxy.change = says("GET /calcom/*/event-types", {"data": [kind]})
    stage.jobs("CAL_COM")
    # one id for everybody's: whose it is then is not what this is about
    assert EventType.select().where(EventType.title == "C:\\u0000").exists()


# ---- mail -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mailing(database_url: str, issuer: Issuer, shared_sandbox: Sandbox, ways: Ways) -> Iterator[World]:
    with mailing_world(database_url, issuer, shared_sandbox, ways) as running:
        yield running


@pytest.mark.parametrize(
    "name", ["=?utf-8?q?=0d=0aBcc:_all@example.test?=", "=?utf-8?q?=0d=0a=0d=0aPay_here:_https://evil.test?="], ids=["header", "body"]
)
def test_an_encoded_word_in_a_name_makes_no_header_and_no_body(mailing: World, name: str) -> None:
    """Anybody who books on the coach's page could write the mail that the coach gets: the title of a booking has their name in it."""
    clara = mailing.coach()
    mailing.book(clara, at(2, 9), name=name, email="otto@example.test")
    mailing.jobs()
    found = mails(mailing)
    assert sorted(mail["envelope"]["to"][0] for mail in found) == ["clara@example.test"]
    for mail in found:
        head = mail["raw"].replace("\r\n", "\n").partition("\n\n")[0]
        names = {line.partition(":")[0] for line in head.splitlines() if line[:1] not in {" ", "\t"}}
        assert names == LETTER_HEADERS
        assert "MIME-Version" in head
    unsurprised(mailing)


LETTER_HEADERS = {
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Date",
    "Auto-Submitted",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
}


@pytest.mark.parametrize(
    "name", ["a" * 100 + '"b', "a" * 100 + ", b", "=?utf-8?q?=0d=0aBcc:_all@example.test?="], ids=["quote", "comma", "encoded"]
)
def test_a_name_adds_nobody_to_whom_a_mail_is_addressed(mailing: World, name: str) -> None:
    """Whoever books chooses the name. A long one lost its quotes where the header was folded."""
    clara = mailing.coach()
    mailing.book(clara, at(2, 9), name=name, email="otto@example.test")
    mailing.jobs()
    (booking,) = clara.bookings()
    empty(mailing)
    clara.cancel(booking["id"])
    mailing.jobs()
    (mail,) = mails(mailing)
    message = message_from_string(mail["raw"], policy=default)
    (to,) = message["To"].addresses
    assert to.addr_spec == "otto@example.test"
    assert message["Bcc"] is None


@pytest.mark.parametrize("address", ["@example.test", "otto @example.test", "ot\tto@example.test"])
def test_an_address_that_is_none_is_dead_at_once(mailing: World, address: str) -> None:
    """It was a surprise at each of its tries, and with a space before the @ it was somebody else's."""
    clara = mailing.coach()
    mailing.book(clara, at(2, 9))
    mailing.jobs()
    Delivery.update(state="PENDING", address=address, due_at=mailing.clock.now()).execute()
    empty(mailing)
    mailing.jobs()
    assert {state for state, *_ in states()} == {"DEAD"}
    assert mails(mailing) == []
    unsurprised(mailing)
