"""Making a booking: through an operation, so that it is made once, and everybody's time is held meanwhile.

The viewer books for themselves or for somebody they name; a coach books somebody into their own calendar. Whose calendars
are asked is the table in services/slot_checks.py: those of somebody third are nobody's to look at.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from models import EventType, LinkedAccount
from models.base import to_ms
from services import availability, calendars, operations, people, slot_checks, tokens
from services.calendars import Subject
from services.change_outcomes import Changed, attempt, recorded_outcome
from services.change_rules import clashes
from services.errors import FieldProblem, InvalidInput, ProviderError, SlotUnavailable, Unbookable
from services.identity import Viewer
from services.linked_accounts import failure
from services.operations import Intent, Plan, Verdict
from services.providers.base import Auth, BookingWish
from services.runtime import Runtime
from services.slot_checks import Role, Wanted

ADDRESS = re.compile(r"[^@\s<>\"(),:;]+@[^@\s<>\"(),:;]+\.[^@\s<>\"(),:;.]+")
LONGEST_NAME, LONGEST_ADDRESS, LONGEST_ANSWER = 200, 254, 5000


@dataclass(frozen=True)
class Attendee:
    name: str
    email: str
    time_zone: str


@dataclass(frozen=True)
class BookingRequest:
    event_type_id: str
    start: datetime
    minutes: int | None
    attendee: Attendee | None
    answers: tuple[tuple[str, str], ...]
    accept_conflicts: bool


def create(rt: Runtime, viewer: Viewer, request: BookingRequest, key: str) -> Changed:
    """Make a booking. Raises the problems of CreateBookingResult, and InProgress when the outcome is not known yet.

    The same key again gives the same outcome, also after a crash.
    """
    intent = _intent(request, key)
    if (earlier := operations.replay(viewer, intent)) is not None:
        return recorded_outcome(earlier)
    subject = availability.of_event_type(rt, viewer, request.event_type_id, request.minutes)
    kind = EventType.get_by_id(request.event_type_id)
    if subject.account.problem_code in tokens.NEEDS_PERSON:
        raise tokens.unusable(rt, subject.account)
    if not rt.providers[kind.provider].capabilities.books:
        raise InvalidInput.of("eventTypeId", f"This can only be booked on its own page: {kind.scheduling_url}")
    attendee, asked_by = _attendee(viewer, kind, request)
    answers = _answers(rt, kind, request, attendee)
    wish = {"eventType": kind.external_id, "email": attendee.email, "minutes": subject.own_minutes, "askedBy": asked_by}
    end = request.start + timedelta(minutes=subject.minutes)
    plan = Plan("BOOKED", request.start, end, account_id=subject.account.id, event_type_id=kind.id, wish=wish)
    booking = _Booking(kind, subject, attendee, answers, asked_by, request, end)
    try:
        return booking.make(rt, viewer, intent, plan)
    except SlotUnavailable as refused:
        attends = viewer.person_id if asked_by == "MENTEE" else None
        raise slot_checks.helpful(rt, viewer, booking.wanted(attends), refused) from refused


def _intent(request: BookingRequest, key: str) -> Intent:
    attendee = request.attendee
    payload: dict[str, Any] = {
        "eventTypeId": request.event_type_id,
        "start": to_ms(request.start),
        "durationMinutes": request.minutes,
        "attendee": [attendee.name, attendee.email, attendee.time_zone] if attendee else None,
        "answers": [list(one) for one in request.answers],
        "acceptConflicts": request.accept_conflicts,
    }
    return Intent("createBooking", key, payload)


@dataclass(frozen=True)
class _Booking:
    """One request, after everything that can be said without locks and calendars."""

    kind: EventType
    subject: Subject
    attendee: Attendee
    answers: tuple[tuple[str, str], ...]
    asked_by: Role
    request: BookingRequest
    end: datetime

    def wanted(self, attends: str | None, operation_id: str | None = None) -> Wanted:
        return Wanted(
            replace(self.subject, asked_by=operation_id),
            attends,
            self.asked_by,
            self.request.start,
            self.end,
            self.request.accept_conflicts,
        )

    def make(self, rt: Runtime, viewer: Viewer, intent: Intent, plan: Plan) -> Changed:
        mentee: list[str] = []

        def parties() -> list[str]:
            # made once more when the transaction has to be repeated
            mentee[:] = [self._person(viewer)]
            return [self.kind.host_id, *mentee]

        operation, new = operations.begin_booking(
            rt, viewer, intent, plan, parties=parties, check=lambda locked: self._check(rt, viewer, mentee[0], locked)
        )
        if not new:
            return recorded_outcome(operation)
        rt.step("operation.begun")
        with operations.unsent(rt, operation):
            before = Verdict(list(operation.warnings or ()))
            attends = None if self.kind.is_group and self.asked_by != "MENTEE" else people.resolve(mentee[0])
            verdict, checked = slot_checks.ask(rt, self.wanted(attends, operation.id), before)
            auth = self._auth(rt, viewer)
            provider = rt.bookable(self.kind.provider)
            try:
                draft = provider.draft(auth, self._wish(operation.id))
                quotas = provider.quotas(auth)
            except Unbookable as error:
                raise InvalidInput.of("eventTypeId", error.message) from error
            except ProviderError as error:
                raise failure(rt, self.kind.provider, error) from error
        rt.step("operation.checked")
        return attempt(rt, operation, lambda: provider.book(auth, draft), verdict=verdict, checked=checked, quotas=quotas)

    def _person(self, viewer: Viewer) -> str:
        if self.asked_by == "MENTEE":
            return viewer.person_id
        return people.find_or_create([people.email_identity(self.attendee.email)], self.attendee.name, self.attendee.time_zone)

    def _check(self, rt: Runtime, viewer: Viewer, mentee: str, locked: list[str]) -> Verdict:
        """Under the locks: what Convene itself knows of everybody's time."""
        mentee, host = people.resolve(mentee), people.resolve(self.kind.host_id)
        if mentee == host:
            raise InvalidInput.of("attendee.email", "This is the host's own address: name who attends.")
        linked = calendars.is_linked(rt, mentee)
        verdict = Verdict()
        if self.asked_by == "MENTEE" and not linked:
            verdict.warnings.append(availability.not_connected(rt, viewer.person_id, self.kind.provider).kept())
        names = {host: (self.subject.host_name, "COACH"), mentee: (self.attendee.name, "MENTEE")}
        parties = {person: names[person] for person in locked if person in names}
        occasion = self.kind if self.kind.is_group else None
        conflicts = clashes(viewer, parties, self.request.start, self.end, occasion=occasion)
        if self.asked_by == "OTHER":
            # where another's meetings begin and end is nobody's to learn
            conflicts = [replace(conflict, start=self.request.start, end=self.end) for conflict in conflicts]
        found = slot_checks.judge(self.asked_by, conflicts, accept=self.request.accept_conflicts, mentee_linked=linked)
        verdict.warnings += found.warnings
        return verdict

    def _auth(self, rt: Runtime, viewer: Viewer) -> Auth:
        """The coach's own token for their own bookings; a mentee's own or none, where the provider lets anybody book."""
        account: LinkedAccount | None = self.subject.account
        if self.asked_by != "COACH" and rt.providers[self.kind.provider].capabilities.anonymous:
            account = LinkedAccount.get_or_none(
                (LinkedAccount.user == viewer.user_id) & (LinkedAccount.provider == self.kind.provider) & LinkedAccount.connected
            )
            if account is None or account.problem_code in tokens.NEEDS_PERSON:
                return None
        assert account is not None
        tokens.ensure_valid(rt, account.id)
        return tokens.auth_of(account)

    def _wish(self, mark: str) -> BookingWish:
        return BookingWish(
            event_type_id=self.kind.external_id,
            start=self.request.start,
            minutes=self.subject.own_minutes,
            name=self.attendee.name,
            email=self.attendee.email,
            time_zone=self.attendee.time_zone,
            answers=self.answers,
            mark=mark,
        )


# ---- what was asked ------------------------------------------------------------------------------------------------------


def _attendee(viewer: Viewer, kind: EventType, request: BookingRequest) -> tuple[Attendee, Role]:
    """Who attends, and what whoever asks is then. Raises InvalidInput."""
    hosts = viewer.person_id == people.resolve(kind.host_id)
    if request.attendee is None:
        if hosts:
            raise InvalidInput.of("attendee", "This is your own event type: name who attends.")
        if not viewer.email:
            raise InvalidInput.of("attendee", "Your sign-in tells no verified e-mail address: give `attendee` with one.")
        return Attendee(viewer.name, viewer.email, viewer.time_zone), "MENTEE"
    given = Attendee(request.attendee.name.strip(), request.attendee.email.strip().lower(), request.attendee.time_zone)
    if hosts:
        return given, "COACH"
    # by any address that they have proven to be theirs
    themselves = given.email == (viewer.email or "").lower() or people.known(people.email_identity(given.email)) == viewer.person_id
    return given, "MENTEE" if themselves else "OTHER"


def _answers(rt: Runtime, kind: EventType, request: BookingRequest, attendee: Attendee) -> tuple[tuple[str, str], ...]:
    """The answers by the questions' keys, after everything that is wrong with the request is told at once. Raises InvalidInput."""
    found: dict[str, str] = {}
    problems = [*_problems(rt, request, attendee), *_unfitting(kind.questions, request.answers, found), *_unanswered(kind.questions, found)]
    if problems:
        raise InvalidInput(*problems)
    return tuple((key, answer) for key, answer in found.items() if answer.strip())


def _problems(rt: Runtime, request: BookingRequest, attendee: Attendee) -> list[FieldProblem]:
    problems = []
    if request.start <= rt.clock.now():
        problems.append(FieldProblem(("start",), "The start lies in the past."))
    if request.start.second or request.start.microsecond:
        problems.append(FieldProblem(("start",), "Bookings begin on a whole minute."))
    if request.start > rt.clock.now() + availability.FARTHEST:
        problems.append(FieldProblem(("start",), "The start lies more than two years ahead."))
    if not 1 <= len(attendee.name) <= LONGEST_NAME:
        problems.append(FieldProblem(("attendee", "name"), f"The name must have 1 to {LONGEST_NAME} characters."))
    if not ADDRESS.fullmatch(attendee.email) or len(attendee.email) > LONGEST_ADDRESS:
        problems.append(FieldProblem(("attendee", "email"), "This is no e-mail address."))
    return problems


def _unfitting(questions: Sequence[Any], answers: Sequence[tuple[str, str]], found: dict[str, str]) -> list[FieldProblem]:
    """What no question takes; the others go to `found`. A question is named by its text, or by its key."""
    known = {question[0]: question for question in questions} | {question[1]: question for question in questions}
    problems = []
    for number, (text, answer) in enumerate(answers):
        question = known.get(text)
        if question is None:
            problems.append(FieldProblem(("answers", str(number), "question"), "The event type does not ask this."))
        elif question[0] in found:
            problems.append(FieldProblem(("answers", str(number), "question"), "This is answered twice."))
        elif len(answer) > LONGEST_ANSWER:
            problems.append(FieldProblem(("answers", str(number), "answer"), f"At most {LONGEST_ANSWER} characters are taken."))
        elif question[3] and answer not in question[3]:
            problems.append(FieldProblem(("answers", str(number), "answer"), f"Choose one of: {', '.join(question[3])}."))
        else:
            found[question[0]] = answer
    return problems


def _unanswered(questions: Sequence[Any], found: dict[str, str]) -> list[FieldProblem]:
    return [
        FieldProblem(("answers",), f"“{text}” has to be answered.")
        for key, text, required, _ in questions
        if required and not found.get(key, "").strip()
    ]
