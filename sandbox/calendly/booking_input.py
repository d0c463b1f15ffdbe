"""What `POST /invitees` accepts: the invitee, the place, the answers, the tracking, the guests."""

from sandbox.calendly.checks import Given, is_email
from sandbox.calendly.faces import TRACKING
from sandbox.calendly.rows import EventType, Json

TEXT_KINDS = {"physical", "outbound_call", "ask_invitee", "custom"}  # the kinds whose location the caller may spell
INVITEE_KINDS = {"outbound_call", "ask_invitee"}  # the kinds where only the invitee knows it
MOST_GUESTS = 10


def person(given: Given, event_type: EventType) -> Json:
    """`name`, or `first_name` with or without `last_name`."""
    sent = given.values.get("invitee")
    if not isinstance(sent, dict):
        given.wrong("invitee", "is missing")
        return {}
    inner = Given(sent)
    email, zone = inner.email("email", required=True), inner.zone("timezone", required=True)
    first, last, name = inner.text("first_name"), inner.text("last_name"), inner.text("name")
    phone = inner.text("text_reminder_number")
    if not name and not first:
        inner.wrong("name", "is missing")
    inner.finish()
    if event_type.split_name and not first:
        first, _, rest = str(name).partition(" ")
        last = last or rest or None
    whole = name or " ".join(part for part in (first, last) if part)
    return {"email": email, "time_zone": zone, "name": whole, "first_name": first, "last_name": last, "text_reminder_number": phone}


def place(given: Given, event_type: EventType) -> Json | None:
    """One of the configured ones; its text only where the caller may spell it. Left out where the type has none."""
    sent, known = given.values.get("location"), event_type.locations or []
    if sent is None:
        if known:
            given.wrong("location", "is missing")
        return None
    if not isinstance(sent, dict) or not isinstance(sent.get("location"), str | None):
        given.wrong("location")
        return None
    kind, text = sent.get("kind"), sent.get("location")
    fitting = [one for one in known if one["kind"] == kind]
    if not fitting:
        given.wrong("location", "does not match a location of the event type")
        return None
    if text and kind not in TEXT_KINDS:
        given.wrong("location.location", "is not allowed for this kind")
    if kind in INVITEE_KINDS:
        if not text:
            given.wrong("location.location", "is missing")
        return fitting[0] | {"location": text}
    chosen = _chosen(fitting, text)
    if chosen is None:
        given.wrong("location", "does not match a location of the event type")
    return chosen


def _chosen(fitting: list[Json], text: str | None) -> Json | None:
    """Whether a text that differs from the configured one is taken is open [?]: it is refused here."""
    for place in fitting:
        if text in {None, place.get("location")}:
            return place
        if not place.get("location"):
            return place | {"location": text}
    return None


def answers(given: Given, event_type: EventType) -> list[Json]:
    """The question must repeat the configured text letter for letter."""
    asked = {question["name"]: question for question in event_type.questions if question["enabled"]}
    made: list[Json] = []
    for sent in given.listed("questions_and_answers"):
        if not isinstance(sent, dict) or not isinstance(sent.get("answer"), str) or not isinstance(sent.get("question"), str):
            given.wrong("questions_and_answers", "must have question and answer")
            continue
        question = asked.get(sent["question"])
        if question is None:
            given.wrong("questions_and_answers", "question does not match the event type")
        elif not _fits(question, sent["answer"]):
            given.wrong("questions_and_answers", "answer is not one of the choices")
        else:
            made.append({"answer": sent["answer"], "position": question["position"], "question": question["name"]})
    answered = {row["question"] for row in made if row["answer"].strip()}
    if any(question["required"] and name not in answered for name, question in asked.items()):
        given.wrong("questions_and_answers", "a required question is not answered")
    return sorted(made, key=lambda row: int(row["position"]))


def _fits(question: Json, answer: str) -> bool:
    if question["type"] != "single_select" or question["include_other"]:
        return True
    return answer in question["answer_choices"]


def tracking(given: Given) -> Json:
    """The only place for a caller's own id; unknown keys are dropped."""
    sent = given.values.get("tracking")
    if sent is None:
        return {}
    if not isinstance(sent, dict):
        given.wrong("tracking")
        return {}
    inner = Given(sent)
    made = {name: inner.text(name, longest=255) for name in TRACKING}
    inner.finish()
    return made


def guests(given: Given) -> list[str]:
    found = given.listed("event_guests")
    if len(found) > MOST_GUESTS:
        given.wrong("event_guests", f"must have at most {MOST_GUESTS} entries")
    if any(not is_email(one) for one in found):
        given.wrong("event_guests", "must be valid emails")
    return found
