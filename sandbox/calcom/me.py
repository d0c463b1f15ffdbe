from sandbox.calcom import auth, checks
from sandbox.calcom.blueprint import blueprint
from sandbox.calcom.checks import Field
from sandbox.calcom.context import body, state, success, world
from sandbox.calcom.errors import CalError
from sandbox.calcom.state import Json, User

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PROFILE = {
    "email": Field(checks.email),
    "name": Field(checks.text),
    "timeFormat": Field(checks.one_of(12, 24)),
    "defaultScheduleId": Field(checks.at_least(1)),
    "weekStart": Field(checks.one_of(*DAYS)),
    "timeZone": Field(checks.time_zone),
    "locale": Field(checks.text),
    "avatarUrl": Field(checks.url),
    "bio": Field(checks.text),
    "metadata": Field(checks.obj),
}
COLUMNS = {
    "email": "email",
    "name": "name",
    "timeFormat": "time_format",
    "defaultScheduleId": "default_schedule_id",
    "weekStart": "week_start",
    "timeZone": "time_zone",
    "locale": "locale",
    "avatarUrl": "avatar_url",
    "bio": "bio",
    "metadata": "metadata",
}


def face(user: User) -> Json:
    """OrganizationId is null and organization absent outside an organisation; managed users live in the platform's."""
    shown: Json = {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "avatarUrl": user.avatar_url,
        "bio": user.bio,
        "timeFormat": user.time_format,
        "defaultScheduleId": user.default_schedule_id,
        "weekStart": user.week_start,
        "timeZone": user.time_zone,
        "username": user.username,
        "organizationId": organization_id(user),
    }
    if shown["organizationId"] is not None:
        shown["organization"] = {"isPlatform": True, "id": shown["organizationId"]}
    return shown


def organization_id(user: User) -> int | None:
    client = state().platform_clients.get(user.managed_by or "")
    return client.organization_id if client else None


def change(user: User, given: Json) -> None:
    """A new time zone does not move the default schedule."""
    schedule_id = given.get("defaultScheduleId")
    if schedule_id is not None:
        schedule = state().schedules.get(schedule_id)
        if schedule is None or schedule.owner_id != user.id:
            raise CalError(404, f"Schedule with ID={schedule_id} not found")
    taken = state().user_by_email(given.get("email") or "")
    if taken is not None and taken.id != user.id:
        raise CalError(409, "User with the provided e-mail already exists.")
    for name, value in given.items():
        setattr(user, COLUMNS[name], value)


@blueprint.get("/me")
def show_me() -> Json:
    return success(face(auth.needed("PROFILE_READ")))


@blueprint.patch("/me")
def change_me() -> Json:
    user = auth.needed("PROFILE_WRITE")
    given = checks.listed(body(), PROFILE)
    with world().writing():
        change(user, given)
        return success(face(user))
