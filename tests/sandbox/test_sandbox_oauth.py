"""Consent, tokens, rotation, scopes, API keys and rate limits."""

import base64
import hashlib
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def sent_back(answer):
    assert answer.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def me(house, token):
    return house.api("GET", "/me", headers={"Authorization": f"Bearer {token}"})


def test_a_connection_gives_a_usable_pair(house):
    answer = house.exchange(house.code("coach", "PROFILE_READ BOOKING_READ"))
    tokens = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("bearer", 1800, "PROFILE_READ BOOKING_READ")
    assert me(house, tokens["access_token"]).json()["data"]["email"] == "coach@demo.test"
    key = OctKey.import_key(house.sandbox.world.calcom.signing_secret)
    access, refresh = (jwt.decode(tokens[f"{kind}_token"], key) for kind in ("access", "refresh"))
    assert access.header["alg"] == "HS256"
    assert access.claims["exp"] - access.claims["iat"] == 1800
    assert refresh.claims["exp"] - refresh.claims["iat"] == 30 * 86400
    assert access.claims["jti"] != refresh.claims["jti"]
    assert (access.claims["clientId"], access.claims["userId"]) == ("client", house.ids["coach"])


def test_the_token_endpoint_takes_a_form_too(house):
    form = {"client_id": "client", "client_secret": "shh", "grant_type": "authorization_code"}
    form |= {"code": house.code("coach"), "redirect_uri": "http://127.0.0.1:9/callback"}
    assert house.http.post("/calcom/v2/auth/oauth2/token", data=form).status_code == 200


def test_the_page_shows_people_and_scopes(house):
    query = {"client_id": "client", "redirect_uri": "http://127.0.0.1:9/callback", "scope": "PROFILE_READ,BOOKING_READ"}
    page = house.http.get("/calcom/auth/oauth2/authorize", params=query | {"login_hint": "MENTEE@demo.test"}).text
    assert '<option value="mentee@demo.test" selected>' in page
    assert '<option value="coach@demo.test">' in page
    assert 'name="granted" value="BOOKING_READ" checked' in page


def test_the_person_may_grant_less(house):
    tokens = house.exchange(house.code("coach", "PROFILE_READ BOOKING_READ", granted="PROFILE_READ")).json()
    assert tokens["scope"] == "PROFILE_READ"


def test_nothing_ticked_is_not_everything(house):
    answer = house.consent("coach", granted="")
    assert (answer.status_code, "Nothing is ticked." in answer.text) == (400, True)
    assert house.sandbox.world.calcom.codes == {}


def test_denial_goes_back_with_the_state(house):
    back = sent_back(house.consent("coach", decision="deny"))
    assert back == {"error": "access_denied", "error_description": "The user denied the request", "state": "s"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"client_id": "other"}, "client_not_found"),
        ({"redirect_uri": "http://127.0.0.1:9/callback/"}, "redirect_uri_mismatch"),
        ({"user": "nobody@demo.test"}, "no sandbox user has this e-mail address"),
    ],
)
def test_some_errors_stay_on_the_page(house, change, text):
    answer = house.consent("coach", **change)
    assert answer.status_code == 400
    assert text in answer.text
    assert "location" not in answer.headers


def test_an_unapproved_client_stays_on_the_page(house):
    body = {"clientId": "new", "clientSecret": "x", "redirectUris": ["http://127.0.0.1:9/callback"], "approval": "PENDING"}
    house.control("POST", "/calcom/oauth-clients", body)
    assert "client_not_approved" in house.consent("coach", client_id="new").text


@pytest.mark.parametrize(
    ("scope", "more", "error", "description"),
    [
        ("FLY", {}, "invalid_scope", "Requested scope is not a recognized scope"),
        ("ORG_BOOKING_READ", {}, "invalid_scope", "Requested scope exceeds the client's registered scopes"),
        ("", {}, "invalid_request", "scope parameter is required"),
        (
            "PROFILE_READ",
            {"code_challenge": "x", "code_challenge_method": "plain"},
            "invalid_request",
            "invalid_code_challenge_method",
        ),
    ],
)
def test_other_errors_go_back(house, scope, more, error, description):
    assert sent_back(house.consent("coach", scope, **more)) == {"error": error, "error_description": description, "state": "s"}


def test_a_code_works_once_and_for_ten_minutes(house):
    code = house.code("coach")
    assert house.exchange(code).status_code == 200
    again = house.exchange(code)
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant", "error_description": "code_invalid_or_expired"})
    late = house.code("coach")
    house.sandbox.world.clock.shift(600)
    assert house.exchange(late).json()["error_description"] == "code_invalid_or_expired"


def test_pkce_is_enforced_when_it_was_begun(house):
    with_pkce = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert house.exchange(house.code("coach", **with_pkce), code_verifier=VERIFIER).status_code == 200
    wrong = house.exchange(house.code("coach", **with_pkce), code_verifier="x")
    assert wrong.json() == {"error": "invalid_grant", "error_description": "pkce_verification_failed"}
    without = house.exchange(house.code("coach", **with_pkce))
    assert without.json() == {"error": "invalid_request", "error_description": "pkce_missing_parameters_or_invalid_method"}


def test_a_public_client_needs_pkce_and_no_secret(house):
    body = {"clientId": "spa", "redirectUris": ["http://127.0.0.1:9/callback"], "type": "PUBLIC"}
    house.control("POST", "/calcom/oauth-clients", body)
    assert sent_back(house.consent("coach", client_id="spa"))["error_description"] == "pkce_required"
    code = house.code("coach", client_id="spa", code_challenge=CHALLENGE, code_challenge_method="S256")
    tokens = house.exchange(code, client_id="spa", client_secret="", code_verifier=VERIFIER).json()
    assert house.refresh(tokens["refresh_token"], client_id="spa", client_secret="").status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "error", "description"),
    [
        ({"client_secret": "no"}, 401, "invalid_client", "invalid_client_credentials"),
        ({"client_id": "no"}, 401, "invalid_client", "client_not_found"),
        ({"client_id": ""}, 400, "invalid_request", "client_id is required"),
        ({"grant_type": "x"}, 400, "invalid_request", "grant_type must be 'authorization_code' or 'refresh_token'"),
        ({"redirect_uri": "http://other"}, 400, "invalid_grant", "redirect_uri_mismatch"),
    ],
)
def test_token_errors(house, change, status, error, description):
    answer = house.exchange(house.code("coach"), **change)
    assert (answer.status_code, answer.json()) == (status, {"error": error, "error_description": description})


def test_a_refresh_kills_every_refresh_token_of_client_and_user(house):
    first, second, other = house.connect("coach"), house.connect("coach"), house.connect("mentee")
    new = house.refresh(first["refresh_token"]).json()
    dead = house.refresh(second["refresh_token"])
    assert (dead.status_code, dead.json()["error_description"]) == (400, "refresh_token_revoked")
    assert house.refresh(first["refresh_token"]).json()["error_description"] == "refresh_token_revoked"
    assert house.refresh(other["refresh_token"]).status_code == 200
    assert house.refresh(new["refresh_token"]).status_code == 200
    assert me(house, second["access_token"]).status_code == 200  # access tokens live on


def test_connecting_again_kills_nothing(house):
    first = house.connect("coach")
    house.connect("coach")
    assert house.refresh(first["refresh_token"]).status_code == 200


def test_refresh_errors(house):
    tokens = house.connect("coach")
    assert house.refresh("x").json()["error_description"] == "invalid_refresh_token"
    assert house.refresh(tokens["access_token"]).json()["error_description"] == "invalid_refresh_token"
    body = {"clientId": "two", "clientSecret": "two", "redirectUris": ["http://x"]}
    house.control("POST", "/calcom/oauth-clients", body)
    foreign = house.refresh(tokens["refresh_token"], client_id="two", client_secret="two")
    assert foreign.json()["error_description"] == "client_id_mismatch"
    house.sandbox.world.clock.shift(timedelta(days=30).total_seconds())
    assert house.refresh(tokens["refresh_token"]).json()["error_description"] == "invalid_refresh_token"


def test_an_expired_access_token_is_401_and_refreshable(house):
    tokens = house.connect("coach")
    house.sandbox.world.clock.shift(1799)
    assert me(house, tokens["access_token"]).status_code == 200
    house.sandbox.world.clock.shift(1)
    late = me(house, tokens["access_token"])
    assert (late.status_code, late.json()["error"]["message"]) == (401, "Invalid Access Token.")
    assert house.refresh(tokens["refresh_token"]).status_code == 200


def test_the_control_face_expires_and_revokes(house):
    tokens = house.connect("coach")
    assert house.control("POST", "/calcom/tokens/expire", {"email": "coach@demo.test"}) == {"count": 1}
    assert me(house, tokens["access_token"]).status_code == 401
    tokens = house.refresh(tokens["refresh_token"]).json()
    assert house.control("POST", "/calcom/tokens/revoke", {"email": "coach@demo.test", "clientId": "other"}) == {"count": 0}
    house.control("POST", "/calcom/tokens/revoke", {"email": "coach@demo.test", "clientId": "client"})
    assert me(house, tokens["access_token"]).status_code == 401
    assert house.refresh(tokens["refresh_token"]).json()["error_description"] == "refresh_token_revoked"


def test_wrong_credentials_are_refused_even_where_none_are_needed(house):
    answer = house.api("GET", "/slots", version="2024-09-04", headers={"Authorization": "Bearer x"})
    assert answer.status_code == 401
    assert house.book("2026-12-02T09:00:00Z").status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/me", "PROFILE_READ"),
        ("PATCH", "/me", "PROFILE_WRITE"),
        ("GET", "/bookings", "BOOKING_READ"),
        ("POST", "/bookings/x/confirm", "BOOKING_WRITE"),
        ("POST", "/bookings/x/decline", "BOOKING_WRITE"),
        ("POST", "/bookings/x/mark-absent", "BOOKING_WRITE"),
        ("POST", "/bookings/x/request-reschedule", "BOOKING_WRITE"),
        ("PATCH", "/bookings/x/location", "BOOKING_WRITE"),
        ("POST", "/bookings/x/guests", "BOOKING_WRITE"),
        ("GET", "/event-types", "EVENT_TYPE_READ"),
        ("POST", "/event-types", "EVENT_TYPE_WRITE"),
        ("POST", "/event-types/1/webhooks", "EVENT_TYPE_WRITE"),
        ("GET", "/schedules", "SCHEDULE_READ"),
        ("POST", "/schedules", "SCHEDULE_WRITE"),
        ("GET", "/webhooks", "WEBHOOK_READ"),
        ("POST", "/webhooks", "WEBHOOK_WRITE"),
        ("GET", "/calendars", "APPS_READ"),
        ("GET", "/calendars/busy-times", "APPS_READ"),
    ],
)
def test_every_endpoint_wants_its_scope(house, method, path, scope):
    held = next(one for one in ("BOOKING_READ", "PROFILE_READ") if one != scope)
    token = house.connect("coach", held)["access_token"]
    answer = house.api(method, path, headers={"Authorization": f"Bearer {token}"}, version="2026-05-01")
    text = f"insufficient_scope: token does not have the required scopes. Required: {scope}. Token has: {held}"
    assert (answer.status_code, answer.json()["error"]["message"]) == (403, text)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/me", 401), ("GET", "/bookings", 403), ("POST", "/event-types", 403), ("POST", "/bookings/x/confirm", 403)],
)
def test_no_credentials(house, method, path, status):
    assert house.api(method, path).status_code == status


def test_an_api_key_acts_as_its_owner_without_scopes(house):
    key = house.control("POST", "/calcom/api-keys", {"email": "coach@demo.test"})["apiKey"]
    assert key.startswith("cal_")
    answer = me(house, key)
    assert answer.json()["data"]["id"] == house.ids["coach"]
    assert answer.headers["x-ratelimit-limit-default"] == "120"
    new = house.api("POST", "/api-keys/refresh", headers={"Authorization": f"Bearer {key}"}).json()["data"]["apiKey"]
    assert (me(house, key).status_code, me(house, new).status_code) == (401, 200)


def test_limits_count_down_block_for_a_minute_and_never_say_retry_after(house):
    token = house.token("coach")
    house.control("PUT", "/calcom/limits", {"token": 2})
    first = me(house, token)
    names = ("x-ratelimit-limit-default", "x-ratelimit-remaining-default", "x-ratelimit-reset-default")
    assert [first.headers[name] for name in names] == ["2", "1", "60"]
    house.sandbox.world.clock.shift(20)
    second = me(house, token)
    assert [second.headers[name] for name in names] == ["2", "0", "40"]
    refused = me(house, token)
    assert refused.status_code == 429
    assert refused.json()["error"]["details"] == "CustomThrottlerGuard - Too many requests. Please try again later."
    assert [refused.headers[name] for name in names] == ["2", "0", "60"]
    assert "retry-after" not in refused.headers
    house.sandbox.world.clock.shift(59)
    assert me(house, token).status_code == 429
    house.sandbox.world.clock.shift(1)
    assert me(house, token).status_code == 200


def test_default_limits(house):
    assert me(house, house.token("coach")).headers["x-ratelimit-limit-default"] == "500"
    anonymous = house.api("GET", "/allowlists")
    assert anonymous.headers["x-ratelimit-limit-default"] == "120"
    assert anonymous.headers["x-request-id"]
    assert anonymous.headers["access-control-allow-origin"] == "*"
    assert anonymous.headers["etag"]


def test_a_browsers_preflight_is_answered_and_costs_nothing(house):
    """Without it a page meets a network error where a server meets 429."""
    house.control("PUT", "/calcom/limits", {"anonymous": 1})
    asked = {"Origin": "http://page.test", "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for _ in range(3):
        answer = house.http.options("/calcom/v2/me", headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert {"authorization", "x-cal-client-id"} <= {
            name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")
        }
    house.sandbox.fault({"kind": "status", "status": 503}, path="/calcom/v2/me")
    assert house.http.get("/calcom/v2/me").headers["access-control-allow-origin"] == "*"
