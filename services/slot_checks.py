"""Whether a time can be had: both parties' calendars asked now, by the table of DESIGN 10.

    who changes   mentee linked   the coach's calendar   the mentee's calendar
    coach         yes             forbids                is told, and may be accepted
    coach         no              forbids                is not asked
    mentee        yes             forbids                forbids
    mentee        no              forbids                is not asked, and the mentee is warned

Convene's own bookings and holds of everybody are always checked (services/change_rules.py `clashes`). Of the other party's
calendar nobody learns more than that it is taken.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services import availability, calendars, intervals, limits, notices
from services.availability import Mutual
from services.calendars import Subject
from services.errors import (
    Conflict,
    Problem,
    ProviderError,
    ProviderFailure,
    SlotDetails,
    SlotUnavailable,
    SourceUnverified,
    TooManyRequests,
)
from services.identity import Viewer
from services.notices import Notice
from services.operations import Verdict
from services.runtime import Runtime
from services.sides import Side

MOST_TOLD, TOLD_WITHIN = 60, timedelta(minutes=10)
Role = Literal["COACH", "MENTEE", "OTHER"]
"""What whoever asks is in it; OTHER books for somebody else, whose calendar is then nobody's to look at."""


@dataclass(frozen=True)
class Wanted:
    """A time for an event type's host and (where one person attends) the mentee, as somebody asked for it."""

    subject: Subject
    attends: str | None
    asked_by: Role
    start: datetime
    end: datetime
    accept: bool


def judge(asked_by: Role, conflicts: list[Conflict], *, accept: bool, mentee_linked: bool) -> Verdict:
    """What Convene's own bookings and holds come to. Raises SlotUnavailable."""
    if not conflicts:
        return Verdict()
    coachs = any(conflict.role == "COACH" for conflict in conflicts)
    may_accept = not coachs and not (asked_by == "MENTEE" and mentee_linked)
    if may_accept and accept:
        return Verdict([notices.mentee_conflict(own=asked_by == "MENTEE").kept()])
    who = "The coach has" if coachs else ("You have" if asked_by == "MENTEE" else "The mentee has")
    raise SlotUnavailable(f"{who} something else at that time.", SlotDetails(conflicts, [], may_accept))


def ask(rt: Runtime, wanted: Wanted, before: Verdict) -> tuple[Verdict, tuple[str, ...]]:
    """Ask the calendars of the sides in the table now: (what to tell, the roles that were asked).

    `before`: what was found already. Raises SlotUnavailable and SourceUnverified.
    """
    attends = wanted.attends if wanted.asked_by != "OTHER" and wanted.attends and calendars.is_linked(rt, wanted.attends) else None
    found = _asked(rt, wanted, attends)
    verdict = Verdict()
    if found.mentee is None:
        return verdict, ("COACH",)
    told = {kept["code"] for kept in before.warnings}
    of_mentee = _of_mentee(wanted, found, found.mentee)
    if wanted.asked_by == "MENTEE" and not found.mentee.linked:
        # the link broke while it was asked
        of_mentee.append(availability.not_connected(rt, found.mentee.person_id, wanted.subject.account.provider))
    for notice in of_mentee:
        if notice.code not in told:
            verdict.warnings.append(notice.kept())
    return verdict, ("COACH", "MENTEE") if found.mentee.linked and not found.mentee.unknown else ("COACH",)


def _asked(rt: Runtime, wanted: Wanted, attends: str | None) -> Mutual:
    """Raises SourceUnverified and SlotUnavailable for the coach's side."""
    try:
        found = availability.mutual(rt, wanted.subject, attends, wanted.start, wanted.end, timedelta(0))
    except (ProviderError, ProviderFailure) as error:
        raise _unverified(wanted, retry_at=getattr(error, "retry_at", None)) from error
    if found.stale or found.coach.unknown:
        raise _unverified(wanted, retry_at=None)
    if intervals.minute(wanted.start) not in found.free(mentee=False) or wanted.start.second or wanted.start.microsecond:
        subject, reason = wanted.subject, "BUSY" if wanted.asked_by == "COACH" else "OTHER_PARTY_UNAVAILABLE"
        conflict = Conflict(subject.host_id, subject.host_name, "COACH", reason, wanted.start, wanted.end)
        raise SlotUnavailable("The coach is not available at that time.", SlotDetails([conflict]))
    return found


def _of_mentee(wanted: Wanted, found: Mutual, side: Side) -> list[Notice]:
    slot = (intervals.minute(wanted.start), intervals.minute(wanted.start) + found.subject.minutes)
    told = []
    if side.unknown:
        if not wanted.accept:
            raise SourceUnverified(
                f"{_whose(wanted)} calendar cannot be asked right now. Try again in a moment, or accept the risk with acceptConflicts.",
                person_id=side.person_id,
                name=side.name,
                role="MENTEE",
                can_accept=True,
            )
        told.append(notices.MENTEE_UNKNOWN)
    if intervals.meets(slot, side.busy):
        may_accept = wanted.asked_by == "COACH"
        if not (may_accept and wanted.accept):
            reason = "BUSY" if wanted.asked_by == "MENTEE" else "OTHER_PARTY_UNAVAILABLE"
            conflict = Conflict(side.person_id, side.name, "MENTEE", reason, wanted.start, wanted.end)
            who = "You have" if wanted.asked_by == "MENTEE" else "The mentee has"
            raise SlotUnavailable(f"{who} something else at that time.", SlotDetails([conflict], [], may_accept))
        told.append(notices.mentee_conflict(own=False))
    if side.hours is not None and not intervals.within([slot[0]], found.subject.minutes, side.hours):
        told.append(notices.OUTSIDE_OVERLAP)
    return told


def _whose(wanted: Wanted) -> str:
    return "Your" if wanted.asked_by == "MENTEE" else "The mentee's"


def _unverified(wanted: Wanted, *, retry_at: datetime | None) -> SourceUnverified:
    advice = f"Try again after {retry_at:%H:%M:%S} UTC." if retry_at else "Try again in a moment."
    return SourceUnverified(
        f"The coach's calendar cannot be asked right now, so nothing was changed. {advice}",
        person_id=wanted.subject.host_id,
        name=wanted.subject.host_name,
        role="COACH",
        can_accept=False,
    )


def helpful(rt: Runtime, viewer: Viewer, wanted: Wanted, refused: SlotUnavailable) -> Problem:
    """The same refusal with up to five slots that work for all who must be free.

    How often somebody is told of a mentee's time is limited, so that nobody reads another's calendar slot by slot.
    """
    tells = any(conflict.role == "MENTEE" and conflict.reason == "OTHER_PARTY_UNAVAILABLE" for conflict in refused.details.conflicts)
    if tells and (retry_at := limits.spend(rt, f"conflicts:{viewer.user_id}", most=MOST_TOLD, span=TOLD_WITHIN)):
        return TooManyRequests("Too many times were tried that do not suit the other party. Wait a moment.", retry_at)
    if not refused.details.alternatives:
        attends = None if wanted.asked_by == "OTHER" else wanted.attends
        refused.details.alternatives = availability.alternatives(rt, wanted.subject, attends, wanted.start)
    return refused
