"""Platform managed users (deprecated)."""

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

SECRET = {"x-cal-secret-key": "top"}


@pytest.fixture
def plat(house):
    house.control("POST", "/calcom/platform-clients", {"clientId": "plat", "clientSecret": "top", "redirectUris": ["http://app.example"]})
    return house


def create(house, **more):
    body = {"email": "nadia@clinic.example", "name": "Nadia", "timeZone": "Europe/Lisbon"} | more
    return house.api("POST", "/oauth-clients/plat/users", headers=SECRET, json=body)


def me(house, token, **headers):
    return house.api("GET", "/me", headers={"Authorization": f"Bearer {token}"} | headers)


def refresh(house, token):
    return house.api("POST", "/oauth/plat/refresh", headers=SECRET, json={"refreshToken": token})


def test_a_managed_user(plat):
    data = create(plat, metadata={"tenant": "t"}).json()["data"]
    user = data["user"]
    assert (user["email"], user["username"]) == ("nadia+plat@clinic.example", "nadia-plat-clinic-example")
    assert user["metadata"] == {"tenant": "t"}
    assert (data["accessTokenExpiresAt"], data["refreshTokenExpiresAt"]) == (
        1796115600000,
        1827619200000,
    )
    claims = jwt.decode(data["accessToken"], OctKey.import_key(plat.sandbox.world.calcom.signing_secret)).claims
    assert {"type", "clientId", "ownerId", "expiresAt", "jti", "iat"} == set(claims)
    assert me(plat, data["accessToken"]).json()["data"]["organization"]["isPlatform"] is True


def test_without_a_time_zone_there_is_no_schedule(plat):
    body = {"email": "x", "name": "N"}  # a malformed address is not reported
    user = plat.api("POST", "/oauth-clients/plat/users", headers=SECRET, json=body).json()["data"]["user"]
    assert (user["timeZone"], user["defaultScheduleId"], "metadata" in user) == ("Europe/London", None, False)


def test_default_event_types_only_when_enabled(plat):
    def slugs(mail):
        token = create(plat, email=mail).json()["data"]["accessToken"]
        answer = plat.api("GET", "/event-types", version="2024-06-14", headers={"Authorization": f"Bearer {token}"})
        return {one["slug"]: one["lengthInMinutes"] for one in answer.json()["data"]}

    assert slugs("a@x.de") == {}
    plat.control("POST", "/calcom/platform-clients", {"clientId": "plat", "clientSecret": "top", "defaultEventTypes": True})
    assert slugs("b@x.de") == {"thirty-minutes": 30, "thirty-minutes-video": 30, "sixty-minutes": 60, "sixty-minutes-video": 60}


def test_changing_the_time_zone_does_not_move_the_schedule(plat):
    data = create(plat).json()["data"]
    path = f"/oauth-clients/plat/users/{data['user']['id']}"
    assert plat.api("PATCH", path, headers=SECRET, json={"timeZone": "Asia/Tokyo"}).json()["data"]["timeZone"] == "Asia/Tokyo"
    headers = {"Authorization": f"Bearer {data['accessToken']}"}
    assert plat.api("GET", "/schedules/default", version="2024-06-11", headers=headers).json()["data"]["timeZone"] == "Europe/Lisbon"
    assert plat.api("DELETE", path, headers=SECRET).json()["data"]["id"] == data["user"]["id"]
    assert me(plat, data["accessToken"]).status_code == 401
    assert plat.api("GET", path, headers=SECRET).status_code == 404


def test_an_expired_token_is_498_everywhere(plat):
    token = create(plat).json()["data"]["accessToken"]
    plat.sandbox.world.clock.shift(3599)
    assert me(plat, token).status_code == 200
    plat.sandbox.world.clock.shift(1)
    assert me(plat, token).status_code == 498
    assert plat.api("GET", "/bookings/x", version="2026-02-25", headers={"Authorization": f"Bearer {token}"}).status_code == 498
    assert plat.api("GET", "/provider/plat/access-token", headers={"Authorization": f"Bearer {token}"}).status_code == 498


def test_rotation(plat):
    old = create(plat).json()["data"]
    new = refresh(plat, old["refreshToken"]).json()["data"]
    assert me(plat, old["accessToken"]).status_code == 200
    assert (refresh(plat, old["refreshToken"]).status_code, refresh(plat, new["refreshToken"]).status_code) == (400, 200)


def test_force_refresh_wipes(plat):
    old = create(plat).json()["data"]
    path = f"/oauth-clients/plat/users/{old['user']['id']}/force-refresh"
    new = plat.api("POST", path, headers=SECRET).json()["data"]
    assert me(plat, old["accessToken"]).status_code == 401
    assert refresh(plat, old["refreshToken"]).status_code == 400
    assert me(plat, new["accessToken"]).status_code == 200


def test_origins(plat):
    token = create(plat).json()["data"]["accessToken"]
    assert me(plat, token, Origin="http://app.example").status_code == 200
    assert me(plat, token, Origin="http://evil.example").status_code == 401


@pytest.mark.parametrize("headers", [{}, {"x-cal-secret-key": "no"}, {"Authorization": "Bearer x"}])
def test_the_secret_is_needed(plat, headers):
    answer = plat.api("POST", "/oauth-clients/plat/users", headers=headers, json={"email": "a@b.de", "name": "N"})
    assert answer.status_code == 401


def test_client_webhooks(plat, inbox):
    body = {"active": True, "subscriberUrl": inbox.url, "triggers": ["BOOKING_CREATED"]}
    made = plat.api("POST", "/oauth-clients/plat/webhooks", headers=SECRET, json=body).json()["data"]
    assert made["oAuthClientId"] == "plat"
    token = create(plat).json()["data"]["accessToken"]
    kind = {"title": "T", "slug": "t", "lengthInMinutes": 30}
    event_type = plat.api("POST", "/event-types", version="2024-06-14", headers={"Authorization": f"Bearer {token}"}, json=kind).json()[
        "data"
    ]
    plat.ids["t"] = event_type["id"]
    plat.booked("2026-12-02T09:00:00Z", "t")
    plat.booked("2026-12-02T09:00:00Z")  # not a managed host
    assert [letter.json["payload"]["platformClientId"] for letter in inbox.letters] == ["plat"]
