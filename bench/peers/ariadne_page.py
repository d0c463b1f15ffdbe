"""Ariadne as its documentation serves it, with what makes it fast: documents parsed and validated once, and orjson."""

import os
import sys
from datetime import UTC
from functools import lru_cache

import orjson
from ariadne import QueryType, ScalarType, graphql_sync, make_executable_schema
from flask import Flask, Response, jsonify, request
from graphql import parse, validate

sys.path.insert(0, os.environ["BENCH_ROOT"])
from bench.page_rows import SDL, booking

SOURCE = [booking(number) for number in range(int(os.environ.get("BENCH_ROWS", "50")))]
query, times = QueryType(), ScalarType("DateTime")


@query.field("bookings")
def bookings(_root, _info, rows):
    return SOURCE[:rows]


@times.serializer
def serialize(value):
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


schema = make_executable_schema(SDL, query, times)
parsed = lru_cache(maxsize=500)(parse)


@lru_cache(maxsize=500)
def found_valid(document):
    return validate(schema, document)


def validated(_schema, document, *_, **__):
    return found_valid(document)


def application():
    app = Flask("ariadne")

    @app.post("/graphql")
    def page():
        _good, answer = graphql_sync(
            schema,
            orjson.loads(request.get_data()),
            query_parser=lambda _context, data: parsed(data["query"]),
            query_validator=validated,
        )
        return Response(orjson.dumps(answer), content_type="application/json")

    return app


def as_it_comes():
    """Documents parsed and validated for each request, and Flask's own JSON."""
    app = Flask("ariadne")

    @app.post("/graphql")
    def page():
        _good, answer = graphql_sync(schema, request.get_json())
        return jsonify(answer)

    return app
