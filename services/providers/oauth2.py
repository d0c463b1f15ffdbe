"""What OAuth is everywhere (RFC 6749, RFC 7636): the address of a consent page, the answer of a token endpoint, our secrets."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from services.errors import InvalidClient, Refused
from services.providers.base import Grant, split
from services.providers.transport import EXCHANGE_LIMIT, total

T = TypeVar("T")


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


class ClientSecrets:
    """The secrets of one client, comma-separated while one is replaced. The one that the provider takes is kept to.

    Whoever refuses a client has done nothing, so the same request may go out once more with the next secret. It is still
    one exchange: it spends its refresh token once, and all tries together have the time of one.
    """

    def __init__(self, text: str) -> None:
        self._secrets: tuple[str, ...] = split(text) or ("",)
        self._present = 0

    def send(self, request: Callable[[str], T], *, limit: timedelta = EXCHANGE_LIMIT, refusal: type[Refused] = InvalidClient) -> T:
        """What `request` answers for the first secret that is not refused. Raises the last `refusal`, and everything else."""
        first = self._present
        with total(limit):
            for turn in range(1, len(self._secrets)):
                try:
                    return self._try(request, first + turn - 1)
                except refusal:
                    continue
            return self._try(request, first + len(self._secrets) - 1)

    def _try(self, request: Callable[[str], T], number: int) -> T:
        place = number % len(self._secrets)
        answer = request(self._secrets[place])
        self._present = place
        return answer
