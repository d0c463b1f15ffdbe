"""The page at GET /graphql: GraphiQL from our own assets."""

import json
import secrets
from pathlib import Path

from flask import Response, render_template

from routes.examples import examples
from services.runtime import Runtime

ASSETS = Path(__file__).parent.parent / "var" / "assets" / "graphiql"


def page(rt: Runtime) -> Response:
    nonce = secrets.token_urlsafe(16)
    ready = (ASSETS / ".stamp").exists()
    text = render_template(
        "graphiql_page.html" if ready else "graphiql_missing.html",
        endpoint="/graphql",
        assets="/assets/graphiql",
        nonce=nonce,
        sandbox_note="Sandbox: the providers are local stand-ins, nothing real is touched." if rt.sandboxes else "",
        trusted_only=rt.settings.trusted_documents_mode == "only",
        dev_people=[person.email for person in rt.demo_people],
        examples=json.dumps(examples(rt.clock.now())),
    )
    response = Response(text, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        # CodeMirror writes style attributes as it goes
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response
