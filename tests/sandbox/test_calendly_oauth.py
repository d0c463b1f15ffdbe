"""Calendly's OAuth: consent, codes, rotation, limits, scopes."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from calendly_house import CALLBACK, SCOPES, furnished


@pytest.fixture
def calendly(sandbox):
    yield from furnished(sandbox)


def back(answer):
    assert answer.status_code == 302
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


def test_a_whole_connection(calendly):
    given = calendly.connect()
    assert sorted(given) == ["access_token", "created_at", "expires_in", "organization", "owner", "refresh_token", "scope", "token_type"]
    assert given["token_type"] == "Bearer"
    assert given["expires_in"] == 7200
    assert given["created_at"] == 1796112000
    assert given["owner"] == calendly.user()
    assert given["organization"] == calendly.organization()
    assert given["scope"] == SCOPES
    assert len(given["access_token"]) > 255
    assert calendly.api("GET", "/users/me", token=given["access_token"]).json()["resource"]["email"] == "cora@demo.test"


def test_the_consent_page_shows_people_and_scopes(calendly):
    query = {"client_id": "app", "redirect_uri": CALLBACK, "response_type": "code", "scope": "users:read", "state": "<x>"}
    page = calendly.http.get("/calendly/auth/oauth/authorize", params=query | {"login_hint": "MIA@demo.test"})
    assert page.status_code == 200
    assert 'value="mia@demo.test" selected' in page.text
    assert 'name="granted" value="users:read" checked' in page.text
    assert 'value="&lt;x&gt;"' in page.text


@pytest.mark.parametrize(
    "change", [{"client_id": "other"}, {"redirect_uri": CALLBACK + "/"}, {"user": "nobody@demo.test"}, {"decision": "x"}]
)
def test_what_is_told_on_the_page(calendly, change):
    answer = calendly.consent(**change)
    assert answer.status_code == 400
    assert "This connection cannot be made" in answer.text


def test_what_is_sent_back(calendly):
    assert back(calendly.consent(decision="deny")) == {
        "error": "access_denied",
        "error_description": "The resource owner or authorization server denied the request.",
        "state": "s",
    }
    for scope in ("users:read invitees:read", "users:write", "users:read,organizations:read"):
        assert back(calendly.consent(scope=scope))["error"] == "invalid_scope"
    assert back(calendly.consent(response_type="token"))["error"] == "unsupported_response_type"


def test_fewer_scopes_granted_than_asked(calendly):
    given = calendly.exchange(calendly.code(scope="users:read webhooks:write", granted=["users:read"])).json()
    assert given["scope"] == "users:read"
    answer = calendly.api("GET", "/webhook_subscriptions", token=given["access_token"])
    assert answer.status_code == 403
    assert answer.json() == {
        "title": "Insufficient scope",
        "message": "This operation requires the scopes listed in the 'required_scopes' array.",
        "required_scopes": ["webhooks:read"],
    }


def test_write_includes_read_and_nothing_asked_is_nothing_granted(calendly):
    token = calendly.connect(scope="webhooks:write event_types:write")["access_token"]
    params = {"user": calendly.user()}
    assert calendly.api("GET", "/event_types", token=token, params=params).status_code == 200
    assert calendly.api("GET", "/users/me", token=token).json()["required_scopes"] == ["users:read"]
    assert calendly.api("GET", "/users/me", token=calendly.connect(scope="")["access_token"]).status_code == 403


def test_legacy_full_access_ends_with_a_refresh(calendly):
    calendly.switch(legacyFullAccess=True)
    old = calendly.connect(scope="")
    assert old["scope"] == "default"
    calendly.switch(legacyFullAccess=False)
    assert calendly.api("GET", "/users/me", token=old["access_token"]).status_code == 200
    assert "scheduled_events:write" in calendly.refresh(old["refresh_token"]).json()["scope"].split()


def test_a_code_works_once_for_ten_minutes(calendly):
    code = calendly.code()
    assert calendly.exchange(code).status_code == 200
    again = calendly.exchange(code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    late = calendly.code()
    calendly.forward(600)
    assert calendly.exchange(late).json()["error"] == "invalid_grant"


def test_the_redirect_address_must_be_the_same(calendly):
    code = calendly.code()
    assert calendly.exchange(code, redirect_uri=CALLBACK + "x").json()["error"] == "invalid_grant"
    assert calendly.exchange(code).json()["error"] == "invalid_grant"


def test_pkce_is_verified_where_it_was_begun(calendly):
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"code_challenge": challenge, "code_challenge_method": "S256"}
    assert calendly.exchange(calendly.code(**asked), code_verifier=verifier).status_code == 200
    assert calendly.exchange(calendly.code(**asked), code_verifier="other").json()["error"] == "invalid_grant"
    assert calendly.exchange(calendly.code(**asked)).json()["error"] == "invalid_grant"


def test_a_native_app_has_no_secret_and_needs_pkce(calendly):
    calendly.control("POST", "/apps", {"clientId": "native", "clientSecret": None, "redirectUris": [CALLBACK]})
    assert back(calendly.consent(client_id="native"))["error"] == "invalid_request"
    code = calendly.code(client_id="native", code_challenge="plain-verifier", code_challenge_method="plain")
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "client_id": "native",
        "code_verifier": "plain-verifier",
    }
    assert calendly.token_call(body, basic="").status_code == 200


@pytest.mark.parametrize(
    ("body", "basic", "status", "error"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "app:wrong", 401, "invalid_client"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "", 401, "invalid_client"),
        ({"grant_type": "refresh_token"}, "app:shh", 400, "invalid_request"),
        ({"grant_type": "password"}, "app:shh", 400, "unsupported_grant_type"),
        ({}, "app:shh", 400, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x", "client_id": "app", "client_secret": "shh"}, "", 400, "invalid_grant"),
    ],
)
def test_errors_of_the_token_endpoint(calendly, body, basic, status, error):
    answer = calendly.token_call(body, basic)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_refresh_token_is_dead_once_used(calendly):
    first = calendly.connect()
    second = calendly.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    answer = calendly.refresh(first["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    # the reuse harms nobody else
    assert calendly.api("GET", "/users/me", token=second["access_token"]).status_code == 200
    assert calendly.refresh(second["refresh_token"]).status_code == 200


def test_a_lost_answer_is_final_and_was_not_under_the_old_rules(calendly):
    first = calendly.connect()
    calendly.sandbox.fault({"kind": "drop", "when": "after"}, path="/calendly/auth/oauth/token")
    with pytest.raises(Exception, match="disconnected"):
        calendly.refresh(first["refresh_token"])
    assert calendly.refresh(first["refresh_token"]).status_code == 400
    calendly.switch(oldGrace=True)
    retried = calendly.refresh(first["refresh_token"]).json()
    calendly.api("GET", "/users/me", token=retried["access_token"])
    assert calendly.refresh(first["refresh_token"]).status_code == 400


def test_invalid_grant_as_401(calendly):
    calendly.switch(invalidGrantAs401=True)
    answer = calendly.refresh("unknown")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant")


def test_eight_token_requests_per_user_and_minute(calendly):
    token = calendly.connect()["refresh_token"]
    for _ in range(7):
        token = calendly.refresh(token).json()["refresh_token"]
    answer = calendly.refresh(token)
    assert answer.status_code == 429
    assert answer.headers["x-ratelimit-limit"] == "8"
    assert answer.headers["x-ratelimit-reset"] == "60"
    assert "retry-after" not in answer.headers
    calendly.connect("mia")
    calendly.forward(60)
    assert calendly.refresh(token).status_code == 200  # what was refused was not used


def test_access_ends_after_two_hours(calendly):
    token = calendly.connect()["access_token"]
    calendly.forward(7199)
    assert calendly.api("GET", "/users/me", token=token).status_code == 200
    calendly.forward(1)
    for answer in (calendly.api("GET", "/users/me", token=token), calendly.api("GET", "/users/me", who=None)):
        assert answer.status_code == 401
        assert answer.json() == {"title": "Unauthenticated", "message": "The access token is invalid"}


def test_revoke_and_introspect(calendly):
    given = calendly.connect()
    body = {"client_id": "app", "client_secret": "shh", "token": given["refresh_token"]}

    def call(path, **change):
        return calendly.http.post(f"/calendly/auth/oauth/{path}", data=body | change)

    shown = call("introspect", token=given["access_token"]).json()
    assert shown["active"] is True
    assert (shown["exp"] - shown["iat"], shown["owner"], shown["client_id"]) == (7200, calendly.user(), "app")
    assert call("introspect", token="unknown").json() == {"active": False}
    assert call("introspect", client_secret="x").status_code == 401
    assert call("introspect", client_secret="").status_code == 400
    assert call("revoke", client_secret="x").status_code == 403
    assert call("revoke", token="").json()["error"] == "invalid_request"
    assert call("revoke").json() == {}
    assert call("introspect", token=given["access_token"]).json() == {"active": False}
    assert calendly.api("GET", "/users/me", token=given["access_token"]).status_code == 401
    assert calendly.refresh(given["refresh_token"]).json()["error"] == "invalid_grant"


def test_spoiled_and_personal_tokens(calendly):
    given = calendly.connect()
    assert calendly.control("POST", "/tokens/expire", {"email": "cora@demo.test"}) == {"count": 1}
    assert calendly.api("GET", "/users/me", token=given["access_token"]).status_code == 401
    fresh = calendly.refresh(given["refresh_token"]).json()
    calendly.control("POST", "/tokens/revoke", {"email": "cora@demo.test"})
    assert calendly.refresh(fresh["refresh_token"]).status_code == 400
    token = calendly.control("POST", "/personal-tokens", {"email": "cora@demo.test", "scopes": ["users:read"]})["token"]
    calendly.forward(10**6)
    answer = calendly.api("GET", "/users/me", token=token)
    assert answer.status_code == 200
    assert calendly.api("GET", "/event_types", token=token).status_code == 403
