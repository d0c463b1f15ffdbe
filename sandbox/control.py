"""The control face of the sandbox, under `/_sandbox`. All bodies and answers are JSON.

    GET    /_sandbox                        this text
    POST   /_sandbox/reset                  empties everything: state, clock, faults, logs, mail
    GET    /_sandbox/state                  the whole world, secrets included
    GET    /_sandbox/clock                  {now, frozen, offsetSeconds}
    PUT    /_sandbox/clock                  {now: ISO} freezes, {offsetSeconds: n} shifts by n, {} goes back to real time
    GET    /_sandbox/faults                 all, with hits and waiting
    POST   /_sandbox/faults                 {match: {method?, path?}, {webhook} or {mail}, effect, times?: 1 or null, skip?: 0,
                                             share?: 1.0} -> {id}
    GET    /_sandbox/faults/{id}            one; ?waiting=1&timeout=10 answers as soon as so many requests are on hold
    POST   /_sandbox/faults/{id}/release    lets them go
    DELETE /_sandbox/faults, /_sandbox/faults/{id}
    GET    /_sandbox/requests               [{method, path, query, status, at}]; DELETE clears
    GET    /_sandbox/deliveries             [{id, triggerEvent, subscription, url, body, headers, status, error, at}]; DELETE too
    POST   /_sandbox/deliveries/flush       {order?: [2, 0, 1]} sends what is parked -> {sent}
    POST   /_sandbox/deliveries/repeat      tries again what failed and is due by the clock -> {sent}
    POST   /_sandbox/deliveries/{id}/resend the identical bytes again -> the new delivery

Effects on requests (`path` is matched by fnmatch with the provider's prefix, such as /calcom/v2/bookings/*):
    {kind: latency, seconds: 2, when: before|after}      {kind: status, status: 503, body?, headers?}: work not done
    {kind: drop, when: before|after}                     {kind: drip, seconds: 5, chunks: 10}
    {kind: malformed}: work done, body cut in the middle {kind: hold, when: before|after}
Effects on deliveries (`webhook`: a trigger or *):
    {kind: duplicate, count: 2}  {kind: delay, seconds: 1}  {kind: drop}  {kind: unsigned}  {kind: wrong-signature}
    {kind: reorder}: goes out right after the next delivery to the same subscription   {kind: park}: waits for a flush
"""

import sys
from dataclasses import asdict
from datetime import timedelta
from typing import Any, cast

from flask import Blueprint, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from sandbox import snapshot, times
from sandbox.calcom import control as calcom_control
from sandbox.calendly import control as calendly_control
from sandbox.mail import control as mail_control
from sandbox.world import World
from sandbox.zoom import control as zoom_control

PARTS = (mail_control, calcom_control, calendly_control, zoom_control)
Json = dict[str, Any]
blueprint = Blueprint("control", __name__, url_prefix="/_sandbox")


class BadRequestError(Exception):
    pass


@blueprint.errorhandler(BadRequestError)
def refused(problem: BadRequestError) -> ResponseReturnValue:
    return jsonify({"error": str(problem)}), 400


def _world() -> World:
    return cast("World", current_app.extensions["world"])


def _body() -> Json:
    content = request.get_json(force=True, silent=True) if request.get_data() else {}
    if not isinstance(content, dict):
        raise BadRequestError("the body must be a JSON object")
    return content


def _missing(what: str) -> ResponseReturnValue:
    return jsonify({"error": f"no such {what}"}), 404


@blueprint.get("")
def manual() -> Response:
    return Response("\n\n".join(str(part.__doc__) for part in (sys.modules[__name__], *PARTS)), mimetype="text/plain")


@blueprint.post("/reset")
def reset() -> Json:
    _world().reset()
    return {"status": "ok"}


@blueprint.get("/state")
def whole_state() -> Json:
    return cast("Json", snapshot.plain(_world().dump()))


@blueprint.get("/clock")
def show_clock() -> Json:
    return _world().clock.describe()


@blueprint.put("/clock")
def set_clock() -> Json:
    given, world = _body(), _world()
    try:
        moment = times.parse(given["now"]) if "now" in given else None
        shift = timedelta(seconds=given.get("offsetSeconds", 0))
        (moment or world.clock.now()) + shift
    except (ValueError, TypeError, OverflowError) as problem:
        raise BadRequestError(str(problem)) from None
    with world.writing():
        if not given:
            world.clock.reset()
        if moment is not None:
            world.clock.freeze(moment)
        world.clock.shift(shift.total_seconds())
    return world.clock.describe()


@blueprint.get("/faults")
def list_faults() -> ResponseReturnValue:
    return jsonify([fault.describe() for fault in _world().faults.entries()])


@blueprint.post("/faults")
def add_fault() -> tuple[Json, int]:
    given = _body()
    match, effect = given.get("match"), given.get("effect")
    if not isinstance(match, dict) or not isinstance(effect, dict):
        raise BadRequestError("match and effect must be objects")
    options = {name: given[name] for name in ("times", "skip", "share") if name in given}
    try:
        return {"id": _world().faults.add(match, effect, **options).id}, 201
    except ValueError as problem:
        raise BadRequestError(str(problem)) from None


@blueprint.delete("/faults")
def clear_faults() -> Json:
    _world().faults.clear()
    return {"status": "ok"}


@blueprint.route("/faults/<fault_id>", methods=["GET", "DELETE"])
def one_fault(fault_id: str) -> ResponseReturnValue:
    fault = _world().faults.get(fault_id)
    if fault is None:
        return _missing("fault")
    if request.method == "DELETE":
        fault.remove()
    elif "waiting" in request.args:
        fault.wait_held(request.args.get("waiting", 1, int), request.args.get("timeout", 10.0, float))
    return jsonify(fault.describe())


@blueprint.post("/faults/<fault_id>/release")
def release_fault(fault_id: str) -> ResponseReturnValue:
    fault = _world().faults.get(fault_id)
    if fault is None:
        return _missing("fault")
    fault.release()
    return jsonify(fault.describe())


@blueprint.route("/requests", methods=["GET", "DELETE"])
def requests() -> ResponseReturnValue:
    log = _world().requests
    if request.method == "DELETE":
        log.clear()
    return jsonify([asdict(entry) for entry in log.entries()])


@blueprint.route("/deliveries", methods=["GET", "DELETE"])
def deliveries() -> ResponseReturnValue:
    log = _world().deliveries
    if request.method == "DELETE":
        log.clear()
    return jsonify([entry.describe() for entry in log.entries()])


@blueprint.post("/deliveries/flush")
def flush() -> Json:
    order = _body().get("order")
    parked = len(_world().deliveries.parked())
    if order is not None and (not isinstance(order, list) or any(not isinstance(one, int) or not 0 <= one < parked for one in order)):
        raise BadRequestError(f"order must be a list of numbers below {parked}")
    return {"sent": _world().deliveries.flush(order)}


@blueprint.post("/deliveries/repeat")
def repeat() -> Json:
    return {"sent": _world().deliveries.repeat()}


@blueprint.post("/deliveries/<int:delivery_id>/resend")
def resend(delivery_id: int) -> ResponseReturnValue:
    entry = _world().deliveries.resend(delivery_id)
    return _missing("delivery") if entry is None else jsonify(entry.describe())
