"""GET /audit/export: the audit trail as JSON lines, for admins."""

from datetime import datetime

from flask import Blueprint, Response, request

from routes.common import error
from services import audit_export
from services.audit_export import Wanted
from services.errors import BadUserInput, Unauthenticated
from services.identity import Verifier, sign_in
from services.runtime import Runtime

LARGEST = 2**63 - 1


def blueprint(rt: Runtime, verifier: Verifier) -> Blueprint:
    routes = Blueprint("audit", __name__)

    @routes.get("/audit/export")
    def export() -> Response:
        try:
            viewer = sign_in(rt, verifier.verify(request.headers.get("Authorization")))
            if not viewer.is_admin:
                return error(403, "FORBIDDEN", "Only admins export the audit trail.")
            wanted = Wanted(_number("after"), _time("since"), _time("until"))
        except Unauthenticated as problem:
            return error(401, problem.code, problem.message)
        except BadUserInput as problem:
            return error(400, problem.code, problem.message)
        end, found = audit_export.begin(rt, wanted)
        response = Response(audit_export.lines(rt, wanted, end), content_type="application/x-ndjson")
        # an export that broke off ends before it
        response.headers["X-Audit-Head"] = f"{end}:{found}"
        return response

    return routes


def _number(name: str) -> int:
    text = request.args.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST))) or int(text) > LARGEST:
        raise BadUserInput(f"`{name}` must be the number of an entry.")
    return int(text)


def _time(name: str) -> datetime | None:
    text = request.args.get(name)
    if text is None:
        return None
    try:
        # a plus that was not escaped arrives as a space
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as problem:
        raise BadUserInput(f"`{name}` must be a time, as in 2027-03-01T08:00:00Z.") from problem
    if at.tzinfo is None:
        raise BadUserInput(f"`{name}` needs an offset, as in 2027-03-01T08:00:00Z.")
    return at
