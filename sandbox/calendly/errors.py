"""Calendly's error bodies: `{title, message, details?}` of the API and `{error, error_description}` of the OAuth server."""

from typing import Any

from sandbox.calendly.rows import Json

NO_ACCESS = "You do not have permission to access this resource."
NO_PERMISSION = "You do not have permission"
ASK_ORGANIZATION = "Please also specify organization when requesting events for a user within your organization."
NOT_IN_ORGANIZATION = "This user is not in your organization"
_TITLES = {
    400: ("Invalid Argument", "The supplied parameters are invalid."),
    401: ("Unauthenticated", "The access token is invalid"),
    403: ("Permission Denied", NO_ACCESS),
    404: ("Resource Not Found", "The server could not find the requested resource."),
    409: ("Already Exists", "The resource already exists"),
    424: ("External Calendar Error", "There is a problem accessing your calendar."),
    429: ("Too Many Requests", "Rate limit exceeded."),
    500: ("Internal Server Error", "The server encountered an unexpected condition that prevented it from fulfilling the request."),
}
_OAUTH = {
    "invalid_grant": "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the "
    "authorization request, or was issued to another client.",
    "invalid_client": "Client authentication failed due to unknown client, no client authentication included, or unsupported "
    "authentication method.",
    "invalid_request": "The request is missing a required parameter, includes an unsupported parameter value, or is otherwise malformed.",
    "invalid_scope": "The requested scope is invalid, unknown, or malformed.",
    "access_denied": "The resource owner or authorization server denied the request.",
    "unsupported_grant_type": "The authorization grant type is not supported by the authorization server.",
    "unsupported_response_type": "The authorization server does not support this response type.",
    "unauthorized_client": "You are not authorized to revoke this token",
}


class ApiError(Exception):
    def __init__(self, status: int, message: str | None = None, title: str | None = None, **more: Any) -> None:
        usual_title, usual_message = _TITLES[status]
        super().__init__(message or usual_message)
        self.status, self.more = status, more
        self.title, self.message = title or usual_title, message or usual_message

    def body(self) -> Json:
        return {"title": self.title, "message": self.message, **self.more}

    @property
    def sentence(self) -> str:
        """For the pages, which tell people and not programs."""
        details = "; ".join(f"{one.get('parameter', '')} {one['message']}".strip() for one in self.more.get("details", []))
        return details or self.message


class OAuthError(Exception):
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error, self.description = status, error, _OAUTH[error]

    def body(self) -> Json:
        return {"error": self.error, "error_description": self.description}


def invalid(parameter: str, text: str) -> ApiError:
    """400 that names the parameter; the texts of details are not documented [?]."""
    return ApiError(400, details=[{"parameter": parameter, "message": text}])


def insufficient(scopes: list[str]) -> ApiError:
    text = "This operation requires the scopes listed in the 'required_scopes' array."
    return ApiError(403, text, "Insufficient scope", required_scopes=scopes)
