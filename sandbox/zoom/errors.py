"""The two error shapes of Zoom: `{code, message, errors?}` of the API and `{reason, error}` of the token endpoint."""

from sandbox.zoom.rows import Json


class ZoomError(Exception):
    def __init__(self, status: int, code: int, message: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.fields = fields or {}

    def body(self) -> Json:
        shown: Json = {"code": self.code, "message": self.message}
        if self.fields:
            shown["errors"] = [{"field": name, "message": text} for name, text in self.fields.items()]
        return shown


class OAuthError(Exception):
    def __init__(self, status: int, reason: str, error: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.error = status, reason, error

    def body(self) -> Json:
        return {"reason": self.reason, "error": self.error}


def invalid(*fields: str) -> ZoomError:
    return ZoomError(400, 300, "Validation Failed.", dict.fromkeys(fields, "Invalid field."))


def invalid_token() -> ZoomError:
    return ZoomError(401, 124, "Invalid access token.")


def no_user(user_id: str) -> ZoomError:
    return ZoomError(404, 1001, f"User does not exist: {user_id}.")


def no_meeting(meeting_id: int | str) -> ZoomError:
    return ZoomError(404, 3001, f"Meeting does not exist: {meeting_id}.")


def no_recording() -> ZoomError:
    return ZoomError(404, 3301, "There is no recording for this meeting.")


def unknown_route() -> ZoomError:
    """[?] What Zoom answers to an address it does not know, and to a uuid that should have been encoded twice."""
    return ZoomError(404, 2300, "This API endpoint is not recognized.")
