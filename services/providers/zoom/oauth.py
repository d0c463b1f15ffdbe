"""Zoom's OAuth: a user's consent, or the whole account by our own credentials (server-to-server).

Access tokens live an hour. A user's refresh token changes with each use, and lasts about ninety days unused. Of the
account there is no refresh token: one asks again, and several tokens may live at once.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from services.providers.base import Grant

# The scopes are those of the Marketplace app; asking for fewer is not possible here.
SCOPES = ("user:read:user", "meeting:write:meeting", "meeting:read:meeting", "meeting:read:list_meetings", "meeting:update:meeting",
          "meeting:delete:meeting")  # fmt: skip


def authorization_url(auth_url: str, *, client_id: str, redirect_uri: str, state: str, verifier: str) -> str:
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": create_s256_code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    return f"{auth_url}/oauth/authorize?{urlencode(query)}"


def grant(answer: dict[str, Any]) -> Grant:
    scope, expires_in, refresh = answer.get("scope"), answer.get("expires_in"), answer.get("refresh_token")
    return Grant(
        access_token=answer["access_token"],
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
        expires_in=timedelta(seconds=expires_in) if isinstance(expires_in, (int, float)) else None,
        scopes=tuple(scope.split()) if isinstance(scope, str) and scope.strip() else None,
    )
