"""The schema: every field of the contract, put together from its features."""

import strawberry
from strawberry.schema.config import StrawberryConfig

# Aliases: in the classes below the plain names are the contract's fields.
from schema import atoms, creating, deciding, people, policies, rescheduling, slot_reasons
from schema import attention as trouble
from schema import audit as trail
from schema import availability as slots
from schema import bookings as meetings
from schema import erasure as forgetting
from schema import event_types as kinds
from schema import linked_accounts as links
from schema import live as stream
from schema import notifications as news
from schema import operations as intents
from schema import preferences as wishes
from schema import schedules as hours
from schema import webhooks as inbox
from schema.execution import Executor
from schema.scalars import SCALARS


@strawberry.type(description="Reading.")
class Query:
    viewer: people.User = strawberry.field(resolver=people.viewer, description="Who is signed in.")
    connection_status: links.ConnectionStatus = strawberry.field(
        resolver=links.connection_status, description="How the viewer's connection to a provider is."
    )
    linked_accounts: list[links.LinkedAccount] = strawberry.field(
        resolver=links.my_linked_accounts, description="The viewer's linked accounts."
    )
    event_types: kinds.EventTypeConnection | None = strawberry.field(
        resolver=kinds.listed,
        description="A host's bookable event types (public ones for anybody signed in; all for oneself). Default host: the viewer.",
    )
    schedules: list[hours.Schedule] = strawberry.field(
        resolver=hours.listed, description="The viewer's working hours at each linked provider."
    )
    availability: slots.AvailabilityResult = strawberry.field(
        resolver=slots.find, description="Free slots of an event type, or of a booking that is to move."
    )
    explain_slot: slot_reasons.ExplainSlotResult = strawberry.field(
        resolver=slot_reasons.explain, description="Why a slot can or cannot be had."
    )
    policy: policies.Policy = strawberry.field(
        resolver=policies.mine, description="The viewer's rules for moving and cancelling, in general or for one of their event types."
    )
    bookings: meetings.BookingConnection | None = strawberry.field(
        resolver=meetings.listed, description="Bookings in which the viewer takes part."
    )
    booking: meetings.Booking | None = strawberry.field(
        resolver=meetings.one, description="One booking; null when there is none that the viewer may see."
    )
    booking_operation: intents.BookingOperation | None = strawberry.field(
        resolver=intents.operation, description="An operation of the viewer's own."
    )
    notifications: news.NotificationConnection | None = strawberry.field(
        resolver=news.listed, description="What the viewer was told, newest first."
    )
    webhook_events: inbox.WebhookEventConnection | None = strawberry.field(
        resolver=inbox.listed, description="The inbox; admins only (others: null with a FORBIDDEN error)."
    )

    attention: trouble.AttentionItemConnection | None = strawberry.field(
        resolver=trouble.listed,
        description="Stuck operations, dead webhooks and e-mails, drift: what and what to do; admins only (others: null with a FORBIDDEN "
        "error).",
    )
    audit_entries: trail.AuditEntryConnection | None = strawberry.field(
        resolver=trail.listed, description="Who changed what, newest first; admins only (others: null with a FORBIDDEN error)."
    )


@strawberry.type(description="Changing. Expected failures are members of each result.")
class Mutation:
    connect_provider: links.ConnectProviderResult = strawberry.mutation(
        resolver=links.connect_provider, description="Begin to link an account."
    )
    complete_connection: links.CompleteConnectionResult = strawberry.mutation(
        resolver=links.complete_connection,
        description="Finishes what connectProvider began; only the same signed-in user can. The browser comes back with `state`; "
        "the provider's code never leaves the server.",
    )
    disconnect_provider: links.DisconnectProviderResult = strawberry.mutation(
        resolver=links.disconnect_provider, description="Unlink an account."
    )
    refresh_connection: links.RefreshConnectionResult = strawberry.mutation(
        resolver=links.refresh_connection, description="Renew the tokens of a connection."
    )
    create_default_event_types: kinds.CreateDefaultEventTypesResult = strawberry.mutation(
        resolver=kinds.create_defaults, description="Make the default set of event types, once."
    )
    create_event_type: kinds.CreateEventTypeResult = strawberry.mutation(resolver=kinds.create, description="Make an event type.")
    update_event_type: kinds.UpdateEventTypeResult = strawberry.mutation(resolver=kinds.update, description="Change an event type.")
    update_schedule: hours.UpdateScheduleResult = strawberry.mutation(resolver=hours.update, description="Change working hours.")
    create_booking: creating.CreateBookingResult = strawberry.mutation(resolver=creating.create, description="Make a booking.")
    reschedule_booking: rescheduling.RescheduleBookingResult = strawberry.mutation(
        resolver=rescheduling.reschedule, description="Move a booking; it keeps its id."
    )
    cancel_booking: rescheduling.CancelBookingResult = strawberry.mutation(resolver=rescheduling.cancel, description="Cancel a booking.")
    confirm_booking: deciding.DecideBookingResult = strawberry.mutation(
        resolver=deciding.confirm, description="A coach answers a PENDING booking: yes."
    )
    decline_booking: deciding.DecideBookingResult = strawberry.mutation(
        resolver=deciding.decline, description="A coach answers a PENDING booking: no."
    )
    update_policy: policies.UpdatePolicyResult = strawberry.mutation(
        resolver=policies.update, description="A coach's rules for moving and cancelling."
    )
    resolve_attention: trouble.ResolveAttentionResult = strawberry.mutation(
        resolver=trouble.resolve, description="Do something about an item of `attention`; admins only."
    )
    sync_bookings: links.SyncBookingsResult = strawberry.mutation(
        resolver=links.sync_bookings, description="Read the provider's list of bookings now."
    )
    mark_notifications_read: news.MarkNotificationsReadResult = strawberry.mutation(
        resolver=news.mark_read, description="Mark notifications as read."
    )
    update_preferences: wishes.UpdatePreferencesResult = strawberry.mutation(
        resolver=wishes.update, description="Set time zone, notification channels and reminders."
    )
    start_atoms_session: atoms.StartAtomsSessionResult = strawberry.mutation(
        resolver=atoms.start,
        description="A handle for Cal.com Atoms in this browser session: clientId, apiUrl, refreshUrl and the current access token.",
    )
    start_live_updates: stream.LiveUpdatesTicket = strawberry.mutation(
        resolver=stream.start,
        description="A ticket for GET /events: what changes for the viewer, as server-sent events (docs/live-updates.md).",
    )
    replay_webhook_events: inbox.ReplayWebhookEventsResult = strawberry.mutation(
        resolver=inbox.replay, description="Apply deliveries again; admins only."
    )
    erase_user: forgetting.EraseUserResult = strawberry.mutation(
        resolver=forgetting.erase,
        description="Erase a user: links, tokens and personal data go, history stays under ids that name nobody; admins only.",
    )


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    execution_context_class=Executor,
    config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=False),
)
