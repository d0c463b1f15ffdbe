"""Accounts and users: making them, and how the API shows them."""

from datetime import datetime

from sandbox import times
from sandbox.zoom import ids
from sandbox.zoom.rows import Account, Json, User
from sandbox.zoom.state import ZoomState

TYPES = {"basic": 1, "pro": 2, "business": 2}


def account(known: ZoomState, account_id: str | None) -> Account:
    """The account of that name. Without a name the first there is; one that nobody has named takes the first name given."""
    if account_id is None:
        return next(iter(known.accounts.values()), None) or known.accounts.add(Account(ids.account_or_user(), named=False))
    found = known.accounts.get(account_id)
    if found is None:
        found = known.accounts.add(Account(account_id, named=True))
        for old in [one for one in known.accounts.values() if not one.named]:
            del known.accounts[old.id]
            for user in known.members(old.id):
                user.account_id = account_id
            for token in known.tokens.values():
                token.account_id = account_id if token.account_id == old.id else token.account_id
    return found


def create(known: ZoomState, now: datetime, given: Json) -> User:
    return known.users.add(
        User(
            id=ids.account_or_user(),
            email=given["email"],
            name=given["name"],
            time_zone=given.get("timeZone") or "UTC",
            account_id=account(known, given.get("accountId")).id,
            plan=given.get("plan") or "pro",
            status=given.get("status") or "active",
            personal_id=3_000_000_000 + known.next_id(),
            created_at=now,
        )
    )


def short_face(user: User) -> Json:
    first, _, last = user.name.partition(" ")
    return {
        "id": user.id,
        "first_name": first,
        "last_name": last,
        "display_name": user.name,
        "email": user.email,
        "type": TYPES[user.plan],
        "pmi": user.personal_id,
        "timezone": user.time_zone,
        "verified": 1 if user.status == "active" else 0,
        "created_at": times.seconds(user.created_at),
        "language": "en-US",
        "status": user.status,
    }


def face(user: User, web: str) -> Json:
    return short_face(user) | {
        "role_name": "Member",
        "use_pmi": False,
        "personal_meeting_url": f"{web}/j/{user.personal_id}",
        "account_id": user.account_id,
    }
