"""Linking somebody to their user in a provider's account for which this installation acts with its own credentials."""

from services import installation_tokens, linking, tokens
from services.errors import InvalidInput, NotFound, ProviderError
from services.identity import Viewer
from services.linked_accounts import Status, failure, status
from services.linking import Link
from services.logging import get_logger
from services.providers.base import BearerAuth
from services.runtime import Runtime

log = get_logger("linked_accounts")


def connect(rt: Runtime, viewer: Viewer, slug: str, *, switch_account: bool) -> Status:
    """Link the viewer to the user with their verified address. Doing it again finds the same one.

    Raises InvalidInput (not set up here, or a sign-in without a verified address), NotFound (no such user),
    DifferentAccount, AccountInUse, ProviderFailure.
    """
    provider = rt.providers[slug]
    if tokens.SERVER_TO_SERVER not in provider.link_kinds:
        raise linking.not_set_up(rt, slug, "a server-to-server app")
    if viewer.email is None:
        raise InvalidInput.of("kind", f"Your {provider.label} user is found by a verified e-mail address, and this sign-in has none.")
    try:
        bearer = BearerAuth(installation_tokens.current(rt, slug).value)
        remote = rt.meetings(slug).installation_user(bearer, viewer.email)
    except ProviderError as error:
        raise failure(rt, slug, error) from error
    if remote is None:
        raise NotFound(f"There is no active {provider.label} user with your verified address in this installation's account.")
    account_id = linking.link(rt, viewer, Link(slug, tokens.SERVER_TO_SERVER, remote, switch_account=switch_account))
    rt.wake("work")
    log.info("account linked", account=account_id, provider=slug)
    return status(rt, viewer, slug)
