"""Event types: listed, made, changed, and the default set."""

from typing import Annotated, Any

import strawberry
from strawberry.relay import PageInfo

from models import EventType as Row
from models import Person
from models.prepared import Prepared, among
from schema.connections import Edge, Key, page
from schema.context import Given, Info, given
from schema.people import Host
from schema.problems import ConnectionUnusable, InvalidInput, NotConnected, NotFound, NotSupported, ProviderFailure, answered
from schema.scalars import Provider
from services import event_type_changes, event_types, people

KEY = Key("event_types", Row.created_at, Row.id, lambda row: row.created_at)


@strawberry.type(description="What a booking form asks, besides name, address and time zone.")
class Question:
    question: str = strawberry.field(description="The text; createBooking's answers name it.")
    required: bool = strawberry.field(description="Whether it has to be answered.")
    choices: list[str] = strawberry.field(description="The answers that are taken; empty: any text.")


@strawberry.type(description="A kind of meeting that a host offers.")
class EventType:
    id: strawberry.ID = strawberry.field(description="Convene's id.")
    provider: Provider = strawberry.field(description="Where it is kept.")
    title: str = strawberry.field(description="What it is called.")
    slug: str | None = strawberry.field(description="Its part of the booking page's address.")
    description: str | None = strawberry.field(description="What the host says of it.")
    duration_minutes: int = strawberry.field(description="How long it lasts unless another option is chosen.")
    duration_options: list[int] = strawberry.field(description="Lengths that may be chosen; empty: only its own.")
    active: bool = strawberry.field(description="Whether it can be booked; false once it is switched off or gone at the provider.")
    hidden: bool = strawberry.field(description="Not on the host's public page.")
    requires_confirmation: bool = strawberry.field(description="A booking waits for the coach's confirmation.")
    group: bool = strawberry.field(description="Several invitees share one meeting.")
    scheduling_url: str | None = strawberry.field(description="Its booking page at the provider.")
    host: Host = strawberry.field(description="Who offers it.")
    is_default: bool = strawberry.field(description="Made by createDefaultEventTypes.")
    creates_zoom_meeting: bool = strawberry.field(description="Each booking gets a Zoom meeting in the host's account.")
    records_meeting: bool = strawberry.field(description="That meeting is recorded in Zoom's cloud.")
    questions: list[Question] = strawberry.field(description="What is asked of whoever books.")

    @classmethod
    def of(cls, row: Row, host_name: str) -> "EventType":
        return cls(
            id=strawberry.ID(row.id),
            provider=Provider(row.provider),
            title=row.title,
            slug=row.slug,
            description=row.description,
            duration_minutes=row.duration_minutes,
            duration_options=list(row.duration_options),
            active=row.active,
            hidden=row.hidden,
            requires_confirmation=row.requires_confirmation,
            group=row.is_group,
            scheduling_url=row.scheduling_url,
            host=Host(id=strawberry.ID(row.host_id), name=host_name or "Unnamed"),
            is_default=row.is_default,
            creates_zoom_meeting=row.creates_meeting,
            records_meeting=row.records_meeting,
            questions=[Question(question=text, required=required, choices=choices) for _, text, required, choices in row.questions],
        )


def shown(rows: list[Row]) -> list[EventType]:
    """Rows as the schema shows them, with their hosts' names in one statement."""
    names = dict(_names([row.host_id for row in rows])) if rows else {}
    return [EventType.of(row, names.get(row.host_id, "")) for row in rows]


@Prepared
def _names(person_ids: Any) -> Any:
    return Person.select(Person.id, Person.name).where(among(Person.id, person_ids)).tuples()


@strawberry.type(description="A page of event types.")
class EventTypeConnection:
    edges: list[Edge[EventType]] = strawberry.field(description="The items.")
    page_info: PageInfo = strawberry.field(description="Where this page stands.")


def listed(
    info: Info,
    host_id: Annotated[strawberry.ID | None, strawberry.argument(description="A person's id. Default: the viewer.")] = strawberry.UNSET,
    provider: Annotated[Provider | None, strawberry.argument(description="Only of this provider.")] = strawberry.UNSET,
    first: Annotated[int | None, strawberry.argument(description="How many, 1 to 100.")] = 25,
    after: Annotated[str | None, strawberry.argument(description="Go on behind this cursor.")] = strawberry.UNSET,
) -> EventTypeConnection | None:
    viewer = info.context.viewer
    host = people.resolve(str(host_id)) if given(host_id) is not None else viewer.person_id
    query = Row.select().where(event_types.visible_to(viewer, host))
    if provider:
        query = query.where(Row.provider == provider.value)
    found = page(query, KEY, first, after)
    edges = found.edges(shown(list(found.rows)))
    return EventTypeConnection(edges=edges, page_info=found.info)


@strawberry.input(description="Where to make the default set.")
class CreateDefaultEventTypesInput:
    provider: Provider = strawberry.field(description="Which provider.")


@strawberry.type(description="The default set is there.")
class DefaultEventTypes:
    total_created: int = strawberry.field(description="How many of them this call made.")
    created_event_types: list[EventType] = strawberry.field(description="Those that this call made.")
    existing_event_types: list[EventType] = strawberry.field(description="Those that were there.")


CreateDefaultEventTypesResult = Annotated[
    DefaultEventTypes | ConnectionUnusable | NotConnected | ProviderFailure,
    strawberry.union("CreateDefaultEventTypesResult", description="What createDefaultEventTypes answers."),
]


@answered
def create_defaults(info: Info, input: Given[CreateDefaultEventTypesInput]) -> CreateDefaultEventTypesResult:  # noqa: A002
    made = event_types.create_defaults(info.context.rt, info.context.viewer, input.provider.value)
    rows = {row.id: row for row in Row.select().where(Row.id.in_([*made.created, *made.existing]))}
    return DefaultEventTypes(
        total_created=len(made.created),
        created_event_types=shown([rows[i] for i in made.created]),
        existing_event_types=shown([rows[i] for i in made.existing]),
    )


TITLE = "What it is called."
LENGTH = "How long it lasts, in minutes."
OPTIONS = "Other lengths that may be chosen, in minutes."
MEETING = "Each booking gets a Zoom meeting: one, for its whole life. Needs a linked Zoom account."
RECORDS = "Record those meetings in Zoom's cloud; needs a plan that can."


@strawberry.input(description="A new event type of the viewer's, bookable at once. What a provider cannot set is NotSupported.")
class CreateEventTypeInput:
    provider: Provider = strawberry.field(description="At which provider.")
    title: str = strawberry.field(description=TITLE)
    duration_minutes: int = strawberry.field(description=LENGTH)
    duration_options: list[int] | None = strawberry.field(default=strawberry.UNSET, description=OPTIONS)
    slug: str | None = strawberry.field(
        default=strawberry.UNSET, description="Its part of the booking page's address; default: made of the title. Not at Calendly."
    )
    description: str | None = strawberry.field(default=strawberry.UNSET, description="What invitees read of it.")
    hidden: bool | None = strawberry.field(default=strawberry.UNSET, description="Not on the public page. Not at Calendly.")
    requires_confirmation: bool | None = strawberry.field(
        default=strawberry.UNSET, description="A booking waits for the coach's confirmation. Not at Calendly."
    )
    creates_zoom_meeting: bool | None = strawberry.field(default=strawberry.UNSET, description=MEETING)
    records_meeting: bool | None = strawberry.field(default=strawberry.UNSET, description=RECORDS)


@strawberry.input(description="What to change of an event type; what is left out stays.")
class UpdateEventTypeInput:
    event_type_id: strawberry.ID = strawberry.field(description="Which one; the viewer's own.")
    title: str | None = strawberry.field(default=strawberry.UNSET, description=TITLE)
    duration_minutes: int | None = strawberry.field(default=strawberry.UNSET, description=LENGTH)
    duration_options: list[int] | None = strawberry.field(default=strawberry.UNSET, description=OPTIONS)
    slug: str | None = strawberry.field(default=strawberry.UNSET, description="Its part of the booking page's address. Not at Calendly.")
    description: str | None = strawberry.field(default=strawberry.UNSET, description="What invitees read of it.")
    hidden: bool | None = strawberry.field(default=strawberry.UNSET, description="Not on the public page. Not at Calendly.")
    requires_confirmation: bool | None = strawberry.field(
        default=strawberry.UNSET, description="A booking waits for the coach's confirmation. Not at Calendly."
    )
    active: bool | None = strawberry.field(default=strawberry.UNSET, description="Whether it can be booked. Not at Cal.com: hide it there.")
    creates_zoom_meeting: bool | None = strawberry.field(default=strawberry.UNSET, description=MEETING)
    records_meeting: bool | None = strawberry.field(default=strawberry.UNSET, description=RECORDS)


@strawberry.type(description="The event type is there.")
class EventTypeCreated:
    event_type: EventType = strawberry.field(description="As the provider has it.")


@strawberry.type(description="The event type is changed.")
class EventTypeUpdated:
    event_type: EventType = strawberry.field(description="As the provider has it now.")


CreateEventTypeResult = Annotated[
    EventTypeCreated | NotSupported | InvalidInput | ConnectionUnusable | NotConnected | ProviderFailure,
    strawberry.union("CreateEventTypeResult", description="What createEventType answers."),
]
UpdateEventTypeResult = Annotated[
    EventTypeUpdated | NotFound | NotSupported | InvalidInput | ConnectionUnusable | NotConnected | ProviderFailure,
    strawberry.union("UpdateEventTypeResult", description="What updateEventType answers."),
]


def _wish(asked: CreateEventTypeInput | UpdateEventTypeInput) -> event_type_changes.Wish:
    options = given(asked.duration_options)
    return event_type_changes.Wish(
        title=given(asked.title),
        slug=given(asked.slug),
        description=given(asked.description),
        duration_minutes=given(asked.duration_minutes),
        duration_options=None if options is None else tuple(options),
        hidden=given(asked.hidden),
        requires_confirmation=given(asked.requires_confirmation),
        active=given(asked.active) if isinstance(asked, UpdateEventTypeInput) else None,
        creates_meeting=given(asked.creates_zoom_meeting),
        records_meeting=given(asked.records_meeting),
    )


def _one(event_type_id: str) -> EventType:
    return shown([Row.get_by_id(event_type_id)])[0]


@answered
def create(info: Info, input: Given[CreateEventTypeInput]) -> CreateEventTypeResult:  # noqa: A002
    made = event_type_changes.create(info.context.rt, info.context.viewer, input.provider.value, _wish(input))
    return EventTypeCreated(event_type=_one(made))


@answered
def update(info: Info, input: Given[UpdateEventTypeInput]) -> UpdateEventTypeResult:  # noqa: A002
    changed = event_type_changes.update(info.context.rt, info.context.viewer, str(input.event_type_id), _wish(input))
    return EventTypeUpdated(event_type=_one(changed))
