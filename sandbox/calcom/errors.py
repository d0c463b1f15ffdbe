"""The three error shapes of Cal.com: enveloped, core (bare) and OAuth."""

from http import HTTPStatus
from typing import Any

from sandbox.calcom.state import Json

UNAVAILABLE = "User either already has booking at this time or is not available"
PAST = "Attempting to book a meeting in the past."
TOO_SOON = (
    "The event type can't be booked at the \"start\" time provided. This could be because it's too soon (violating the minimum "
    "booking notice) or too far in the future (outside the event's scheduling window). Try fetching available slots first using "
    'the GET /v2/slots endpoint and then make a booking with "start" time equal to one of the available slots: '
    "https://cal.com/docs/api-reference/v2/slots"
)
CONFLICT = "booking_conflict_error"
NO_ORIGINAL = "Could not find original booking"
NOTICE = "Rescheduling is not allowed within the minimum notice period before the event"
NO_AUTH = (
    "ApiAuthStrategy - No authentication method provided. Either pass an API key as 'Bearer' header or OAuth client credentials "
    "as 'x-cal-secret-key' and 'x-cal-client-id' headers"
)
NO_PERMISSION = (
    "PermissionsGuard - no authentication provided. Provide either authorization bearer token containing managed user access "
    "token or oAuth client id in 'x-cal-client-id' header."
)
TRPC_BAD = "Bad request: Please check your request data and try again"
TRPC_STRANGER = "You are not authorized to access this resource"
_NAMES = {
    400: "BadRequestException",
    401: "UnauthorizedException",
    403: "ForbiddenException",
    404: "NotFoundException",
    409: "ConflictException",
    422: "UnprocessableEntityException",
}


class CalError(Exception):
    """`details` is the usual triple unless it is given; `details=None` leaves the key out (tRPC, zod, Prisma)."""

    def __init__(self, status: int, message: str, code: str | None = None, details: Any = ...) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.code = code or _NAMES[status]
        self.details = details
        if details is ...:
            self.details = {"message": message, "error": HTTPStatus(status).phrase, "statusCode": status}

    def body(self, timestamp: str, path: str) -> Json:
        error: Json = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        return {"status": "error", "timestamp": timestamp, "path": path, "error": error}


class CoreError(Exception):
    """Escapes from Cal.com's core without the envelope."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message

    def body(self) -> Json:
        return {"statusCode": self.status, "message": self.message}


class OAuthError(Exception):
    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status, self.error, self.description = status, error, description

    def body(self) -> Json:
        return {"error": self.error, "error_description": self.description}


def trpc(status: int, message: str) -> CalError:
    return CalError(status, message, "TRPCError", None)


def zod(message: str) -> CalError:
    return CalError(400, message, "BAD_REQUEST", None)


def cannot(method: str, path: str) -> CalError:
    """No route; also what a missing or wrong version makes of /v2/slots."""
    return CalError(404, f"Cannot {method} {path}")


def booking_not_found(uid: str) -> CalError:
    return CalError(404, f"Booking with uid={uid} was not found in the database")


def invalid_token() -> CalError:
    return CalError(401, "Invalid Access Token.")
