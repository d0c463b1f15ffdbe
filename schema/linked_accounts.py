"""Connecting accounts, and how the connections are."""

from datetime import datetime
from typing import Annotated

import strawberry

from models import Booking, WebhookSubscription
from models import LinkedAccount as Row
from schema.context import Given, Info, given
from schema.problems import (
    AccountInUse,
    AuthorizationDenied,
    AuthorizationExpired,
    ConnectionProblem,
    ConnectionUnusable,
    DifferentAccount,
    InvalidInput,
    NotConnected,
    NotFound,
    ProviderFailure,
    ScopeMissing,
    answered,
)
from schema.scalars import ConnectionState, LinkKind, Provider, TimeZone, WebhookHealth
from services import booking_sync, linked_accounts, linking, managed_users, server_to_server, tokens, webhook_subscriptions
from services.errors import ProviderError


@strawberry.type(description="The account at the provider.")
class ProviderAccount:
    external_id: str = strawberry.field(description="The provider's id of the account.")
    name: str | None = strawberry.field(description="Its name there.")
    email: str | None = strawberry.field(description="Its address there.")
    username: str | None = strawberry.field(description="Its user name there.")
    scheduling_url: str | None = strawberry.field(description="Its public booking page.")
    organization: str | None = strawberry.field(description="Its organization there.")
    time_zone: TimeZone | None = strawberry.field(description="Its time zone there.")


@strawberry.type(description="How far our copy of the account's bookings is.")
class SyncStatus:
    last_synced_at: datetime | None = strawberry.field(description="When the provider's list was last read; null: not yet.")
    last_error: str | None = strawberry.field(description="Why the last reading failed; null when it did not.")
    webhooks: WebhookHealth = strawberry.field(description="How the provider's news reach us.")
    bookings: int = strawberry.field(description="Bookings read through this account.")


@strawberry.type(description="One user's account at one provider. Its id survives unlinking and linking again.")
class LinkedAccount:
    row: strawberry.Private[Row]
    id: strawberry.ID = strawberry.field(description="Convene's id of the link.")
    provider: Provider = strawberry.field(description="At which provider.")
    kind: LinkKind = strawberry.field(description="How it is linked.")
    account: ProviderAccount = strawberry.field(description="The account at the provider.")
    scopes: list[str] = strawberry.field(description="What was granted.")
    access_token_expires_at: datetime | None = strawberry.field(description="When the present access token ends.")
    last_refreshed_at: datetime | None = strawberry.field(description="When the tokens were last renewed.")
    failed_refresh_count: int = strawberry.field(description="Renewals that failed since the last that did not.")
    linked_at: datetime = strawberry.field(description="Since when it is linked.")

    @strawberry.field(description="How usable it is.")
    def state(self, info: Info) -> ConnectionState:
        return ConnectionState(linked_accounts.state_of(info.context.rt, self.row)[0])

    @strawberry.field(description="What is wrong, if anything.")
    def problem(self, info: Info) -> ConnectionProblem | None:
        return ConnectionProblem.of(linked_accounts.state_of(info.context.rt, self.row)[1])

    @strawberry.field(description="How far our copy of its bookings is.")
    def sync(self, info: Info) -> SyncStatus:
        subscription = WebhookSubscription.get_or_none(WebhookSubscription.linked_account == self.row.id)
        return SyncStatus(
            last_synced_at=self.row.last_synced_at,
            last_error=self.row.last_sync_error,
            webhooks=WebhookHealth(webhook_subscriptions.health(info.context.rt, self.row, subscription)),
            bookings=Booking.select().where(Booking.linked_account == self.row.id).count(),
        )

    @classmethod
    def of(cls, row: Row) -> "LinkedAccount":
        return cls(
            row=row,
            id=strawberry.ID(row.id),
            provider=Provider(row.provider),
            kind=LinkKind(row.kind),
            account=ProviderAccount(
                external_id=row.external_id,
                name=row.name,
                email=row.email,
                username=row.username,
                scheduling_url=row.scheduling_url,
                organization=row.organization,
                time_zone=row.time_zone,
            ),
            scopes=list(row.scopes or ()),
            access_token_expires_at=row.access_expires_at,
            last_refreshed_at=row.last_refreshed_at,
            failed_refresh_count=row.failed_refresh_count,
            linked_at=row.linked_at,
        )


@strawberry.type(description="What a user is told about one provider.")
class ConnectionStatus:
    id: strawberry.ID = strawberry.field(description="<user id>:<provider>")
    provider: Provider = strawberry.field(description="Which provider.")
    state: ConnectionState = strawberry.field(description="How usable the connection is.")
    sandbox: bool = strawberry.field(description="True when this provider is the local sandbox: nothing real is touched.")
    message: str = strawberry.field(description="One sentence for the person, with the way back where there is one.")
    problem: ConnectionProblem | None = strawberry.field(description="What is wrong, if anything.")
    linked_account: LinkedAccount | None = strawberry.field(description="The link; null when there is none.")

    @classmethod
    def of(cls, status: linked_accounts.Status) -> "ConnectionStatus":
        provider = Provider(status.provider)
        return cls(
            id=strawberry.ID(f"{status.id.split(':')[0]}:{provider.name}"),
            provider=provider,
            state=ConnectionState(status.state),
            sandbox=status.sandbox,
            message=status.message,
            problem=ConnectionProblem.of(status.problem),
            linked_account=LinkedAccount.of(status.account) if status.account else None,
        )


@strawberry.input(description="What to connect.")
class ConnectProviderInput:
    provider: Provider = strawberry.field(description="Which provider.")
    kind: LinkKind | None = strawberry.field(default=LinkKind.OAUTH, description="How to link it.")
    return_to: str | None = strawberry.field(
        default=strawberry.UNSET, description="Exact address from the allow-list; default: Convene's own page."
    )
    switch_account: bool | None = strawberry.field(default=False, description="Replace the upstream account of an existing link.")


@strawberry.type(description="Send the browser to `authorizationUrl`; it comes back with `state`.")
class AuthorizationRedirect:
    authorization_url: str = strawberry.field(description="The provider's consent page.")
    state: str = strawberry.field(description="Pass it to completeConnection when the browser is back.")
    expires_at: datetime = strawberry.field(description="Until when it may be completed.")


@strawberry.type(description="The account is linked.")
class ProviderLinked:
    status: ConnectionStatus = strawberry.field(description="How the connection is now.")


ConnectProviderResult = Annotated[
    AuthorizationRedirect
    | ProviderLinked
    | InvalidInput
    | NotFound
    | DifferentAccount
    | AccountInUse
    | ConnectionUnusable
    | ProviderFailure,
    strawberry.union(
        "ConnectProviderResult", description="What connectProvider answers. ProviderLinked at once for MANAGED_USER and SERVER_TO_SERVER."
    ),
]


@strawberry.input(description="Which authorization to finish.")
class CompleteConnectionInput:
    state: str = strawberry.field(description="The state of the AuthorizationRedirect.")


CompleteConnectionResult = Annotated[
    ProviderLinked | AuthorizationDenied | AuthorizationExpired | DifferentAccount | AccountInUse | ScopeMissing | ProviderFailure,
    strawberry.union("CompleteConnectionResult", description="What completeConnection answers."),
]


@strawberry.input(description="What to unlink.")
class DisconnectProviderInput:
    provider: Provider = strawberry.field(description="Which provider.")


@strawberry.type(description="The account is unlinked; its tokens are deleted here.")
class ProviderUnlinked:
    status: ConnectionStatus = strawberry.field(description="How the connection is now.")
    message: str = strawberry.field(description="What was done, and what only the person can do at the provider.")
    revoked_upstream: bool = strawberry.field(
        description="True only when the provider confirmed. False: it has no revocation (Cal.com: remove the app there; "
        "the message says so), or it is being tried again."
    )


DisconnectProviderResult = Annotated[
    ProviderUnlinked | NotConnected, strawberry.union("DisconnectProviderResult", description="What disconnectProvider answers.")
]


@strawberry.input(description="Which connection to renew.")
class RefreshConnectionInput:
    provider: Provider = strawberry.field(description="Which provider.")
    force: bool | None = strawberry.field(default=False, description="Renew also a token that is still good.")


@strawberry.type(description="The connection has a good token.")
class ConnectionRefreshed:
    status: ConnectionStatus = strawberry.field(description="How the connection is now.")
    refreshed: bool = strawberry.field(description="False when the token was still good.")


RefreshConnectionResult = Annotated[
    ConnectionRefreshed | ConnectionUnusable | NotConnected | ProviderFailure,
    strawberry.union("RefreshConnectionResult", description="What refreshConnection answers."),
]


@strawberry.input(description="Whose bookings to read.")
class SyncBookingsInput:
    provider: Provider = strawberry.field(description="Which provider.")


@strawberry.type(description="The provider's list was read.")
class BookingsSynced:
    synced: int = strawberry.field(description="Bookings read.")
    added: int = strawberry.field(description="Of these, new here.")
    changed: int = strawberry.field(description="Of these, different from what we had.")
    status: ConnectionStatus = strawberry.field(description="How the connection is now.")


SyncBookingsResult = Annotated[
    BookingsSynced | ConnectionUnusable | NotConnected | ProviderFailure,
    strawberry.union("SyncBookingsResult", description="What syncBookings answers."),
]


def connection_status(info: Info, provider: Annotated[Provider, strawberry.argument(description="Which provider.")]) -> ConnectionStatus:
    return ConnectionStatus.of(linked_accounts.status(info.context.rt, info.context.viewer, provider.value))


def my_linked_accounts(info: Info) -> list[LinkedAccount]:
    return [LinkedAccount.of(row) for row in linked_accounts.mine(info.context.viewer)]


@answered
def connect_provider(info: Info, input: Given[ConnectProviderInput]) -> ConnectProviderResult:  # noqa: A002 - the contract's name
    rt, viewer, slug, switch = info.context.rt, info.context.viewer, input.provider.value, bool(input.switch_account)
    if input.kind is LinkKind.MANAGED_USER:
        return ProviderLinked(status=ConnectionStatus.of(managed_users.connect(rt, viewer, slug, switch_account=switch)))
    if input.kind is LinkKind.SERVER_TO_SERVER:
        return ProviderLinked(status=ConnectionStatus.of(server_to_server.connect(rt, viewer, slug, switch_account=switch)))
    begun = linking.begin(rt, viewer, slug, return_to=given(input.return_to), switch_account=switch)
    return AuthorizationRedirect(authorization_url=begun.url, state=begun.state, expires_at=begun.expires_at)


@answered
def complete_connection(info: Info, input: Given[CompleteConnectionInput]) -> CompleteConnectionResult:  # noqa: A002
    status = linking.complete(info.context.rt, info.context.viewer, input.state)
    return ProviderLinked(status=ConnectionStatus.of(status))


@answered
def disconnect_provider(info: Info, input: Given[DisconnectProviderInput]) -> DisconnectProviderResult:  # noqa: A002
    status, message, revoked = linked_accounts.disconnect(info.context.rt, info.context.viewer, input.provider.value)
    return ProviderUnlinked(status=ConnectionStatus.of(status), message=message, revoked_upstream=revoked)


@answered
def refresh_connection(info: Info, input: Given[RefreshConnectionInput]) -> RefreshConnectionResult:  # noqa: A002
    rt, viewer = info.context.rt, info.context.viewer
    account = linked_accounts.find(viewer, input.provider.value)
    try:
        refreshed = tokens.refresh(rt, account.id, force=bool(input.force))
    except ProviderError as error:
        raise linked_accounts.failure(rt, input.provider.value, error) from error
    status = linked_accounts.status(rt, viewer, input.provider.value)
    return ConnectionRefreshed(status=ConnectionStatus.of(status), refreshed=refreshed)


@answered
def sync_bookings(info: Info, input: Given[SyncBookingsInput]) -> SyncBookingsResult:  # noqa: A002
    rt, viewer = info.context.rt, info.context.viewer
    result = booking_sync.sync_mine(rt, viewer, input.provider.value)
    status = ConnectionStatus.of(linked_accounts.status(rt, viewer, input.provider.value))
    return BookingsSynced(synced=result.synced, added=result.added, changed=result.changed, status=status)
