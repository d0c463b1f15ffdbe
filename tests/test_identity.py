"""Who is calling: every wrong token, rotation of keys, and what a good token makes of its user."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from harness import BOOKINGS, Caller, Issuer, World, at, refusing
from joserfc import jwt
from joserfc.jwk import ECKey

from models import Person, PersonIdentity, User
from sandbox.app import Sandbox

VIEWER = "{ viewer { id name email timeZone isAdmin } }"
SUBJECT = "test|somebody"


@pytest.fixture
def own_issuer() -> Iterator[Issuer]:
    """An issuer of its own for tests that count what it is asked, or rotate its keys."""
    with Issuer() as running:
        yield running


@pytest.fixture
def own_world(world: World, database_url: str, own_issuer: Issuer, shared_sandbox: Sandbox) -> Iterator[World]:
    with World(database_url, own_issuer, shared_sandbox) as running:
        yield running


def ask(world: World, token: str | None, scheme: str = "Bearer") -> Any:
    headers = {} if token is None else {"Authorization": f"{scheme} {token}"}
    return world.http.post("/graphql", json={"query": VIEWER}, headers=headers)


def viewer(world: World, **claims: Any) -> dict[str, Any]:
    """The viewer of a token with these claims."""
    token = world.issuer.token(world.clock.now(), claims.pop("sub", SUBJECT), **claims)
    answer = ask(world, token)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]["viewer"]
    return found


def assert_refused(world: World, token: str | None, scheme: str = "Bearer") -> None:
    """401 with a GraphQL-shaped body that says what to do, nobody signed in, and the token repeated nowhere."""
    answer = ask(world, token, scheme)
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "data": None,
        "errors": [
            {
                "message": "Sign in first: send 'Authorization: Bearer <token>' with a valid token of your identity provider.",
                "extensions": {"code": "UNAUTHENTICATED"},
            }
        ],
    }
    assert User.select().count() == 0
    assert Person.select().count() == 0
    if token and len(token) > 20:
        assert token not in world.logged.getvalue()


def stamp(world: World, **shift: float) -> int:
    return int(world.clock.now().timestamp() + shift.get("seconds", 0))


# ---- every wrong token ------------------------------------------------------------------------------------------------------


def test_no_token(world: World) -> None:
    assert_refused(world, None)


def test_another_scheme(world: World) -> None:
    for scheme in ["Basic", "Token", "DPoP", "Bearerer"]:
        assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT), scheme)


def test_the_schemes_name_may_be_written_in_any_case(world: World) -> None:
    assert ask(world, world.issuer.token(world.clock.now(), SUBJECT), "bEARER").status_code == 200


def test_garbage(world: World) -> None:
    for token in ["garbage", "a.b.c", "..", "eyJhbGciOiJFUzI1NiJ9.e30.", "null", "x" * 20_000, "%00", "eyJ.eyJ.eyJ", "a b c", "1"]:
        assert_refused(world, token)


def test_a_header_without_a_token(world: World) -> None:
    for header in ["Bearer", "bearer", "Bearer\t", ""]:
        answer = world.http.post("/graphql", json={"query": VIEWER}, headers={"Authorization": header.strip()})
        assert answer.status_code == 401
        assert User.select().count() == 0


def test_garbage_that_is_no_text_at_all(world: World) -> None:
    answer = world.http.post("/graphql", json={"query": VIEWER}, headers=[(b"Authorization", b"Bearer \xff\xfe\xfd")])
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


def test_outside_its_time(world: World) -> None:
    for claims in [
        {"exp": -31},
        {"exp": -86_400},
        {"nbf": 31},
        {"nbf": 3600},
    ]:
        moved = {name: stamp(world, seconds=seconds) for name, seconds in claims.items()}
        assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT, **moved))


@pytest.mark.parametrize("claims", [{"exp": -29}, {"nbf": 29}])
def test_half_a_minute_of_grace_for_clocks_that_differ(world: World, claims: dict[str, int]) -> None:
    moved = {name: stamp(world, seconds=seconds) for name, seconds in claims.items()}
    assert ask(world, world.issuer.token(world.clock.now(), SUBJECT, **moved)).status_code == 200


def test_a_token_ends_while_convene_runs(world: World) -> None:
    token = world.issuer.token(world.clock.now(), SUBJECT)
    assert ask(world, token).status_code == 200
    world.move_clock(hours=1, seconds=31)
    assert ask(world, token).status_code == 401


def test_times_that_are_none(world: World) -> None:
    for claims in [{"exp": None}, {"exp": "tomorrow"}, {"exp": True}, {"nbf": "yesterday"}, {"nbf": {}}, {"exp": []}]:
        assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT, **claims))


def test_another_audience(world: World) -> None:
    for audience in ["another-application", ["a", "b"], "", None, [], "convene-tests-2", {"aud": 1}, 1, [["convene-tests"]]]:
        assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT, aud=audience))


def test_one_of_several_audiences_is_enough(world: World) -> None:
    assert ask(world, world.issuer.token(world.clock.now(), SUBJECT, aud=["other", Issuer.audience])).status_code == 200


def test_another_issuer(world: World) -> None:
    for wrong in ["https://elsewhere.example", "", None, 1, "convene-development"]:
        assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT, iss=wrong))


def test_the_issuers_address_with_a_slash_more_is_another_one(world: World) -> None:
    assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT, iss=f"{world.issuer.url}/"))


def test_without_a_subject(world: World) -> None:
    for subject in [None, "", 7, ["a"], {"sub": "a"}]:
        assert_refused(world, world.issuer.token(world.clock.now(), subject))


def test_the_algorithm_none(world: World) -> None:
    signed = world.issuer.token(world.clock.now(), SUBJECT)
    for name in ("none", "None", "NONE"):
        header = encoded(json.dumps({"alg": name, "kid": world.issuer.key.kid}).encode())
        assert_refused(world, f"{header}.{signed.split('.')[1]}.")
        assert_refused(world, f"{header}.{signed.split('.')[1]}.{signed.split('.')[2]}")


@pytest.mark.parametrize("form", ["pem", "der", "json"])
def test_the_public_key_taken_as_a_shared_secret(world: World, form: str) -> None:
    key = world.issuer.key
    secret = {"pem": key.as_pem(private=False), "der": key.as_der(private=False), "json": json.dumps(key.as_dict(private=False)).encode()}[
        form
    ]
    header = encoded(json.dumps({"alg": "HS256", "kid": key.kid}).encode())
    signed = f"{header}.{world.issuer.token(world.clock.now(), SUBJECT).split('.')[1]}"
    assert_refused(world, f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}")


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decoded(token: str) -> bytes:
    middle = token.split(".")[1]
    return base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))


def test_an_algorithm_that_is_not_allowed(world: World) -> None:
    """A real key of the issuer's, with an algorithm that the installation did not allow."""
    original = world.issuer.key
    other = ECKey.generate_key("P-384", {"kid": "first"}, private=True)
    claims = json.loads(decoded(world.issuer.token(world.clock.now(), SUBJECT)))
    assert_refused(world, jwt.encode({"alg": "ES384", "kid": original.kid}, claims, other, algorithms=["ES384"]))


def test_an_unknown_key(world: World) -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "stranger"}, private=True)
    claims = json.loads(decoded(world.issuer.token(world.clock.now(), SUBJECT)))
    for kid in ("stranger", world.issuer.key.kid):
        assert_refused(world, jwt.encode({"alg": "ES256", "kid": kid}, claims, stranger))


def test_a_changed_claim_breaks_the_signature(world: World) -> None:
    header, _, signature = world.issuer.token(world.clock.now(), SUBJECT).split(".")
    claims = json.loads(decoded(world.issuer.token(world.clock.now(), SUBJECT))) | {"admin": True}
    middle = encoded(json.dumps(claims).encode())
    assert_refused(world, f"{header}.{middle}.{signature}")


def test_claims_that_are_no_object(world: World) -> None:
    signed = jwt.encode({"alg": "ES256", "kid": world.issuer.key.kid}, {"sub": SUBJECT}, world.issuer.key)
    header, _, signature = signed.split(".")
    for body in (b"[]", b'"text"', b"7", b"null", b"{", b"\xff"):
        assert_refused(world, f"{header}.{encoded(body)}.{signature}")


def test_a_header_that_names_its_own_key_is_not_believed(world: World) -> None:
    stranger = ECKey.generate_key("P-256", {"kid": "stranger"}, private=True)
    claims = json.loads(decoded(world.issuer.token(world.clock.now(), SUBJECT)))
    header = {"alg": "ES256", "kid": world.issuer.key.kid, "jwk": stranger.as_dict(private=False)}
    assert_refused(world, jwt.encode(header, claims, stranger))


def test_the_log_says_why_and_the_answer_does_not(world: World) -> None:
    assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT, exp=stamp(world, seconds=-60)))
    assert "expired, or without expiry" in world.logged.getvalue()


# ---- keys -------------------------------------------------------------------------------------------------------------------


def let_the_pause_pass(world: World) -> None:
    """As if the last look at the key set were longer ago than the pause between two looks."""
    world.convene.verifier._fetched_at -= 11


def test_a_new_key_needs_no_restart(own_world: World) -> None:
    clara = own_world.caller("Clara")
    before = clara.token
    assert clara.one(VIEWER)["name"] == "Clara"
    own_world.issuer.rotate("second")
    let_the_pause_pass(own_world)
    assert clara.one(VIEWER)["name"] == "Clara"
    assert ask(own_world, before).status_code == 401, "the old key is gone from the issuer's set"


def test_keys_are_not_asked_for_again_and_again(own_world: World) -> None:
    clara = own_world.caller("Clara")
    for _ in range(5):
        clara.one(VIEWER)
    assert own_world.issuer.asked == 2, "once for the configuration, once for the keys"


def test_a_flood_of_bad_tokens_asks_once_more_at_most(own_world: World) -> None:
    clara = own_world.caller("Clara")
    clara.one(VIEWER)
    asked = own_world.issuer.asked
    let_the_pause_pass(own_world)
    stranger = ECKey.generate_key("P-256", {"kid": "stranger"}, private=True)
    claims = json.loads(decoded(clara.token))
    forged = [jwt.encode({"alg": "ES256", "kid": f"k{n}"}, claims, stranger) for n in range(24)]
    together = threading.Barrier(8)

    def one(number: int) -> int:
        if number < 8:
            together.wait(10)
        return int(ask(own_world, forged[number]).status_code)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(24))) == {401}
    assert own_world.issuer.asked - asked <= 2, "one look is two requests: the configuration and the keys"
    assert clara.one(VIEWER)["name"] == "Clara"


class KeyServer:
    """A key set behind an address that can be broken and repaired."""

    def __init__(self, issuer: Issuer) -> None:
        self.answer: tuple[int, bytes] = (503, b"")
        keys = self
        self.good = (200, json.dumps({"keys": [issuer.key.as_dict(private=False)]}).encode())

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = keys.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"


@pytest.fixture
def key_server(issuer: Issuer) -> Iterator[KeyServer]:
    server = KeyServer(issuer)
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.mark.parametrize("broken", [(503, b""), (200, b"<html>"), (200, b"[]"), (200, b"{}"), (200, b'{"keys": 1}'), (404, b"{}")])
def test_an_issuer_that_is_broken_at_first_is_asked_again(
    world: World, database_url: str, issuer: Issuer, shared_sandbox: Sandbox, key_server: KeyServer, broken: tuple[int, bytes]
) -> None:
    with World(database_url, issuer, shared_sandbox, identity_jwks_url=key_server.url) as mine:
        key_server.answer = broken
        token = issuer.token(mine.clock.now(), SUBJECT)
        assert_refused(mine, token)
        key_server.answer = key_server.good
        assert ask(mine, token).status_code == 200
        key_server.answer = broken
        assert ask(mine, token).status_code == 200, "the keys that are known still serve"


# ---- what a good token makes of its user ------------------------------------------------------------------------------------


def test_the_viewer_is_who_the_token_says(world: World) -> None:
    found = viewer(world, email="Clara@Example.test", email_verified=True, name=" Clara Coach ", zoneinfo="Europe/Berlin")
    assert found == {"id": found["id"], "name": "Clara Coach", "email": "clara@example.test", "timeZone": "Europe/Berlin", "isAdmin": False}
    assert viewer(world, email="clara@example.test", email_verified=True, name="Clara Coach", zoneinfo="Europe/Berlin") == found


@pytest.mark.parametrize(
    "claims", [{}, {"name": "", "zoneinfo": ""}, {"name": 7, "zoneinfo": 7}, {"name": "  ", "zoneinfo": "Mars/Olympus"}]
)
def test_name_and_zone_fall_back(world: World, claims: dict[str, Any]) -> None:
    found = viewer(world, **claims)
    assert (found["name"], found["timeZone"], found["email"]) == ("Unnamed", "UTC", None)


def test_name_and_zone_of_the_linked_account_stand_in(world: World) -> None:
    clara = world.caller("Clara", time_zone="Europe/Berlin")
    world.account(clara)
    clara.claims = {"name": None, "zoneinfo": None}
    assert clara.one(VIEWER)["name"] == "Unnamed"
    clara.link()
    found = clara.one(VIEWER)
    assert (found["name"], found["timeZone"]) == ("Clara", "Europe/Berlin")


def test_only_boolean_true_makes_an_admin(world: World) -> None:
    for claim in [1, "true", "True", None, {}, [True], "yes", 0, False]:
        assert viewer(world, admin=claim)["isAdmin"] is False


def test_admin_comes_and_goes_with_the_token(world: World) -> None:
    assert viewer(world, admin=True)["isAdmin"] is True
    assert viewer(world)["isAdmin"] is False
    assert User.get().is_admin is False


def test_the_profile_follows_the_token(world: World) -> None:
    first = viewer(world, name="Clara", zoneinfo="Europe/Berlin", email="a@example.test", email_verified=True)
    second = viewer(world, name="Clara B.", zoneinfo="Asia/Tokyo", email="b@example.test", email_verified=True)
    assert second == {"id": first["id"], "name": "Clara B.", "email": "b@example.test", "timeZone": "Asia/Tokyo", "isAdmin": False}
    third = viewer(world)
    assert (third["id"], third["name"], third["timeZone"], third["email"]) == (first["id"], "Clara B.", "Asia/Tokyo", None)
    assert Person.select().count() == 1


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_nobody_vouches_for_is_not_the_viewers(world: World, verified: Any) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9), name="Otto", email="otto@example.test")
    world.jobs()
    found = viewer(world, email="otto@example.test", email_verified=verified)
    assert found["email"] is None
    otto = world.caller("Otto", email_verified=verified)
    assert otto.bookings() == []
    (booking,) = clara.bookings()
    assert [p["name"] for p in booking["participants"]] == ["Clara", "Otto"]


def test_a_verified_address_claims_the_person_of_a_booking(world: World) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9), name="Otto", email="Otto@Example.test")
    world.jobs()
    otto = world.caller("Otto")
    (booking,) = otto.bookings()
    assert booking["viewerRole"] == "MENTEE"
    assert [(p["name"], p["isViewer"]) for p in booking["participants"]] == [("Clara", False), ("Otto", True)]
    assert clara.bookings()[0]["id"] == booking["id"]


def test_an_address_that_changes_claims_the_new_ones_person_too(world: World) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9), name="Otto", email="otto@example.test")
    world.jobs()
    person = world.caller("Otto", email="other@example.test")
    assert person.bookings() == []
    person.claims = {"email": "otto@example.test"}
    assert len(person.bookings()) == 1


def test_an_address_that_two_users_prove_stays_the_firsts(world: World) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9), name="Otto", email="otto@example.test")
    world.jobs()
    otto = world.caller("Otto")
    assert len(otto.bookings()) == 1
    second = world.caller("Olga", email="olga@example.test", email_verified=True)
    second.claims["email"] = "otto@example.test"
    assert second.bookings() == []
    assert len(otto.bookings()) == 1


def test_a_name_typed_into_a_booking_gives_no_access(world: World) -> None:
    clara = world.coach()
    world.book(clara, at(2, 9), name="Otto", email="otto@example.test")
    world.jobs()
    assert world.caller("Otto", email="another-otto@example.test").bookings() == []


def test_two_first_requests_at_once_make_one_user(world: World) -> None:
    token = world.issuer.token(world.clock.now(), SUBJECT, name="Clara", email="clara@example.test", email_verified=True)
    together = threading.Barrier(8)

    def one(_: int) -> tuple[int, str]:
        together.wait(10)
        answer = ask(world, token)
        return answer.status_code, answer.json()["data"]["viewer"]["id"]

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(one, range(8)))
    assert {status for status, _ in answers} == {200}
    assert len(answers) == 1
    assert (User.select().count(), Person.select().count()) == (1, 1)
    assert [(i.kind, i.value) for i in PersonIdentity.select()] == [("email", "clara@example.test")]


def test_issuers_without_an_audience_are_known_by_the_authorized_party(world: World) -> None:
    change = {"identity_audience": (), "identity_authorized_parties": ("https://app.example",)}
    world.convene.verifier._settings = world.rt.settings.model_copy(update=change)
    for wrong in ("https://evil.example", None, "", ["https://app.example"], {}):
        assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT, aud=None, azp=wrong))
    assert_refused(world, world.issuer.token(world.clock.now(), SUBJECT))
    assert ask(world, world.issuer.token(world.clock.now(), SUBJECT, aud=None, azp="https://app.example")).status_code == 200


def test_the_names_of_claims_can_be_set(world: World, database_url: str, issuer: Issuer, shared_sandbox: Sandbox) -> None:
    names = {
        "claim_email": "https://app.example/email",
        "claim_email_verified": "https://app.example/verified",
        "claim_name": "nickname",
        "claim_time_zone": "tz",
        "claim_admin": "is_staff",
    }
    with World(database_url, issuer, shared_sandbox, **names) as mine:
        found = viewer(
            mine,
            **{
                "https://app.example/email": "c@example.test",
                "https://app.example/verified": True,
                "nickname": "Clara",
                "tz": "Asia/Tokyo",
                "is_staff": True,
            },
        )
        assert found == {"id": found["id"], "name": "Clara", "email": "c@example.test", "timeZone": "Asia/Tokyo", "isAdmin": True}
        assert viewer(mine, sub="other", name="Clara", admin=True, email="d@example.test", email_verified=True)["isAdmin"] is False


def test_a_page_of_bookings_needs_a_token_too(world: World) -> None:
    clara = Caller(world, "Clara", "clara@example.test", "UTC", {"exp": 1})
    answer = clara.post(BOOKINGS, {})
    assert (answer.status_code, answer.json()["data"]) == (401, None)


def test_a_claim_that_failed_once_is_made_at_the_next_request(world: World) -> None:
    """Everything of the first request that failed is tried again: the user's row must not say that it was done."""
    clara = world.coach()
    world.book(clara, at(2, 9), name="Otto")
    world.jobs()
    person = PersonIdentity.get(PersonIdentity.value == "otto@example.test").person_id
    otto = world.caller("Otto")
    with refusing("UPDATE OF person_id ON participant"):
        assert otto.post("{ viewer { id } }").status_code == 500
    assert len(otto.bookings()) == 1
    assert Person.get_by_id(person).merged_into_id is not None
