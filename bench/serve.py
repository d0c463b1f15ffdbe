"""What gunicorn serves for the benchmarks: `bench.serve:floor()` and its neighbours."""

import os
from typing import Any

import orjson
from flask import Flask, Response, request

from bench.page_rows import booking

ROWS = int(os.environ.get("BENCH_ROWS", "50"))


def floor() -> Flask:
    """Plain Flask that answers bytes: what a request costs before anybody does anything."""
    application, answer = Flask("floor"), orjson.dumps(_answer(ROWS), option=orjson.OPT_UTC_Z)

    @application.post("/graphql")
    def page() -> Response:
        request.get_data()
        return Response(answer, content_type="application/json")

    return application


def by_hand() -> Flask:
    """What somebody would write for this one page alone: dicts made for each request, and orjson."""
    application, source = Flask("by_hand"), [booking(number) for number in range(ROWS)]

    @application.post("/graphql")
    def page() -> Response:
        rows = source[: orjson.loads(request.get_data())["variables"]["rows"]]
        answer = {"data": {"bookings": [_written_out(row) for row in rows]}}
        return Response(orjson.dumps(answer, option=orjson.OPT_UTC_Z), content_type="application/json")

    return application


def _written_out(row: dict[str, Any]) -> dict[str, Any]:
    kind = row["eventType"]
    return {
        "id": row["id"],
        "version": row["version"],
        "title": row["title"],
        "status": row["status"],
        "provider": row["provider"],
        "start": row["start"],
        "end": row["end"],
        "createdAt": row["createdAt"],
        "participants": [{"name": p["name"], "email": p["email"], "role": p["role"]} for p in row["participants"]],
        "eventType": {"id": kind["id"], "title": kind["title"], "durationMinutes": kind["durationMinutes"]},
    }


def _answer(rows: int) -> dict[str, Any]:
    return {"data": {"bookings": [_written_out(booking(number)) for number in range(rows)]}}


def convene_page() -> Flask:
    """The real application, with the page's own `bookings` in the place of the schema's (bench/page_schema.py)."""
    from bench.page_app import from_memory  # noqa: PLC0415 - the floor does without

    return from_memory()


def inbox() -> Flask:
    """The real application; with BENCH_NO_DATABASE its webhook handler does all but look up and store."""
    from app import create_app  # noqa: PLC0415
    from services import webhooks  # noqa: PLC0415

    if "BENCH_NO_DATABASE" in os.environ:
        target = webhooks.Target("calcom", "bench", (os.environ["BENCH_NO_DATABASE"],))
        webhooks.subscribed = lambda *_: target
        webhooks._store = lambda *_: None
    return create_app()
