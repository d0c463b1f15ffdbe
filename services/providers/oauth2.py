"""What OAuth is everywhere (RFC 6749, RFC 7636): the address of a consent page, and the answer of a token endpoint."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from services.providers.base import Grant


def authorization_url(endpoint: str, *, client_id: str, redirect_uri: str, state: str, verifier: str, scopes: tuple[str, ...] = ()) -> str:
    """With PKCE. Without `scopes` the app's own are meant."""
    query = {
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "state": state,
        **({"scope": " ".join(scopes)} if scopes else {}),
        "code_challenge": create_s256_code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    return f"{endpoint}?{urlencode(query)}"


def grant(answer: dict[str, Any]) -> Grant:
    """`scope` may be missing (legacy tokens, which may do everything): None. Some write it with commas."""
    scope, expires_in, refresh = answer.get("scope"), answer.get("expires_in"), answer.get("refresh_token")
    return Grant(
        access_token=answer["access_token"],
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
        expires_in=timedelta(seconds=expires_in) if isinstance(expires_in, (int, float)) else None,
        scopes=tuple(scope.replace(",", " ").split()) if isinstance(scope, str) else None,
    )
