"""The one way to call a provider, and the only importer of httpx.

Per call: token, budget, breaker, a *total* time limit, at most one refresh-and-repeat per token version, one log line
and metrics. Safe calls are repeated (stamina) when the failure may pass, honouring Retry-After; an unsafe call is sent
once, and what is not known of it is raised as OutcomeUnknown for the caller to read back.
"""

import hashlib
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal, Protocol

import httpcore
import httpx
import orjson
import pybreaker
import stamina
import structlog
from authlib.deprecate import AuthlibDeprecationWarning

from services.errors import (
    BadAnswer,
    BreakerOpen,
    InsufficientScope,
    InvalidClient,
    InvalidGrant,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    Refused,
    TokenRefused,
)
from services.metrics import Metrics
from services.providers.base import AccessToken, AccountAuth, Auth, BearerAuth, Budget, TokenSource, sendable

with warnings.catch_warnings():
    # Authlib prefers httpx2, which would bypass the error handling here; httpx is what we pin and catch.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.httpx_client import OAuth2Client

READ_LIMIT = timedelta(seconds=10)
WRITE_LIMIT = timedelta(seconds=20)
EXCHANGE_LIMIT = timedelta(seconds=10)
MAX_BODY = 10 * 1024 * 1024
LONGEST_PAUSE = 24 * 3600
LONGEST_LIFE = 100 * 365 * 24 * 3600
LONGEST_INLINE_WAIT = timedelta(seconds=2)
BREAKER_FAILURES = 5
BREAKER_PAUSE = 20
SERVER_ERROR = 500
TOO_MANY = 429
FORBIDDEN = 403

log = structlog.get_logger("provider")
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@cache
def _certificates() -> ssl.SSLContext:
    """Read once per process: it takes twenty milliseconds."""
    return httpx.create_ssl_context()


@dataclass(frozen=True)
class Limits:
    remaining: int
    reset_after: timedelta


TokenAuth = Literal["client_secret_basic", "client_secret_post"]


class Dialect(Protocol):
    """What differs in how providers say things over HTTP."""

    slug: str

    def token_refused(self, status: int, body: Any) -> bool: ...
    def missing_scopes(self, status: int, body: Any) -> list[str] | None: ...
    def limits(self, headers: Mapping[str, str]) -> Limits | None: ...
    def says(self, body: Any) -> str:
        """The provider's own sentence, for the log."""

    token_auth: TokenAuth
    """How our client id and secret go to the token endpoint (RFC 6749 section 2.3.1)."""

    token_limit_by_address: bool
    """The token endpoint counts by where requests come from, so that one refusal holds for everybody; else by user."""

    def grant_refused(self, error: str, grant_type: str) -> bool:
        """Whether this `error` of the token endpoint means that the code or refresh token is worth nothing (any more)."""

    def all_spent(self, headers: Mapping[str, str]) -> bool:
        """Whether a 429 with these headers stops every call of the account, and not only calls of this kind."""


class Transport:
    """Calls providers. `release` gives the thread's database connection back before anything is sent."""

    def __init__(
        self,
        *,
        tokens: TokenSource,
        budget: Budget,
        now: Callable[[], datetime],
        release: Callable[[], None],
        health: Callable[[str, bool], None],
        metrics: Metrics,
    ) -> None:
        self._tokens, self._budget, self._now, self._release, self._metrics = tokens, budget, now, release, metrics
        self._health = health
        self._pool = httpx.HTTPTransport(verify=_certificates(), limits=httpx.Limits(max_connections=100, keepalive_expiry=5))
        # httpx has no parameter for the network backend; its time-outs are per read, and a dripped answer outlives them
        self._pool._pool = httpcore.ConnectionPool(  # noqa: SLF001
            ssl_context=_certificates(), max_connections=100, keepalive_expiry=5, network_backend=_DeadlineBackend()
        )
        # everybody's calls share the client: what a provider sets for one account must not go out with another's
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = httpx.Client(transport=_Capped(self._pool), cookies=no_cookies, follow_redirects=False, trust_env=False)
        self._breakers: dict[str, pybreaker.CircuitBreaker] = {}

    def close(self) -> None:
        self._client.close()
        self._pool.close()

    def open_circuits(self) -> set[str]:
        """The providers that this process has stopped calling, until the first call after the breaker's pause."""
        return {slug for slug, breaker in list(self._breakers.items()) if breaker.current_state == pybreaker.STATE_OPEN}

    # ---- calls -----------------------------------------------------------------------------------------------------

    def call(
        self,
        dialect: Dialect,
        operation: str,
        method: str,
        url: str,
        *,
        auth: Auth = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        limit: timedelta | None = None,
        counts: bool = True,
    ) -> Any:
        """One logical call; returns the decoded JSON (None for an empty body). Raises ProviderError and Problems."""
        request = _Request(dialect, operation, method, url, dict(headers or {}), params, json, auth, limit, form, counts)
        if not isinstance(auth, AccountAuth):
            return self._send_safely(request, None)
        return self._send_as(request, auth.account_id)

    def _send_as(self, request: "_Request", account_id: str) -> Any:
        """With the account's token, and once more with another when that one is refused."""
        token = self._tokens.current(account_id)
        try:
            return self._send_with(request, account_id, token)
        except TokenRefused:
            return self._send_with(request, account_id, self._tokens.renew(account_id, token))

    def _send_with(self, request: "_Request", account_id: str, token: AccessToken) -> Any:
        """Whatever the provider says to the request, unless it refuses the token it has taken that."""
        try:
            answer = self._send_safely(request, token)
        except TokenRefused:
            raise
        except InsufficientScope as error:
            if error.scopes:  # else no consent of the person's would help
                self._tokens.lacks_scopes(account_id, token, error.scopes)
            raise
        except (Refused, BadAnswer):
            self._tokens.served(account_id, token)
            raise
        self._tokens.served(account_id, token)
        return answer

    def get_public(self, url: str) -> Any:
        """A JSON document of no provider (an issuer's key set). Raises ProviderError."""
        return self._send_safely(_Request(_PLAIN, "public", "GET", url, {}, None, None, None), None)

    def _send_safely(self, request: "_Request", token: AccessToken | None) -> Any:
        if request.method != "GET":
            return self._send(request, token)
        for attempt in stamina.retry_context(on=self._worth_repeating, attempts=3, timeout=8, wait_initial=0.1, wait_max=1):
            with attempt:
                return self._send(request, token)
        raise AssertionError("unreachable")

    def _worth_repeating(self, error: Exception) -> bool | timedelta:
        if isinstance(error, RateLimited):
            wait = error.retry_at - self._now()
            return max(wait, timedelta(0)) if wait <= LONGEST_INLINE_WAIT else False
        if isinstance(error, BreakerOpen):
            return False
        return isinstance(error, (NotSent, OutcomeUnknown))

    def _send(self, request: "_Request", token: AccessToken | None) -> Any:
        if request.counts:
            self._budget.check(request.dialect.slug, request.budget_key)
        self._release()
        headers = {"Accept": "application/json", **request.headers}
        if request_id := structlog.contextvars.get_contextvars().get("request_id"):
            headers["X-Request-Id"] = request_id
        if token is not None:
            headers["Authorization"] = f"Bearer {token.value}"
        elif isinstance(request.auth, BearerAuth):
            headers["Authorization"] = f"Bearer {request.auth.token}"
        limit = request.limit or (READ_LIMIT if request.method == "GET" else WRITE_LIMIT)
        content = None if request.json is None else orjson.dumps(request.json)
        if content is not None:
            headers["Content-Type"] = "application/json"
        with self._observed(request), self._guarded(request.dialect.slug), total(limit):
            response = self._client.request(
                request.method,
                request.url,
                params=request.params,
                content=content,
                data=request.form,
                headers=headers,
                timeout=limit.total_seconds(),
            )
            return self._read(request, response)

    def _read(self, request: "_Request", response: httpx.Response) -> Any:
        dialect, slug = request.dialect, request.dialect.slug
        request.status = response.status_code
        limits = dialect.limits(response.headers)
        if response.status_code == TOO_MANY:
            raise self._limited(request, response, limits)
        if limits is not None and request.counts:
            self._budget.observe(request.budget_key, limits.remaining, _bounded(limits.reset_after))
        if response.status_code >= SERVER_ERROR:
            raise OutcomeUnknown(slug, f"answered {response.status_code}", status=response.status_code)
        body = _decode(response)
        if response.is_success:
            if body is _UNREADABLE:
                raise BadAnswer(slug, "answered something that is not JSON", status=response.status_code)
            return body
        if dialect.token_refused(response.status_code, body):
            raise TokenRefused(slug, "refused the token", status=response.status_code, body=body)
        if (scopes := dialect.missing_scopes(response.status_code, body)) is not None:
            raise InsufficientScope(slug, scopes)
        raise Refused(slug, dialect.says(body), status=response.status_code, body=None if body is _UNREADABLE else body)

    def _limited(self, request: "_Request", response: httpx.Response, limits: Limits | None) -> RateLimited:
        wait = self._retry_after(response)
        if wait is None:
            wait = limits.reset_after if limits else timedelta(seconds=60)
        wait = _bounded(wait)
        if request.counts and request.dialect.all_spent(response.headers):
            self._budget.observe(request.budget_key, 0, wait)
        return RateLimited(request.dialect.slug, self._now() + wait)

    def _retry_after(self, response: httpx.Response) -> timedelta | None:
        """RFC 9110 section 10.2.3: seconds, or a date; Zoom writes the date as ISO 8601."""
        said = response.headers.get("Retry-After", "").strip()
        with suppress(ValueError):  # more digits than Python reads
            if said.isdecimal():
                return timedelta(seconds=min(int(said), LONGEST_PAUSE))
        for parse in (parsedate_to_datetime, datetime.fromisoformat):
            try:
                return max(parse(said) - self._now(), timedelta(0))
            except (ValueError, TypeError, OverflowError):
                continue
        return None

    # ---- token endpoint --------------------------------------------------------------------------------------------

    def token_request(
        self, dialect: Dialect, operation: str, url: str, *, client_id: str, client_secret: str, **grant: str
    ) -> dict[str, Any]:
        """Exactly one exchange at an OAuth token endpoint, through Authlib, without any retry.

        `grant` is `refresh_token=...`, or `code=..., redirect_uri=..., code_verifier=...`, or another `grant_type=...` with
        what belongs to it. `expires_in` is in the answer only when it is a number of seconds that can be. Raises NotSent,
        OutcomeUnknown, RateLimited, InvalidGrant or InvalidClient.
        """
        request = _Request(dialect, operation, "POST", url, {}, None, None, None, counts=dialect.token_limit_by_address)
        if request.counts:
            self._budget.check(dialect.slug, request.budget_key)
        self._release()
        client = OAuth2Client(
            client_id,
            client_secret,
            token_endpoint_auth_method=dialect.token_auth,
            transport=_Capped(self._pool),
            trust_env=False,
        )
        for hook in ("access_token_response", "refresh_token_response"):
            client.register_compliance_hook(hook, lambda response: self._check_token_answer(request, response))
        limit = EXCHANGE_LIMIT
        grant_type = grant.pop("grant_type", "refresh_token" if "refresh_token" in grant else "authorization_code")
        with self._observed(request), self._guarded(dialect.slug), total(limit):
            try:
                if grant_type == "refresh_token":
                    token = client.refresh_token(url, refresh_token=grant["refresh_token"], timeout=limit.total_seconds())
                else:
                    token = client.fetch_token(url, grant_type=grant_type, timeout=limit.total_seconds(), **grant)
            except OAuthError as error:
                raise _oauth_refusal(dialect, error, grant_type) from error
        if not sendable(token.get("access_token")):
            raise BadAnswer(dialect.slug, "the token endpoint answered without a token that can be sent")
        return dict(token)

    def _check_token_answer(self, request: "_Request", response: httpx.Response) -> httpx.Response:
        """Before Authlib reads it: what is no OAuth answer at all is not the grant's fault."""
        request.status = response.status_code
        if response.status_code == TOO_MANY:
            raise self._limited(request, response, request.dialect.limits(response.headers))
        if response.status_code >= SERVER_ERROR:
            raise OutcomeUnknown(request.dialect.slug, f"token endpoint answered {response.status_code}", status=response.status_code)
        body = _decode(response)
        if not isinstance(body, dict) or (not response.is_success and not isinstance(body.get("error"), str)):
            raise BadAnswer(request.dialect.slug, "token endpoint answered something unreadable", status=response.status_code)
        # what else is in it may be anything; if Authlib failed at it, the new pair, which has replaced the old, would be lost
        told = {name: value for name, value in body.items() if isinstance(value, str) and name not in {"expires_in", "expires_at"}}
        life = {"expires_in": body["expires_in"]} if _is_life(body.get("expires_in")) else {}
        return httpx.Response(response.status_code, json={**told, **life})

    # ---- around a call ---------------------------------------------------------------------------------------------

    def _breaker(self, slug: str) -> pybreaker.CircuitBreaker:
        if slug not in self._breakers:
            self._breakers[slug] = pybreaker.CircuitBreaker(
                fail_max=BREAKER_FAILURES,
                reset_timeout=BREAKER_PAUSE,
                exclude=[Refused, RateLimited],
                listeners=[_Health(slug, self._health)],
                throw_new_error_on_trip=False,
            )
        return self._breakers[slug]

    @contextmanager
    def _guarded(self, slug: str) -> Iterator[None]:
        """Breaker and error classes around one exchange on the wire."""
        try:
            # calling() holds the breaker's lock only while it decides; call() would hold it during the request
            with self._breaker(slug).calling(), _classified(slug):
                yield
        except pybreaker.CircuitBreakerError as error:
            raise BreakerOpen(slug, "paused after repeated failures") from error

    @contextmanager
    def _observed(self, request: "_Request") -> Iterator[None]:
        started, outcome = time.perf_counter(), "ok"
        try:
            yield
        except ProviderError as error:
            outcome = error.code
            raise
        finally:
            seconds = time.perf_counter() - started
            slug, operation = request.dialect.slug, request.operation
            self._metrics.provider_calls.labels(slug, operation, outcome).inc()
            self._metrics.provider_seconds.labels(slug, operation).observe(seconds)
            account = request.auth.account_id if isinstance(request.auth, AccountAuth) else None
            log.info(
                "provider call",
                provider=slug,
                operation=operation,
                status=request.status,
                outcome=outcome,
                ms=round(seconds * 1000),
                account=account,
            )


@dataclass
class _Request:
    dialect: Dialect
    operation: str
    method: str
    url: str
    headers: dict[str, str]
    params: Mapping[str, Any] | None
    json: Any
    auth: Auth
    limit: timedelta | None = None
    form: Mapping[str, str] | None = None
    counts: bool = True
    """Whether its answers say what is left for others who send without an account as well."""
    status: int | None = None

    @property
    def budget_key(self) -> str:
        """Whose limit it counts against: an account's, one token's, or that of everything we send without either."""
        if isinstance(self.auth, AccountAuth):
            owner = self.auth.account_id
        elif isinstance(self.auth, BearerAuth):
            owner = hashlib.sha256(self.auth.token.encode()).hexdigest()[:26]
        else:
            owner = "anonymous"
        return f"{self.dialect.slug}:{owner}"


class _Plain:
    """The dialect of a document that belongs to no provider."""

    slug = "public"
    token_limit_by_address = False
    token_auth: TokenAuth = "client_secret_basic"  # noqa: S105 - the name of a method

    def token_refused(self, status: int, body: Any) -> bool:  # noqa: ARG002
        return False

    def missing_scopes(self, status: int, body: Any) -> list[str] | None:  # noqa: ARG002
        return None

    def limits(self, headers: Mapping[str, str]) -> Limits | None:  # noqa: ARG002
        return None

    def says(self, body: Any) -> str:  # noqa: ARG002
        return "refused"

    def grant_refused(self, error: str, grant_type: str) -> bool:  # noqa: ARG002
        return False

    def all_spent(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002
        return False


def _bounded(wait: timedelta) -> timedelta:
    """A reset that is an epoch by mistake must not stop an account for years."""
    return max(timedelta(0), min(wait, timedelta(seconds=LONGEST_PAUSE)))


_PLAIN = _Plain()
_UNREADABLE = object()


def _decode(response: httpx.Response) -> Any:
    if not response.content:
        return None
    try:
        body = orjson.loads(response.content)
        return _without_nul(body) if b"\\u0000" in response.content else body
    except (orjson.JSONDecodeError, RecursionError):
        return _UNREADABLE


def _without_nul(value: Any) -> Any:
    """No text that PostgreSQL could not keep."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(one) for one in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(one) for name, one in value.items()}
    return value


def _is_life(seconds: Any) -> bool:
    return isinstance(seconds, (int, float)) and 0 <= seconds <= LONGEST_LIFE


def _oauth_refusal(dialect: Dialect, error: OAuthError, grant_type: str) -> Refused:
    """RFC 6749 section 5.2: what the `error` of a token endpoint means for us."""
    said = str(error.error)
    if said in {"invalid_client", "unauthorized_client"}:
        return InvalidClient(dialect.slug, f"token endpoint: {said}")
    if dialect.grant_refused(said, grant_type):
        return InvalidGrant(dialect.slug, f"token endpoint: {said[:60]}")
    return Refused(dialect.slug, f"token endpoint: {said[:60]}")


@contextmanager
def _classified(slug: str) -> Iterator[None]:
    """Httpx's failures as ours: what certainly was not sent, and what may have been."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        raise NotSent(slug, f"no connection ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise OutcomeUnknown(slug, f"no whole answer ({type(error).__name__})") from error


class _Health(pybreaker.CircuitBreakerListener):
    """Tells the world when a provider goes away and comes back."""

    def __init__(self, slug: str, tell: Callable[[str, bool], None]) -> None:
        self.slug, self.tell = slug, tell

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:  # noqa: ARG002
        if new_state.name in {"open", "closed"}:
            self.tell(self.slug, new_state.name == "closed")


class _Capped(httpx.BaseTransport):
    """The common pool, with a limit on what is read of an answer. Closing a client on top does not close the pool."""

    def __init__(self, pool: httpx.HTTPTransport) -> None:
        self.pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # unpacked by us, a small body could become a huge one
        request.headers["Accept-Encoding"] = "identity"
        response = self.pool.handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        return httpx.Response(response.status_code, headers=response.headers, stream=_CappedStream(response.stream))


class _CappedStream(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        read = 0
        for chunk in self._stream:
            read += len(chunk)
            if read > MAX_BODY:
                raise httpx.ReadError("the answer is too large")
            yield chunk

    def close(self) -> None:
        self._stream.close()


# ---- a total time limit --------------------------------------------------------------------------------------------------


@contextmanager
def total(limit: timedelta) -> Iterator[None]:
    """Everything that this thread reads or writes inside must be over by then, or when an outer limit ends."""
    outer, own = _deadline.get(), time.monotonic() + limit.total_seconds()
    mark = _deadline.set(own if outer is None else min(own, outer))
    try:
        yield
    finally:
        _deadline.reset(mark)


def _left(timeout: float | None, error: type[Exception]) -> float | None:
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise error("the total time limit passed")
    return left if timeout is None else min(left, timeout)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> httpcore.NetworkStream:
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None, socket_options: Any = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._backend.connect_tcp(host, port, left, local_address, socket_options))
