"""The routes of users."""

from flask import request

from sandbox.zoom import auth, errors, paging, people
from sandbox.zoom.auth import Caller
from sandbox.zoom.blueprint import blueprint, guarded
from sandbox.zoom.context import state, web, world
from sandbox.zoom.rows import Json


@blueprint.get("/users/<user_id>")
@guarded("Light", "user:read:user")
def show_user(caller: Caller, user_id: str) -> Json:
    with world().lock:
        return people.face(auth.find_user(caller, user_id), web())


@blueprint.get("/users")
@guarded("Medium", "user:read:list_users")
def list_users(caller: Caller) -> Json:
    """Active ones unless `status=pending` is asked for. A list of the account: its scope is the account's."""
    auth.check_scope(caller, "user:read:list_users", "everybody")
    status = request.args.get("status", "active")
    if status not in {"active", "inactive", "pending"}:
        raise errors.invalid("status")
    with world().lock:
        rows = [user for user in state().members(caller.account_id) if user.status == status]
        shown, size, token = paging.page(rows)
        users = [people.short_face(user) for user in shown]
    return {
        "page_count": -(-len(rows) // size),
        "page_number": 1,
        "page_size": size,
        "total_records": len(rows),
        "next_page_token": token,
        "users": users,
    }
