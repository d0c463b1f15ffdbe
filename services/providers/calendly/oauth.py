"""Calendly's OAuth: authorization code with PKCE; Basic authentication at the token endpoint.

Access tokens live two hours. A refresh token works once and has no grace: when an answer is lost, the connection is
(docs/authentication/refresh-token-rotation-guide). Scopes must be asked for since March 2026, and people may untick some.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from services.providers.base import Grant

# `X:write` includes `X:read`. Slots want event_types:read by one page and availability:read by another: both are there.
SCOPES = (
    "users:read",
    "organizations:read",
    "event_types:write",
    "availability:read",
    "scheduled_events:write",
    "webhooks:write",
)


def authorization_url(auth_url: str, *, client_id: str, redirect_uri: str, state: str, verifier: str) -> str:
    query = {
        "client_id": client_id,
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "scope": " ".join(SCOPES),
        "state": state,
        "code_challenge": create_s256_code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    return f"{auth_url}/oauth/authorize?{urlencode(query)}"


def grant(answer: dict[str, Any]) -> Grant:
    """`scope` is missing on legacy tokens, which may do everything: None."""
    scope, expires_in, refresh = answer.get("scope"), answer.get("expires_in"), answer.get("refresh_token")
    return Grant(
        access_token=answer["access_token"],
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
        expires_in=timedelta(seconds=expires_in) if isinstance(expires_in, (int, float)) else None,
        scopes=tuple(scope.split()) if isinstance(scope, str) and scope.strip() else None,
    )
