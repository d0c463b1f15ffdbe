"""The bookings page from memory: Convene beside plain Flask, Ariadne, graphql-yoga and mercurius, over HTTP, two processes each."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import orjson

from bench import house, install, load
from bench.page_rows import SDL, booking, request_body
from bench.places import NODE_PEERS, PEERS, ROOT, RUN
from bench.report import Result, at_least, at_most
from bench.rounds import ratio, side_by_side, spread
from bench.servers import Server, gunicorn, gunicorn_of

ROWS = 50
FIELDS = 1 + ROWS * 19
CONNECTIONS = 8
REQUEST = load.post("/graphql", request_body(ROWS))

FLOOR, BY_HAND, CONVENE, PLAIN, OFF = (
    "plain Flask bytes",
    "dicts + orjson",
    "Convene, real types",
    "Convene, plain types",
    "Convene, fast execution off",
)
ARIADNE, YOGA, MERCURIUS = "Ariadne", "graphql-yoga", "mercurius"
AS_IT_COMES = "Ariadne as it comes"


@dataclass(frozen=True)
class Sample:
    """What one server did in one round: CPU seconds of all its processes by request, requests by second."""

    cpu: float
    rate: float


def convene(name: str, workers: int = 2, **more: str) -> Server:
    database = house.sqlite(name.replace(" ", "-").replace(",", ""))
    house.prepare(database)
    return gunicorn(
        name, "bench.serve:convene_page()", workers=workers, environment={**house.environment(database), **house.WORKER, **more}
    )


def _servers() -> dict[str, Server]:
    found = {
        FLOOR: gunicorn(FLOOR, "bench.serve:floor()"),
        BY_HAND: gunicorn(BY_HAND, "bench.serve:by_hand()"),
        CONVENE: convene(CONVENE),
        PLAIN: convene(PLAIN, BENCH_TYPES="plain"),
        OFF: convene(OFF, CONVENE_FAST_EXECUTION="off"),
        ARIADNE: gunicorn_of(install.python(), ARIADNE, "ariadne_page:application()", PEERS, {"BENCH_ROOT": str(ROOT)}),
        AS_IT_COMES: gunicorn_of(install.python(), AS_IT_COMES, "ariadne_page:as_it_comes()", PEERS, {"BENCH_ROOT": str(ROOT)}),
    }
    if install.node():
        page = RUN / "page.json"
        page.write_bytes(orjson.dumps({"sdl": SDL, "rows": [booking(number) for number in range(ROWS)]}, option=orjson.OPT_UTC_Z))
        node = {"BENCH_PAGE": str(page), "NODE_PATH": str(NODE_PEERS / "node_modules"), "NODE_ENV": "production"}
        found[YOGA] = Server(YOGA, ["node", PEERS / "yoga.cjs"], node)
        found[MERCURIUS] = Server(MERCURIUS, ["node", PEERS / "mercurius.cjs"], node)
    return found


def measure(server: Server, seconds: float) -> Sample:
    before = server.cpu_seconds()
    outcome = load.run(load.Plan(server.port, [REQUEST], CONNECTIONS, seconds=seconds))
    used = server.cpu_seconds() - before
    if outcome.failed:
        raise RuntimeError(f"{server.name}: {outcome.statuses}")
    return Sample(used / outcome.count, outcome.rate)


def run(quick: bool) -> Result:
    result = Result()
    with ExitStack() as stack:
        servers = {name: stack.enter_context(server) for name, server in _servers().items()}
        _check_equal(servers)
        for server in servers.values():
            measure(server, 0.5 if quick else 2)  # Node compiles, caches fill
        seconds = 0.7 if quick else 3
        samples = side_by_side(3 if quick else 7, {name: partial(measure, server, seconds) for name, server in servers.items()})
    cpu = {name: [sample.cpu for sample in found] for name, found in samples.items()}
    rate = {name: [sample.rate for sample in found] for name, found in samples.items()}
    # like with like: the peers serve objects with attributes, and do not ask who may see what
    result.add("CPU / plain Flask bytes", ratio(cpu[PLAIN], cpu[FLOOR]), at_most(3))
    result.add("requests/s / Ariadne as it comes", ratio(rate[PLAIN], rate[AS_IT_COMES]), at_least(8))
    result.add("requests/s / Ariadne with cached documents and orjson", ratio(rate[PLAIN], rate[ARIADNE]))
    if YOGA in servers:
        result.add("requests/s / graphql-yoga", ratio(rate[PLAIN], rate[YOGA]), at_least(1))
        result.add("requests/s / mercurius without JIT", ratio(rate[PLAIN], rate[MERCURIUS]), at_least(0.6))
    for name in servers:
        result.add(f"{name}: CPU / plain Flask bytes", ratio(cpu[name], cpu[FLOOR]))
        result.add(f"{name}: CPU per request", spread([value * 1000 for value in cpu[name]]), unit="ms")
        result.add(f"{name}: requests/s", spread(rate[name]), unit="")
    result.details = {"fields": FIELDS, "bytes": _size(), "connections": CONNECTIONS, "cores": len(os.sched_getaffinity(0))}
    result.notes = [
        f"{ROWS} bookings, {FIELDS} fields, {_size()} bytes; the answers of all servers were checked to be equal before the first round.",
        (
            "Convene is the real application, fed from memory, without signing in; the goals are for `plain types`, which are attributes "
            "only as those of the peers, `real types` also look who may see what. "
            "Ariadne keeps parsed and validated documents and writes with orjson; as it comes it does neither."
        ),
        "The client shares the cores with the servers, so CPU per request is the firmer figure.",
    ]
    return result


def _size() -> int:
    answer = {"data": {"bookings": [booking(number) for number in range(ROWS)]}}
    return len(orjson.dumps(answer, option=orjson.OPT_UTC_Z))


def _check_equal(servers: dict[str, Server]) -> None:
    answers = {name: load.ask(server.port, REQUEST) for name, server in servers.items()}
    for name, answer in answers.items():
        if answer != answers[FLOOR]:
            raise RuntimeError(f"{name} answers something else: {str(answer)[:1500]}")
