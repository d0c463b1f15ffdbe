"""Token life-cycles: nothing else in the code touches a provider token.

The operations, by name: `update_tokens`, `is_expired`, `refresh`, `refresh_managed_user`, `ensure_valid`.

A refresh token works once, so the rule is one exchange per token version. The `token_rotation` row, unique per (linked
account, version), is both the intent and the lease (docs/tokens.md tells it at length):

    claim the row until a deadline longer than the exchange can take -> re-read the version -> give the connection back
    -> check once more that the deadline leaves room -> exactly one exchange -> store the pair guarded by the version
    alone (a late answer is the only living pair) -> done

An exchange whose outcome is unknown keeps its row open with a pause; `invalid_grant` on a later attempt then means that
our own lost answer spent the token (ROTATION_LOST), on a first attempt that it was revoked (REVOKED). What was certainly
not sent takes its attempt back. Not covered: a process frozen between its last check and its send.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from models import LinkedAccount, PendingRevocation, TokenRotation
from models.base import DATABASE_AWAY, new_id, present, release_connection, to_ms, transactional
from models.prepared import Prepared
from services import audit, claims, installation_tokens, live, origins
from services.errors import (
    ConnectionUnusable,
    InvalidClient,
    InvalidGrant,
    NotSent,
    OutcomeUnknown,
    ProviderError,
    ProviderFailure,
    RateLimited,
    Refused,
    TokenRefused,
)
from services.logging import get_logger
from services.origins import Actor
from services.providers.base import AccessToken, AccountAuth, BearerAuth, Grant
from services.providers.transport import EXCHANGE_LIMIT, READ_LIMIT
from services.runtime import Runtime, in_background
from services.vault import VaultError, place

log = get_logger("tokens")

SKEW = timedelta(seconds=5)
LEASE = EXCHANGE_LIMIT + SKEW + timedelta(seconds=5)
"""How long a claimed exchange is nobody else's: longer than the exchange's hard limit plus clock skew."""
UNDISTURBED = EXCHANGE_LIMIT + 4 * READ_LIMIT + 2 * SKEW
"""How long connecting again keeps exchanges away: longer than its own exchange and its reading of the profile can take."""
STORES_FOR = 60.0
"""Seconds for which a pair that cannot be stored is held on to: it is the only one that lives."""
TRIAL = timedelta(minutes=1)
REVOKED_AFTER = timedelta(seconds=30)
EXPIRY_MARGIN = timedelta(seconds=60)
"""A token this close to its end is not begun with: the call must arrive while it lives."""
REQUEST_WAIT = 8.0
"""Seconds a caller waits for a refresh that somebody else does, before it gets a retryable problem."""
AHEAD = (0.6, 0.8)
LONGEST_BACKOFF = 300
USED_WITHIN = timedelta(days=2)
TOUCH_EVERY = timedelta(minutes=5)

OAUTH = "OAUTH"
MANAGED_USER = "MANAGED_USER"
SERVER_TO_SERVER = "SERVER_TO_SERVER"
"""The account has no tokens of its own: the installation's are used (services/installation_tokens.py)."""
NEEDS_PERSON = {"REVOKED", "ROTATION_LOST", "SCOPE_MISSING", "PLAN_REQUIRED"}
"""Problems that only the person can repair; every other one passes by itself or is the operator's."""

# ---- the named operations ------------------------------------------------------------------------------------------------


def is_expired(rt: Runtime, account: LinkedAccount) -> bool:
    """True when the access token is missing, or ends within EXPIRY_MARGIN. One of unknown life counts as living."""
    if account.access_token is None:
        return True
    return account.access_expires_at is not None and account.access_expires_at <= rt.clock.now() + EXPIRY_MARGIN


def ensure_valid(rt: Runtime, account_id: str) -> AccessToken:
    """A token to call with. Raises ConnectionUnusable (the person must act) or ProviderFailure (with `retry_at`)."""
    account = _usable(rt, account_id)
    _touch(rt, account)
    if account.kind == SERVER_TO_SERVER:
        return installation_tokens.current(rt, account.provider)
    if not is_expired(rt, account):
        return _token(rt, account)
    rt.metrics.token_waits.labels(account.provider).inc()
    return _rotate(rt, account)


def refresh(rt: Runtime, account_id: str, *, force: bool = False) -> bool:
    """Exchange the refresh token if the access token is expired, or in any case with `force`.

    False when the token was still good. Raises like ensure_valid.
    """
    account = _usable(rt, account_id)
    if account.kind == SERVER_TO_SERVER:
        before = installation_tokens.current(rt, account.provider)
        return force and installation_tokens.another(rt, account.provider, before.version).version > before.version
    if not force and not is_expired(rt, account):
        return False
    return _rotate(rt, account).version > account.token_version


def renew_refused(rt: Runtime, account_id: str, refused: AccessToken) -> None:
    """Exchange because the provider refused this token, unless there is a newer one already. Raises like ensure_valid."""
    account = _usable(rt, account_id)
    if account.token_version == refused.version:
        _rotate(rt, account)


def refresh_managed_user(rt: Runtime, account_id: str) -> bool:
    """Renew a managed user now: with its refresh token or, where that is spent or lost, with our platform credentials.

    The provider's force-refresh deletes every token of the user and answers a new pair, so two at once must not run:
    both ways go through the same intent row. Raises like ensure_valid; ROTATION_LOST is no state of a managed user.
    """
    account = _usable(rt, account_id)
    return _rotate(rt, account).version > account.token_version


def auth_of(account: LinkedAccount) -> AccountAuth:
    """What a provider is called with in the account's name."""
    return AccountAuth(account.id, account.external_id, account.organization)


def update_tokens(rt: Runtime, account_id: str, from_version: int, grant: Grant) -> bool:
    """Store a new pair over `from_version`, and clear what was wrong with the old one.

    Guarded by the version alone, never by a lease: at a provider with single-use tokens a late answer is the only pair
    that lives. False when another pair was stored first or the link is gone. A missing refresh token keeps the old one.
    """
    account = LinkedAccount.get_by_id(account_id)
    now = rt.clock.now()
    values = {
        "access_token": rt.vault.seal(grant.access_token, _place(account_id, "access_token")),
        "token_version": from_version + 1,
        "tokens_received_at": now,
        "access_expires_at": None if grant.expires_in is None else now + grant.expires_in,
        "last_refreshed_at": now,
        "failed_refresh_count": 0,
        "problem_code": None,
        "missing_scopes": [],
        "retry_at": None,
    }
    if grant.refresh_token is not None:
        values["refresh_token"] = rt.vault.seal(grant.refresh_token, _place(account_id, "refresh_token"))
    if grant.scopes is not None:
        values["scopes"] = list(grant.scopes)
        missing = missing_scopes(rt, account.provider, grant.scopes)
        if missing:
            values |= {"problem_code": "SCOPE_MISSING", "missing_scopes": missing}
    same = (LinkedAccount.id == account_id) & (LinkedAccount.token_version == from_version) & LinkedAccount.connected
    updated = set_problem(rt, account_id, same, values)
    if updated and grant.expires_in is not None:
        claims.schedule("refresh", account_id, now + grant.expires_in * random.uniform(*AHEAD))  # noqa: S311 - jitter
    return updated


@transactional
def set_problem(rt: Runtime, account_id: str, condition: Any, values: dict[str, Any]) -> bool:
    """Change the link and, where only its person can repair it from now on, have them told: both or neither."""
    before = LinkedAccount.get_by_id(account_id)
    changed = bool(LinkedAccount.update(**values).where(condition).execute())
    if changed and before.problem_code != values["problem_code"]:
        live.tell_of_connection(rt, before)
        _note(rt, before, values["problem_code"])
    if changed and values["problem_code"] in NEEDS_PERSON:
        claims.schedule("reconnect", account_id, rt.clock.now())
    return changed


def _note(rt: Runtime, account: LinkedAccount, code: str | None) -> None:
    """What only the person can repair, and that it is repaired; what passes by itself is no change of the link."""
    broken = code in NEEDS_PERSON
    if broken or account.problem_code in NEEDS_PERSON:
        action = "linked_account.broken" if broken else "linked_account.recovered"
        audit.record(
            rt,
            action,
            ("LinkedAccount", account.id),
            before={"problem_code": account.problem_code},
            after={"problem_code": code},
            owner=account.user_id,
            actor=Actor(origins.PROVIDER),
        )


def drop(account_id: str, **also: object) -> bool:
    """Forget the account's tokens, with whatever else is to change in the same statement; False when it is not linked.

    The version rises, so that an exchange under way has nothing left to store over.
    """
    nothing = {"access_token": None, "refresh_token": None, "access_expires_at": None, "tokens_received_at": None}
    well: dict[str, object] = {"problem_code": None, "missing_scopes": [], "retry_at": None, "failed_refresh_count": 0}
    changed = (
        LinkedAccount.update(token_version=LinkedAccount.token_version + 1, **nothing, **well, **also)
        .where((LinkedAccount.id == account_id) & LinkedAccount.connected)
        .execute()
    )
    return bool(changed)


def living(rt: Runtime, account: LinkedAccount) -> BearerAuth | None:
    """The present access token while it lives, for a last call on a link that is being taken down. Refreshes nothing."""
    if account.access_token is None or is_expired(rt, account):
        return None
    try:
        return BearerAuth(_open(rt, account, "access_token"))
    except ProviderFailure:
        return None


def to_revoke(rt: Runtime, account: LinkedAccount) -> str | None:
    """What the provider is told to forget: the refresh token, which takes its access token with it."""
    for column in ("refresh_token", "access_token"):
        if getattr(account, column) is not None:
            with suppress(ProviderFailure):
                return _open(rt, account, column)
    return None


def missing_scopes(rt: Runtime, provider: str, granted: Sequence[str] | None) -> list[str]:
    """Which of the scopes that Convene needs were not granted. Nothing said means everything (legacy tokens)."""
    if granted is None:
        return []
    return [scope for scope in rt.providers[provider].required_scopes if scope not in granted]


def refresh_ahead(rt: Runtime, account_id: str) -> timedelta | None:
    """The job: renew before the end what is in use; answers in how long again.

    An idle account waits until somebody needs it, and so does one that only its person can repair (None).
    """
    account = LinkedAccount.get_or_none(LinkedAccount.id == account_id)
    if account is None or not account.connected or account.problem_code in NEEDS_PERSON or account.access_expires_at is None:
        return None
    now = rt.clock.now()
    if account.last_used_at is None or now - account.last_used_at > USED_WITHIN:
        return None
    life = account.access_expires_at - account.tokens_received_at
    early = account.tokens_received_at + life * AHEAD[0]
    if now >= early:
        refresh(rt, account_id, force=True)
        account = LinkedAccount.get_by_id(account_id)
        if account.access_expires_at is None:
            return None
        life = account.access_expires_at - account.tokens_received_at
    due: timedelta = account.tokens_received_at + life * random.uniform(*AHEAD) - now  # noqa: S311 - jitter
    return max(due, timedelta(seconds=1))


# ---- one exchange --------------------------------------------------------------------------------------------------------


def _rotate(rt: Runtime, account: LinkedAccount) -> AccessToken:
    """A newer token than the account's present version, from our exchange or from whoever is doing it."""
    flight, leads = _flights.board((account.id, account.token_version))
    if leads:
        try:
            return _exchange_once(rt, account)
        finally:
            _flights.land((account.id, account.token_version), flight)
    release_connection()
    flight.wait(REQUEST_WAIT)
    return _newer_than(rt, account.id, account.token_version) or _wait_for_others(rt, account, waited=REQUEST_WAIT)


def _exchange_once(rt: Runtime, account: LinkedAccount) -> AccessToken:
    ways = _ways(rt, account)
    claimed = _claim(rt, account)
    if claimed is None:
        return _wait_for_others(rt, account, waited=0)
    rotation_id, attempt = claimed
    rt.step("rotation.claimed")
    if newer := _newer_than(rt, account.id, account.token_version):
        _close(rotation_id, None)
        return newer
    try:
        grant = _exchange(rt, account, ways, rotation_id, attempt)
    except InvalidGrant:
        return _after_invalid_grant(rt, account, rotation_id, attempt)
    except (NotSent, InvalidClient) as error:
        if newer := _newer_than(rt, account.id, account.token_version):
            return newer  # frozen until the lease ran out, and somebody else did it
        raise _not_sent(rt, account, rotation_id, attempt, error) from error
    except (OutcomeUnknown, Refused) as error:
        raise _unknown(rt, account, rotation_id, attempt) from error
    rt.step("rotation.answered")
    stored = _store(rt, account, grant)
    if not stored:
        _give_up(rt, account, grant)
    rt.step("rotation.stored")
    _close(rotation_id, None)
    rt.step("rotation.closed")
    rt.metrics.token_refreshes.labels(account.provider, "done").inc()
    log.info("token refreshed", account=account.id, provider=account.provider, stored=stored, attempt=attempt)
    newer = _newer_than(rt, account.id, account.token_version)
    if newer is None:
        raise unusable(rt, LinkedAccount.get_by_id(account.id))
    return newer


def _give_up(rt: Runtime, account: LinkedAccount, grant: Grant) -> None:
    """A pair that came for an account that was unlinked meanwhile is nobody's, and must not live on."""
    unlinked = LinkedAccount.select().where((LinkedAccount.id == account.id) & ~LinkedAccount.connected).exists()
    if unlinked and account.kind == OAUTH:
        revoke_later(rt, account.provider, grant.refresh_token or grant.access_token)


def revoke_later(rt: Runtime, slug: str, token: str) -> None:
    """Have the provider told to forget this token, as often as it takes (services/revocations.py); kept sealed until then."""
    if rt.providers[slug].capabilities.revocation:
        row_id = new_id()
        sealed = rt.vault.seal(token, place("pending_revocation", row_id, "token"))
        PendingRevocation.insert(id=row_id, provider=slug, token=sealed).execute()
        claims.schedule("revoke", f"token:{row_id}", rt.clock.now() + REVOKED_AFTER)


def _store(rt: Runtime, account: LinkedAccount, grant: Grant) -> bool:
    """Commit the pair, also to a database that is away for a while."""
    end, pause = time.monotonic() + STORES_FOR, 0.1
    while True:
        try:
            return update_tokens(rt, account.id, account.token_version, grant)
        except DATABASE_AWAY as error:
            release_connection()  # a broken one is not used again
            if time.monotonic() > end:
                raise
            log.error("a new pair cannot be stored yet", account=account.id, reason=type(error).__name__)  # noqa: TRY400 - no statement
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


@contextmanager
def undisturbed(rt: Runtime, account: LinkedAccount | None) -> Iterator[Callable[[], None]]:
    """While a new pair is got in another way (the person connects again), nobody exchanges the present refresh token.

    At Cal.com a refresh deletes every refresh token of the account, also the one that a consent just gave. Raises
    ProviderFailure REFRESH_IN_PROGRESS when an exchange is under way. What is yielded raises the same when it took so
    long that somebody may have exchanged after all; to be called before the new pair is stored.
    """
    if account is None or not account.connected:
        yield lambda: None
        return
    until = rt.clock.now() + UNDISTURBED
    claimed = _claim(rt, account, UNDISTURBED)
    mine = (TokenRotation.linked_account == account.id) & (TokenRotation.from_version == account.token_version)
    if claimed is None:
        # closed: it ended for good. Pausing (no owner): nobody exchanges now, and nobody shall until we are done
        soon = rt.clock.database_now(UNDISTURBED)
        pausing = mine & (TokenRotation.owner == "") & (TokenRotation.deadline < soon)
        TokenRotation.update(deadline=soon).where(pausing).execute()
        under_way = TokenRotation.get_or_none(mine & (TokenRotation.state == "open") & (TokenRotation.owner != ""))
        if under_way is not None:
            raise _failure(rt, account, "REFRESH_IN_PROGRESS", under_way.deadline)

    def still() -> None:
        if rt.clock.now() > until - SKEW:
            raise _failure(rt, account, "REFRESH_IN_PROGRESS", rt.clock.now())

    try:
        yield still
    finally:
        if claimed is not None:
            ours = (TokenRotation.id == claimed[0]) & (TokenRotation.owner == rt.owner) & (TokenRotation.attempt == claimed[1])
            given_back = {"owner": "", "deadline": rt.clock.database_now(), "attempt": TokenRotation.attempt - 1}
            TokenRotation.update(**given_back).where(ours).execute()


def _ways(rt: Runtime, account: LinkedAccount) -> list[Callable[[], Grant]]:
    """What gets this account a new pair, the next one where the one before is refused.

    Its refresh token; for a managed user also our platform credentials, second, because they kill its browsers' tokens.
    """
    managed = rt.managed_users(account.provider) if account.kind == MANAGED_USER else None
    force = [lambda: managed.force_refresh(account.external_id)] if managed else []
    if account.refresh_token is None:
        return force or [lambda: _nothing_to_exchange(account)]
    refresh_token = _open(rt, account, "refresh_token")
    exchange = managed.refresh_managed_user if managed else rt.providers[account.provider].refresh
    return [lambda: exchange(refresh_token), *force]


def _exchange(rt: Runtime, account: LinkedAccount, ways: list[Callable[[], Grant]], rotation_id: str, attempt: int) -> Grant:
    """One exchange, with a look at the deadline right before it. Raises InvalidGrant when the last way is refused."""
    *first, last = ways
    for way in first:
        with suppress(InvalidGrant):
            return _checked(rt, account, way, rotation_id, attempt)
    return _checked(rt, account, last, rotation_id, attempt)


def _checked(rt: Runtime, account: LinkedAccount, way: Callable[[], Grant], rotation_id: str, attempt: int) -> Grant:
    _check_room(rt, account, rotation_id, attempt)
    rt.step("rotation.checked")
    return way()


def _nothing_to_exchange(account: LinkedAccount) -> Grant:
    raise InvalidGrant(account.provider, "the provider never gave a refresh token")


def _claim(rt: Runtime, account: LinkedAccount, lease: timedelta = LEASE) -> tuple[str, int] | None:
    """Intent and lease in one statement and one commit; None when they are somebody else's, or pausing."""
    clock, now = rt.clock, to_ms(present())
    until, there = clock.database_now(lease), clock.database_now()
    found: tuple[str, int] | None = _claimed.first(new_id(), now, account.id, account.token_version, rt.owner, until, there)
    return found


@Prepared
def _claimed(row_id: Any, now: Any, account_id: Any, version: Any, owner: Any, until: Any, there: Any) -> Any:
    insert = TokenRotation.insert(
        id=row_id,
        created_at=now,
        updated_at=now,
        linked_account=account_id,
        from_version=version,
        owner=owner,
        attempt=1,
        deadline=until,
    )
    return (
        insert.on_conflict(
            conflict_target=[TokenRotation.linked_account, TokenRotation.from_version],
            update={TokenRotation.owner: owner, TokenRotation.attempt: TokenRotation.attempt + 1, TokenRotation.deadline: until},
            where=(TokenRotation.state == "open") & (TokenRotation.deadline <= there),
        )
        .returning(TokenRotation.id, TokenRotation.attempt)
        .tuples()
    )


def _check_room(rt: Runtime, account: LinkedAccount, rotation_id: str, attempt: int) -> None:
    """The last look before sending: still ours, nothing newer there, and it fits before the deadline. Raises NotSent."""
    until = rt.clock.database_now(EXCHANGE_LIMIT)
    if _room.first(rotation_id, rt.owner, attempt, until, account.id, account.token_version) is None:
        raise NotSent(account.provider, "the lease ran out before the exchange was sent")


@Prepared
def _room(rotation_id: Any, owner: Any, attempt: Any, until: Any, account_id: Any, version: Any) -> Any:
    ours = (TokenRotation.id == rotation_id) & (TokenRotation.owner == owner) & (TokenRotation.attempt == attempt)
    same = (LinkedAccount.id == account_id) & (LinkedAccount.token_version == version) & LinkedAccount.connected
    return (
        TokenRotation.select(TokenRotation.id)
        .join(LinkedAccount, on=(LinkedAccount.id == TokenRotation.linked_account))
        .where(ours & (TokenRotation.deadline >= until) & same)
        .tuples()
    )


@Prepared
def _close(rotation_id: Any, error: Any) -> Any:
    return TokenRotation.update(state="done", last_error=error).where(TokenRotation.id == rotation_id)


def _after_invalid_grant(rt: Runtime, account: LinkedAccount, rotation_id: str, attempt: int) -> AccessToken:
    if newer := _newer_than(rt, account.id, account.token_version):
        _close(rotation_id, None)
        return newer
    # a managed user's last way spends nothing: refused, it says that the user is gone
    code = "REVOKED" if attempt == 1 or account.kind == MANAGED_USER else "ROTATION_LOST"
    _close(rotation_id, code)
    rt.metrics.token_refreshes.labels(account.provider, code.lower()).inc()
    raise _broken(rt, account, code)


def _not_sent(rt: Runtime, account: LinkedAccount, rotation_id: str, attempt: int, error: ProviderError) -> ProviderFailure:
    """Nothing reached the provider: pause, and take the attempt back. Wrong client credentials burn no account."""
    if isinstance(error, RateLimited):
        code, pause = "RATE_LIMITED", max(error.retry_at - rt.clock.now(), timedelta(seconds=1))
    else:
        code, pause = "PROVIDER_UNAVAILABLE", _backoff(account)
    if isinstance(error, InvalidClient):
        code = "CLIENT_MISCONFIGURED"
        log.error("the provider refuses our client id or secret", provider=account.provider)
    TokenRotation.update(owner="", deadline=rt.clock.database_now(pause), attempt=TokenRotation.attempt - 1, last_error=code).where(
        (TokenRotation.id == rotation_id) & (TokenRotation.owner == rt.owner) & (TokenRotation.attempt == attempt)
    ).execute()
    return _degraded(rt, account, code, pause)


def _unknown(rt: Runtime, account: LinkedAccount, rotation_id: str, attempt: int) -> ProviderFailure:
    """It may have been spent: keep the row open and its count, so that the next attempt knows."""
    pause = _backoff(account)
    TokenRotation.update(owner="", deadline=rt.clock.database_now(pause), last_error="PROVIDER_UNAVAILABLE").where(
        (TokenRotation.id == rotation_id) & (TokenRotation.owner == rt.owner) & (TokenRotation.attempt == attempt)
    ).execute()
    return _degraded(rt, account, "PROVIDER_UNAVAILABLE", pause)


def _backoff(account: LinkedAccount) -> timedelta:
    return timedelta(seconds=min(LONGEST_BACKOFF, 5 * 2 ** min(account.failed_refresh_count, 10)))


def _degraded(rt: Runtime, account: LinkedAccount, code: str, pause: timedelta) -> ProviderFailure:
    """Count the failure. The user's state changes only when the present token is of no use any more."""
    retry_at = rt.clock.now() + pause
    values: dict[str, object] = {"failed_refresh_count": LinkedAccount.failed_refresh_count + 1}
    if is_expired(rt, account) or code == "CLIENT_MISCONFIGURED":
        values |= {"problem_code": code, "retry_at": retry_at}
    LinkedAccount.update(**values).where(_same_version(account) & _not_lost()).execute()
    claims.schedule("refresh", account.id, retry_at)
    rt.metrics.token_refreshes.labels(account.provider, code.lower()).inc()
    log.warning("token not refreshed", account=account.id, provider=account.provider, error_code=code)
    return _failure(rt, account, code, retry_at)


def _failure(rt: Runtime, account: LinkedAccount, code: str, retry_at: datetime) -> ProviderFailure:
    label = rt.providers[account.provider].label
    sentence = {
        "RATE_LIMITED": f"{label} asks us to slow down. It is tried again by itself.",
        "CLIENT_MISCONFIGURED": f"{label} does not accept this installation's own credentials. Its operator has been alarmed.",
        "REFRESH_IN_PROGRESS": "The connection is being renewed. Try again in a moment.",
    }.get(code, f"{label} cannot be reached right now. It is tried again by itself.")
    return ProviderFailure(sentence, code=code, retry_at=retry_at)


def _broken(rt: Runtime, account: LinkedAccount, code: str) -> ConnectionUnusable:
    """Only the person can repair it; a late commit of a lost pair undoes even this (update_tokens)."""
    broken = {"problem_code": code, "retry_at": None, "failed_refresh_count": LinkedAccount.failed_refresh_count + 1}
    set_problem(rt, account.id, _same_version(account), broken)
    claims.unschedule("refresh", account.id)
    log.warning("connection needs its person", account=account.id, provider=account.provider, error_code=code)
    return unusable(rt, account)


def unusable(rt: Runtime, account: LinkedAccount) -> ConnectionUnusable:
    label = rt.providers[account.provider].label
    return ConnectionUnusable(
        f"The {label} connection has to be made again by its owner: open the connection settings and connect {label} again.",
        account_id=account.id,
        user_id=account.user_id,
        provider=account.provider,
    )


def _same_version(account: LinkedAccount) -> Any:
    return (LinkedAccount.id == account.id) & (LinkedAccount.token_version == account.token_version)


def _not_lost() -> Any:
    return LinkedAccount.problem_code.is_null() | LinkedAccount.problem_code.not_in(NEEDS_PERSON)


# ---- reading, waiting ----------------------------------------------------------------------------------------------------


def _usable(rt: Runtime, account_id: str) -> LinkedAccount:
    account: LinkedAccount | None = _account.first(account_id)
    if account is None or not account.connected or account.problem_code in NEEDS_PERSON:
        if account is None:
            raise ProviderFailure("This connection is gone.", retryable=False)
        raise unusable(rt, account)
    return account


@Prepared
def _account(account_id: Any) -> Any:
    return LinkedAccount.select().where(LinkedAccount.id == account_id)


@Prepared
def connected(account_id: Any) -> Any:
    """The account, if it is connected."""
    return LinkedAccount.select().where((LinkedAccount.id == account_id) & LinkedAccount.connected)


def _touch(rt: Runtime, account: LinkedAccount) -> None:
    now = rt.clock.now()
    if not in_background.get() and (account.last_used_at is None or now - account.last_used_at > TOUCH_EVERY):
        LinkedAccount.update(last_used_at=now).where(LinkedAccount.id == account.id).execute()


def _token(rt: Runtime, account: LinkedAccount) -> AccessToken:
    value = _open(rt, account, "access_token")
    return AccessToken(value, account.token_version, account.tokens_received_at or account.linked_at, account.access_expires_at)


def _open(rt: Runtime, account: LinkedAccount, column: str) -> str:
    """Unseal a token. A lost sealing key is the operator's to bring back; connecting again helps as well."""
    try:
        return rt.vault.open(getattr(account, column), _place(account.id, column))
    except VaultError as error:
        log.error("a stored token cannot be opened", account=account.id, reason=str(error))  # noqa: TRY400 - no traceback of secrets
        raise ProviderFailure(
            "This installation cannot open the stored connection. Tell its operator, or connect again.",
            code="CLIENT_MISCONFIGURED",
            retryable=False,
        ) from error


def _newer_than(rt: Runtime, account_id: str, version: int) -> AccessToken | None:
    account = _usable(rt, account_id)
    return _token(rt, account) if account.token_version > version else None


def _wait_for_others(rt: Runtime, account: LinkedAccount, *, waited: float) -> AccessToken:
    """Another process exchanges: look for its result, holding no connection, until our own patience ends."""
    until = time.monotonic() + REQUEST_WAIT - waited
    pause = 0.02
    while True:
        if newer := _newer_than(rt, account.id, account.token_version):
            return newer
        row = TokenRotation.get_or_none(
            (TokenRotation.linked_account == account.id) & (TokenRotation.from_version == account.token_version)
        )
        pausing = row is not None and row.state == "open" and not row.owner
        if pausing or time.monotonic() >= until or rt.interrupted:
            code = (row.last_error if pausing else None) or "REFRESH_IN_PROGRESS"
            raise _failure(rt, account, code, row.deadline if row is not None else rt.clock.now() + timedelta(seconds=1))
        release_connection()
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


@dataclass
class _Flights:
    """One exchange per (account, version) and process; the others of the process wait for an event, not on the database."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    under_way: dict[tuple[str, int], threading.Event] = field(default_factory=dict)

    def board(self, key: tuple[str, int]) -> tuple[threading.Event, bool]:
        with self.lock:
            if key in self.under_way:
                return self.under_way[key], False
            self.under_way[key] = threading.Event()
            return self.under_way[key], True

    def land(self, key: tuple[str, int], flight: threading.Event) -> None:
        with self.lock:
            self.under_way.pop(key, None)
        flight.set()


_flights = _Flights()


def _place(account_id: str, column: str) -> bytes:
    return place("linked_account", account_id, column)


# ---- for the transport ---------------------------------------------------------------------------------------------------


class AccountTokens:
    """The transport's token source (services/providers/base.py)."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self._on_trial: dict[str, tuple[int, datetime]] = {}

    def current(self, account_id: str) -> AccessToken:
        return ensure_valid(self._rt, account_id)

    def renew(self, account_id: str, refused: AccessToken) -> AccessToken:
        """One renewal per refused version; one that came of a refusal and never served is not renewed again."""
        # one reading decides: with two, a pair stored between them would be exchanged as well
        account = _usable(self._rt, account_id)
        if account.kind == SERVER_TO_SERVER:
            return installation_tokens.renew(self._rt, account.provider, refused)
        if account.token_version > refused.version:
            return _token(self._rt, account)
        version, since = self._on_trial.get(account_id, (0, account.linked_at))
        if version == refused.version and self._rt.clock.now() - since < TRIAL:
            raise TokenRefused(account.provider, "refused a token that was fresh")
        # said before the new pair can be seen: whoever is refused with it must not renew it again
        self._on_trial[account_id] = (refused.version + 1, self._rt.clock.now())
        self._rt.metrics.token_waits.labels(account.provider).inc()
        return _rotate(self._rt, account)

    def served(self, account_id: str, token: AccessToken) -> None:
        if self._on_trial.get(account_id, (0, None))[0] == token.version:
            self._on_trial.pop(account_id, None)

    def lacks_scopes(self, account_id: str, token: AccessToken, scopes: Sequence[str]) -> None:
        account = LinkedAccount.get_by_id(account_id)
        shared = account.kind == SERVER_TO_SERVER
        # an answer about a token that was replaced meanwhile says nothing about the new one
        same = (LinkedAccount.id == account_id) & LinkedAccount.connected
        if not shared:
            same &= LinkedAccount.token_version == token.version
        if not set_problem(self._rt, account_id, same, {"problem_code": "SCOPE_MISSING", "missing_scopes": list(scopes)}):
            return
        if shared:
            installation_tokens.forget(account.provider)
        raise unusable(self._rt, LinkedAccount.get_by_id(account_id))
