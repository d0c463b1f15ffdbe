"""Managed users: accounts that Convene makes at the provider with its own platform credentials, without any consent page.

Deprecated at Cal.com, still in use. Making one answers a pair of tokens, and so does finding that it exists already;
neither is kept: every pair comes through the intent row of services/tokens.py, so that two links at once cannot store a
pair which the other one has killed.
"""

from models import LinkedAccount, User
from services import audit, linking, tokens
from services.atoms import hand_out
from services.errors import InvalidInput, NotFound, ProviderError
from services.identity import Viewer
from services.linked_accounts import Status, failure, status
from services.linking import Link
from services.logging import get_logger
from services.providers.base import AccessToken
from services.runtime import Runtime

log = get_logger("managed_users")


def connect(rt: Runtime, viewer: Viewer, slug: str, *, switch_account: bool) -> Status:
    """Link the viewer's managed user, made now if there is none. Doing it again renews what went wrong.

    Raises InvalidInput (not set up here, or a sign-in without a verified address), DifferentAccount, AccountInUse,
    ProviderFailure and ConnectionUnusable.
    """
    if tokens.MANAGED_USER not in rt.providers[slug].link_kinds:
        raise linking.not_set_up(rt, slug, "managed users")
    if viewer.email is None:
        raise InvalidInput.of("kind", "A managed user is made for a verified e-mail address, and this sign-in has none.")
    user = User.get_by_id(viewer.user_id)
    time_zone = user.chosen_time_zone or user.time_zone
    try:
        remote = rt.managed_users(slug).managed_user(email=viewer.email, name=viewer.name, time_zone=time_zone)
    except ProviderError as error:
        raise failure(rt, slug, error) from error
    account_id = linking.link(rt, viewer, Link(slug, tokens.MANAGED_USER, remote, switch_account=switch_account))
    tokens.ensure_valid(rt, account_id)
    rt.wake("work")
    log.info("managed user linked", account=account_id, provider=slug)
    return status(rt, viewer, slug)


def token_for(rt: Runtime, viewer: Viewer, username: str) -> AccessToken:
    """An access token of the viewer's own managed user of that name; an admin gets anybody's.

    Raises NotFound, ProviderFailure, ConnectionUnusable.
    """
    named = (LinkedAccount.kind == tokens.MANAGED_USER) & LinkedAccount.connected & (LinkedAccount.username == username)
    account = LinkedAccount.get_or_none(named if viewer.is_admin else named & (LinkedAccount.user == viewer.user_id))
    if account is None:
        raise NotFound("You have no managed user of that name.")
    if account.user_id != viewer.user_id:
        audit.record(rt, "admin.token_issued", ("LinkedAccount", account.id), owner=account.user_id)
    return hand_out(rt, account.id)
