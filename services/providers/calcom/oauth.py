"""Cal.com's "Continue with Cal.com": authorization code with PKCE (api-reference/v2/oauth).

The client id and secret go into the body, never into Basic. Access tokens live 30 minutes, refresh tokens 30 days; a
refresh deletes every other refresh token of the same client and account.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from services.providers.base import Grant

# What Convene calls needs exactly these; WRITE does not include READ.
SCOPES = (
    "PROFILE_READ",
    "EVENT_TYPE_READ",
    "EVENT_TYPE_WRITE",
    "SCHEDULE_READ",
    "SCHEDULE_WRITE",
    "APPS_READ",
    "BOOKING_READ",
    "BOOKING_WRITE",
    "WEBHOOK_READ",
    "WEBHOOK_WRITE",
)


def authorization_url(app_url: str, *, client_id: str, redirect_uri: str, state: str, verifier: str) -> str:
    query = {
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "state": state,
        "scope": " ".join(SCOPES),
        "code_challenge": create_s256_code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    return f"{app_url}/auth/oauth2/authorize?{urlencode(query)}"


def grant(answer: dict[str, Any]) -> Grant:
    """`scope` is missing on legacy tokens and on the community edition: full access, so None."""
    scope = answer.get("scope")
    expires_in = answer.get("expires_in")
    refresh = answer.get("refresh_token")
    return Grant(
        access_token=answer["access_token"],
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
        expires_in=timedelta(seconds=expires_in) if isinstance(expires_in, (int, float)) else None,
        scopes=tuple(scope.replace(",", " ").split()) if isinstance(scope, str) else None,
    )
