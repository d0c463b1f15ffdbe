"""Growth curves: what becomes of a figure as rows, people, processes and stored bookings grow."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from bench import databases, house, load, page_app, stored, wsgi
from bench.page_database import Page
from bench.page_memory import BY_HAND, CONNECTIONS, CONVENE, FLOOR, REQUEST, convene
from bench.page_rows import request_body
from bench.report import Curve, Result
from bench.rounds import seconds_per_call
from bench.servers import gunicorn
from bench.slots import people, sweep

ROWS = (1, 3, 10, 30, 100, 300, 1000)
API_ROWS = (1, 3, 10, 30, 100)
PEOPLE = tuple(range(1, 11))
PROCESSES = (1, 2, 3, 4, 6, 8)
Series = dict[str, list[tuple[float, float]]]


def run(quick: bool) -> Result:
    seconds = 0.15 if quick else 1.0
    result = Result()
    result.curves = [_rows_in_memory(seconds), *_stored(seconds, 10_000 if quick else 1_000_000), _people(seconds), *_processes(quick)]
    result.notes.append("The curves are medians of one pass; the ratios of the other lines are the ones to compare by.")
    return result


def _milliseconds(call: Callable[[], object], seconds: float) -> float:
    return seconds_per_call(call, seconds) * 1000


def _rows_in_memory(seconds: float) -> Curve:
    """The application of each in this process, without a socket."""
    from bench import serve  # noqa: PLC0415 - how many rows it has is read when it is imported

    serve.ROWS = max(ROWS)
    series: Series = {}
    by_hand = serve.by_hand().wsgi_app
    series[BY_HAND] = [(rows, _milliseconds(_page(by_hand, rows), seconds)) for rows in ROWS]
    os.environ.update(house.environment(house.sqlite("growth")))
    house.prepare(os.environ["CONVENE_DATABASE_URL"])
    for name, types in ((CONVENE, ""), (f"{CONVENE}, plain types", "plain")):
        os.environ["BENCH_TYPES"] = types
        with page_app.for_a_while() as application:
            house.log_to_file()
            series[name] = [(rows, _milliseconds(_page(application.wsgi_app, rows), seconds)) for rows in ROWS]
    return Curve("rows", "Bookings page from memory", "bookings on the page", "ms per request", series)


def _page(application: Any, rows: int) -> Callable[[], bytes]:
    call = wsgi.caller(application, "/graphql", request_body(rows))
    assert len(orjson.loads(call())["data"]["bookings"]) == rows
    return call


# ---- stored bookings -----------------------------------------------------------------------------------------------------


def _stored(seconds: float, most: int) -> list[Curve]:
    api: Series = {}
    growing: Series = {}
    with databases.both("growth-stored") as urls:
        for kind, url in urls.items():
            with house.convene(house.environment(url)) as made:
                _grow(kind, Page(made), growing, api, seconds, most)
    return [
        Curve("stored", "Queries of a coach with so many bookings", "stored bookings", "ms per request", growing),
        Curve("api-rows", "Bookings page through the API, 1,000 stored", "bookings on the page", "ms per request", api),
    ]


def _grow(kind: str, page: Page, growing: Series, api: Series, seconds: float, most: int) -> None:
    number, already = 1000, 0
    while number <= most:
        stored.fill(page.user.person_id, page.user.id, number, already=already)
        if not already:
            api[kind] = [(rows, _milliseconds(page.of(rows), seconds)) for rows in API_ROWS]
        for name, call in _reads(page, number).items():
            growing.setdefault(f"{kind}: {name}", []).append((number, _milliseconds(call, seconds)))
        already, number = number, number * 10


def _reads(page: Page, number: int) -> dict[str, Callable[[], bytes]]:
    middle = {"startsAfter": (stored.START + stored.EVERY * (number // 2)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    cursor = orjson.loads(page.of(1, filter=middle)())["data"]["bookings"]["edges"][0]["cursor"]
    return {
        "first page": page.of(25),
        "page in the middle": page.of(25, after=cursor),
        "filter by text": page.of(25, filter={"text": "Mentee 250"}),
    }


# ---- people, processes ---------------------------------------------------------------------------------------------------


def _people(seconds: float) -> Curve:
    series: Series = {}
    for days in (14, 60):
        found = {number: people(number, days) for number in PEOPLE}
        series[f"{days} days"] = [(number, _milliseconds(partial(sweep, found[number], days), seconds)) for number in PEOPLE]
    return Curve("people", "Free slots of so many people", "people", "ms per calculation", series, log_x=False, log_y=False)


def _processes(quick: bool) -> list[Curve]:
    rates: Series = {}
    waits: Series = {}
    for number in PROCESSES:
        for name in (FLOOR, CONVENE):
            server = gunicorn(name, "bench.serve:floor()", workers=number) if name == FLOOR else convene(name, workers=number)
            with server:
                plan = load.Plan(server.port, [REQUEST], CONNECTIONS * 2, seconds=2)
                load.run(plan)  # until every worker is there
                outcome = load.run(load.Plan(server.port, [REQUEST], CONNECTIONS * 2, seconds=1 if quick else 5))
            rates.setdefault(name, []).append((number, outcome.rate))
            waits.setdefault(name, []).append((number, outcome.p99))
    cores = len(os.sched_getaffinity(0))
    title = f"Bookings page from memory, {cores} cores, {CONNECTIONS * 2} connections"
    return [
        Curve("processes", title, "server processes", "requests/s", rates, log_x=False),
        Curve("processes-p99", title, "server processes", "p99, ms", waits, log_x=False),
    ]
