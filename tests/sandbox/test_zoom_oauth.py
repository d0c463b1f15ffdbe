"""Zoom's tokens: server-to-server, users', rotation, revocation, and who may do what with them."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from zoom_house import CALLBACK, SERVER, USER_APP

pytest_plugins = ["zoom_fixtures"]
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
SPENT_CODE = {"reason": "Invalid authorization code", "error": "invalid_request"}
SPENT_TOKEN = {"reason": "Invalid Token!", "error": "invalid_request"}
INVALID = {"code": 124, "message": "Invalid access token."}
EXPIRED = {"code": 124, "message": "Access token is expired."}


def sent_back(answer):
    assert answer.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def me(zoom, token):
    return zoom.api("GET", "/users/me", token=token)


def test_a_server_token_lives_an_hour_and_has_no_refresh_token(zoom):
    answer = zoom.server_token()
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope", "api_url"}
    assert (answer["token_type"], answer["expires_in"], answer["api_url"]) == ("bearer", 3600, f"{zoom.sandbox.url}/zoom/api")
    assert "meeting:write:meeting:admin" in answer["scope"].split()
    assert len(answer["access_token"]) > 255
    zoom.shift(3599)
    assert me(zoom, answer["access_token"]).status_code == 200
    zoom.shift(1)
    late = me(zoom, answer["access_token"])
    assert (late.status_code, late.json()) == (401, EXPIRED)


def test_several_server_tokens_live_side_by_side(zoom):
    tokens = {zoom.server_token()["access_token"] for _ in range(3)}
    assert len(tokens) == 3
    assert {me(zoom, token).status_code for token in tokens} == {200}


def test_parameters_may_stand_in_the_query(zoom):
    query = {"grant_type": "account_credentials", "account_id": "account-1"}
    assert zoom.http.post("/zoom/web/oauth/token", params=query, auth=("server", "shh")).status_code == 200


@pytest.mark.parametrize(
    ("app", "form", "reason", "error"),
    [
        (SERVER | {"clientSecret": "no"}, {}, "Invalid client_id or client_secret", "invalid_client"),
        (SERVER | {"clientId": "no"}, {}, "Invalid client_id or client_secret", "invalid_client"),
        (SERVER, {"account_id": "no"}, "Account does not exist", "invalid_request"),
        (SERVER, {"grant_type": "password"}, "Unsupported grant type", "unsupported_grant_type"),
        (SERVER, {"grant_type": "refresh_token"}, "Unsupported grant type", "unsupported_grant_type"),
        (USER_APP, {}, "Unsupported grant type", "unsupported_grant_type"),
    ],
)
def test_token_errors(zoom, app, form, reason, error):
    answer = zoom.ask_token(app, **({"grant_type": "account_credentials", "account_id": "account-1"} | form))
    assert (answer.status_code, answer.json()) == (400, {"reason": reason, "error": error})


def test_credentials_belong_in_the_header(zoom):
    form = {"grant_type": "account_credentials", "account_id": "account-1", "client_id": "server", "client_secret": "shh"}
    answer = zoom.http.post("/zoom/web/oauth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")


def test_a_bad_client_may_be_answered_401(zoom):
    zoom.control("PUT", "/switches", {"badClientStatus": 401})
    answer = zoom.ask_token(SERVER | {"clientSecret": "no"}, grant_type="account_credentials", account_id="account-1")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_a_regional_address_serves_the_same_api(zoom):
    zoom.control("PUT", "/switches", {"regionalApiUrl": True})
    answer = zoom.server_token()
    assert answer["api_url"] == f"{zoom.sandbox.url}/zoom/eu/api"
    held = {"Authorization": f"Bearer {answer['access_token']}"}
    for base in (answer["api_url"], f"{zoom.sandbox.url}/zoom/api"):
        assert zoom.http.get(f"{base}/v2/users/coach@demo.test", headers=held).json()["email"] == "coach@demo.test"


def test_a_connection_gives_a_usable_pair(zoom):
    answer = zoom.exchange(zoom.code("coach2"))
    tokens = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert list(tokens) == ["access_token", "token_type", "refresh_token", "expires_in", "scope", "api_url"]
    assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 3600)
    assert me(zoom, tokens["access_token"]).json()["email"] == "coach2@demo.test"
    assert me(zoom, tokens["refresh_token"]).json() == INVALID


def test_a_code_works_once_and_for_five_minutes(zoom):
    code = zoom.code()
    assert zoom.exchange(code).status_code == 200
    again = zoom.exchange(code)
    assert (again.status_code, again.json()) == (400, SPENT_CODE)
    early, late = zoom.code(), zoom.code()
    zoom.shift(299)
    assert zoom.exchange(early).status_code == 200
    zoom.shift(1)
    assert zoom.exchange(late).json() == SPENT_CODE


def test_the_redirect_address_is_compared_and_costs_the_code(zoom):
    code = zoom.code()
    assert zoom.exchange(code, redirect_uri=f"{CALLBACK}/").json()["reason"] == "Redirect URI mismatch"
    assert zoom.exchange(code).json() == SPENT_CODE


def test_pkce_is_enforced_when_it_was_begun(zoom):
    begun = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert zoom.exchange(zoom.code(**begun), code_verifier=VERIFIER).status_code == 200
    for wrong in ({"code_verifier": "x"}, {}):
        answer = zoom.exchange(zoom.code(**begun), **wrong)
        assert (answer.status_code, answer.json()["reason"]) == (400, "Invalid code verifier")
    assert zoom.exchange(zoom.code(code_challenge="abc"), code_verifier="abc").status_code == 200
    assert sent_back(zoom.consent(code_challenge="abc", code_challenge_method="S512")) == {"error": "invalid_request", "state": "s"}


def test_a_refresh_rotates_and_the_old_token_is_dead(zoom):
    first = zoom.connect()
    second = zoom.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    dead = zoom.refresh(first["refresh_token"])
    assert (dead.status_code, dead.json()) == (400, SPENT_TOKEN)
    assert me(zoom, first["access_token"]).status_code == 200
    assert zoom.refresh(second["refresh_token"]).status_code == 200


def test_a_dead_token_may_be_called_invalid_grant(zoom):
    zoom.control("PUT", "/switches", {"invalidGrant": "invalid_grant"})
    assert zoom.refresh("x").json() == {"reason": "Invalid Token!", "error": "invalid_grant"}


def test_a_refresh_token_lives_ninety_days(zoom):
    first = zoom.connect()
    zoom.shift(90 * 86400 - 1)
    second = zoom.refresh(first["refresh_token"]).json()
    zoom.shift(90 * 86400)
    assert zoom.refresh(second["refresh_token"]).json() == SPENT_TOKEN


def test_a_foreign_apps_tokens_and_codes_are_worth_nothing(zoom):
    other = USER_APP | {"clientId": "other"}
    zoom.control("POST", "/apps", other)
    refresh = zoom.connect()["refresh_token"]
    assert zoom.ask_token(other, grant_type="refresh_token", refresh_token=refresh).json() == SPENT_TOKEN
    form = {"grant_type": "authorization_code", "code": zoom.code(), "redirect_uri": CALLBACK}
    assert zoom.ask_token(other, **form).json() == SPENT_CODE


def test_authorizing_again_ends_the_earlier_tokens_of_that_user_only(zoom):
    first, other = zoom.connect(), zoom.connect("coach2")
    second = zoom.connect()
    assert zoom.refresh(first["refresh_token"]).json() == SPENT_TOKEN
    assert me(zoom, first["access_token"]).json() == INVALID
    assert [me(zoom, tokens["access_token"]).status_code for tokens in (second, other)] == [200, 200]


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revoking_ends_the_pair(zoom, kind):
    tokens = zoom.connect()
    answer = zoom.http.post("/zoom/web/oauth/revoke", data={"token": tokens[kind]}, auth=("app", "sss"))
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})
    assert me(zoom, tokens["access_token"]).json() == INVALID
    assert zoom.refresh(tokens["refresh_token"]).json() == SPENT_TOKEN


def test_revoking_needs_the_right_app(zoom):
    tokens, server = zoom.connect(), zoom.server_token()
    wrong = zoom.http.post("/zoom/web/oauth/revoke", data={"token": tokens["access_token"]}, auth=("app", "no"))
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_client")
    zoom.http.post("/zoom/web/oauth/revoke", data={"token": tokens["access_token"]}, auth=("server", "shh"))
    assert me(zoom, tokens["access_token"]).status_code == 200
    other = zoom.server_token()
    zoom.http.post("/zoom/web/oauth/revoke", data={"token": server["access_token"]}, auth=("server", "shh"))
    assert [me(zoom, one["access_token"]).status_code for one in (server, other)] == [401, 200]


def test_the_page_shows_people_and_scopes(zoom):
    query = {"client_id": "app", "redirect_uri": CALLBACK, "response_type": "code", "user": "coach2@demo.test"}
    page = zoom.http.get("/zoom/web/oauth/authorize", params=query).text
    assert '<option value="coach2@demo.test" selected>' in page
    assert 'name="granted" value="meeting:write:meeting" checked' in page
    assert 'name="response_type" value="code"' in page


def test_the_person_may_grant_less_and_the_client_ask_for_less(zoom):
    less = zoom.connect(granted="meeting:read:meeting")
    assert less["scope"] == "meeting:read:meeting"
    assert zoom.connect(scope="user:read:user meeting:read:meeting")["scope"] == "user:read:user meeting:read:meeting"
    assert sent_back(zoom.consent(scope="fly")) == {"error": "invalid_scope", "state": "s"}
    assert sent_back(zoom.consent(response_type="token")) == {"error": "unsupported_response_type", "state": "s"}


def test_denial_goes_back_with_the_state(zoom):
    assert sent_back(zoom.consent(decision="deny")) == {"error": "access_denied", "state": "s"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"client_id": "unknown"}, "Invalid client_id: (4,702)"),
        ({"client_id": "server"}, "Invalid client_id: (4,702)"),
        ({"redirect_uri": f"{CALLBACK}/"}, "Invalid redirect url (4,700)"),
        ({"user": "nobody@demo.test"}, "no sandbox user of Zoom has this e-mail address"),
        ({"decision": "later"}, "approve or deny"),
        ({"granted": ""}, "Nothing is ticked."),
    ],
)
def test_some_errors_stay_on_the_page(zoom, change, text):
    answer = zoom.consent(**change)
    assert (answer.status_code, text in answer.text, "location" in answer.headers) == (400, True, False)
    assert zoom.sandbox.world.zoom.codes == {}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic x"}, {"Authorization": "Bearer"}])
def test_bad_tokens(zoom, headers):
    answer = zoom.http.get("/zoom/api/v2/users/me", headers=headers)
    assert (answer.status_code, answer.json()) == (401, INVALID)
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"


ROUTES = [
    ("POST", "/users/me/meetings", "meeting:write:meeting", "meeting:write"),
    ("GET", "/users/me/meetings", "meeting:read:list_meetings", "meeting:read"),
    ("GET", "/meetings/1", "meeting:read:meeting", "meeting:read"),
    ("PATCH", "/meetings/1", "meeting:update:meeting", "meeting:write"),
    ("DELETE", "/meetings/1", "meeting:delete:meeting", "meeting:write"),
    ("PUT", "/meetings/1/status", "meeting:update:status", "meeting:write"),
    ("GET", "/meetings/1/recordings", "cloud_recording:read:list_recording_files", "recording:read"),
    ("GET", "/users/me/recordings", "cloud_recording:read:list_user_recordings", "recording:read"),
    ("GET", "/users/me", "user:read:user", "user:read"),
]


@pytest.mark.parametrize(("method", "path", "scope", "older"), ROUTES)
def test_every_endpoint_wants_its_scope(zoom, method, path, scope, older):
    held = "user:read:list_users"
    zoom.control("POST", "/apps", USER_APP | {"scopes": [held, scope, older, f"{scope}:admin"]})
    token = zoom.connect(scope=held)["access_token"]
    answer = zoom.api(method, path, token=token)
    message = f"Invalid access token, does not contain scopes:[{scope}, {scope}:admin]."
    assert (answer.status_code, answer.json()) == (400, {"code": 4711, "message": message})
    zoom.control("PUT", "/switches", {"missingScopeStatus": 401})
    answer = zoom.api(method, path, token=token)
    assert (answer.status_code, answer.json()) == (401, {"code": 4700, "message": message})
    for enough in (scope, older, f"{scope}:admin"):
        answer = zoom.api(method, path, token=zoom.connect(scope=enough)["access_token"])
        assert answer.json().get("code") not in {4700, 4711}


def test_a_users_token_says_me_even_for_itself(zoom):
    token = zoom.token("coach")
    assert zoom.api("POST", "/users/me/meetings", token=token, json={"topic": "x"}).status_code == 201
    for name in ("coach@demo.test", "coach2@demo.test"):
        answer = zoom.api("POST", f"/users/{name}/meetings", token=token, json={"topic": "x"})
        message = "Invalid access token, does not contain scopes:[meeting:write:meeting:admin]."
        assert (answer.status_code, answer.json()) == (400, {"code": 4711, "message": message})


def test_a_users_token_does_not_reach_somebody_elses_meeting(zoom):
    meeting = zoom.made("coach2@demo.test")["id"]
    for method in ("GET", "PATCH", "DELETE"):
        answer = zoom.api(method, f"/meetings/{meeting}", who="coach")
        assert (answer.status_code, answer.json()["code"]) == (404, 3001)
    assert zoom.api("GET", f"/meetings/{meeting}", who="coach2").status_code == 200


def test_me_of_a_server_token_is_the_accounts_first_user(zoom):
    assert zoom.made("me")["host_email"] == "coach@demo.test"


def test_accounts_are_strangers_to_each_other(zoom):
    other = SERVER | {"clientId": "second", "accountId": "account-2"}
    zoom.control("POST", "/apps", other)
    zoom.control("POST", "/users", {"email": "far@demo.test", "name": "Far Away", "accountId": "account-2"})
    token = zoom.ask_token(other, grant_type="account_credentials", account_id="account-2").json()["access_token"]
    meeting = zoom.made()["id"]
    unknown = zoom.api("GET", "/users/coach@demo.test", token=token)
    assert (unknown.status_code, unknown.json()) == (404, {"code": 1001, "message": "User does not exist: coach@demo.test."})
    assert zoom.api("GET", f"/meetings/{meeting}", token=token).json()["code"] == 3001
    assert zoom.api("GET", "/users/me", token=token).json()["email"] == "far@demo.test"
