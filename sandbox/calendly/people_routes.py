"""Users, organizations and memberships."""

from flask import request

from sandbox.calendly import auth, faces, paging
from sandbox.calendly.blueprint import blueprint
from sandbox.calendly.checks import Given
from sandbox.calendly.context import resource, setting, state
from sandbox.calendly.errors import NO_ACCESS, ApiError
from sandbox.calendly.rows import Json, Membership


@blueprint.get("/users/me")
def show_me() -> Json:
    return resource(faces.user(setting(), auth.needed("users:read").user))


@blueprint.get("/users/<user_id>")
def show_user(user_id: str) -> Json:
    """Oneself and the others of one's organization."""
    caller, user = auth.needed("users:read"), state().users.get(user_id)
    if user is None:
        raise ApiError(404)
    if not caller.same_organization(user):
        raise ApiError(403, NO_ACCESS)
    return resource(faces.user(setting(), user))


@blueprint.get("/organizations/<organization_id>")
def show_organization(organization_id: str) -> Json:
    caller, row = auth.needed("organizations:read"), state().organizations.get(organization_id)
    if row is None:
        raise ApiError(404)
    if caller.user.organization_id != row.id:
        raise ApiError(403, NO_ACCESS)
    return resource(faces.organization(setting(), row))


@blueprint.get("/organization_memberships")
def list_memberships() -> Json:
    """Of oneself, or of the organization one administers."""
    caller, given = auth.needed("organizations:read"), Given(request.args)
    user = given.resource(setting(), "user", "users")
    organization = given.resource(setting(), "organization", "organizations")
    email, role = given.text("email"), given.choice("role", ("owner", "admin", "user"))
    given.one_of("user", "organization", "email")
    count = paging.read(given)
    given.finish()
    if (organization or email) and not user and not caller.is_admin:
        raise ApiError(403, NO_ACCESS)
    if organization not in {None, caller.user.organization_id}:
        raise ApiError(403, NO_ACCESS)
    if user is not None and user not in state().users:
        raise ApiError(404)
    if user is not None:
        caller.check_manages(user)

    def wanted(row: Membership) -> bool:
        member = state().users[row.user_id]
        return (
            row.organization_id == caller.user.organization_id
            and user in {None, row.user_id}
            and (email is None or member.email.lower() == email.lower())
            and role in {None, row.role}
        )

    rows = [row for row in list(state().memberships.values()) if wanted(row)]
    return paging.page(rows, lambda row: faces.membership(setting(), row), count)


@blueprint.get("/organization_memberships/<membership_id>")
def show_membership(membership_id: str) -> Json:
    caller, row = auth.needed("organizations:read"), state().memberships.get(membership_id)
    if row is None:
        raise ApiError(404)
    caller.check_manages(row.user_id)
    return resource(faces.membership(setting(), row))
