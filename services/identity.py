"""Who is calling: bearer JWTs of the application's identity provider, verified through its key set.

Accepted: an allow-listed algorithm, a key of the issuer's JWKS, the right `iss`, `aud` (or `azp`), an `exp` in the
future and no `nbf` ahead, with 30 seconds of grace. Keys are kept for ten minutes; an unknown `kid` asks for them again,
at most every ten seconds, so that rotation needs no restart and a flood of bad tokens does no harm.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from models import Person, User
from models.base import transactional
from models.prepared import Prepared
from services import origins, people
from services.clock import Clock
from services.errors import ProviderError, Unauthenticated
from services.origins import Actor
from services.runtime import DemoPerson, Runtime
from settings import Settings

LEEWAY_SECONDS = 30
MALFORMED = (TypeError, KeyError, AttributeError, RecursionError)
"""What the library raises besides its own for headers of other types than it expects."""
KEYS_LIVE_SECONDS = 600
KEYS_PAUSE_SECONDS = 10
MAX_TOKEN = 16_384
SEEN_EVERY = timedelta(minutes=5)
LATEST_EXPIRY = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""An `exp` may be any number; one behind this is no date."""


@dataclass(frozen=True)
class Claims:
    """What a verified token says. `email` is None unless the issuer vouches for it."""

    subject: str
    email: str | None
    name: str | None
    time_zone: str | None
    admin: bool
    expires_at: datetime


@dataclass(frozen=True)
class Viewer:
    """Who is calling, for one request; `session_ends_at` is when the token expires that it came with."""

    user_id: str
    person_id: str
    name: str
    email: str | None
    time_zone: str
    is_admin: bool
    session_ends_at: datetime


class Verifier:
    """Checks tokens. `fetch` gets a JSON document over HTTP; `local_keys` are those of the development issuer."""

    def __init__(self, settings: Settings, clock: Clock, fetch: Callable[[str], Any], local_keys: dict[str, Any] | None = None) -> None:
        self._settings, self._clock, self._fetch = settings, clock, fetch
        self._keys = KeySet.import_key_set(local_keys) if local_keys else None  # type: ignore[arg-type]
        self._local = local_keys is not None
        self._fetched_at = 0.0
        self._lock = threading.Lock()

    def verify(self, header: str | None) -> Claims:
        """The claims of an Authorization header. Raises Unauthenticated, with the reason for the log."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip() or len(token) > MAX_TOKEN:
            raise Unauthenticated("no token")
        claims = self._decode(token.strip())
        self._check(claims)
        return self._read(claims)

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            return self._decoded_with(token, self._key_set(refresh=False))
        except JoseError as error:
            if self._local or "algorithm" in str(error).lower():
                raise Unauthenticated(f"token does not verify ({type(error).__name__})") from error
        except (*MALFORMED, ValueError) as error:
            if self._local:
                raise Unauthenticated("token does not verify (unknown key)") from error
        try:  # the issuer may have rotated its keys
            return self._decoded_with(token, self._key_set(refresh=True))
        except (JoseError, *MALFORMED, ValueError) as error:
            raise Unauthenticated(f"token does not verify ({type(error).__name__})") from error

    def _decoded_with(self, token: str, keys: KeySet) -> dict[str, Any]:
        algorithms = ["ES256"] if self._local else list(self._settings.identity_algorithms)
        return dict(jwt.decode(token, keys, algorithms=algorithms).claims)

    def _key_set(self, *, refresh: bool) -> KeySet:
        with self._lock:
            age = time.monotonic() - self._fetched_at
            stale = not self._local and age > (KEYS_PAUSE_SECONDS if refresh else KEYS_LIVE_SECONDS)
            if self._keys is not None and not stale:
                return self._keys
            # one thread asks; nobody waits for it who has keys to go on with
            self._fetched_at = time.monotonic()
        try:
            self._keys = KeySet.import_key_set(self._fetch(self._address()))
        except (ProviderError, JoseError, ValueError, KeyError, TypeError) as error:
            if self._keys is None:
                self._fetched_at = 0.0
                raise Unauthenticated(f"the issuer's keys cannot be read ({type(error).__name__})") from error
            self._fetched_at = time.monotonic() - KEYS_LIVE_SECONDS + KEYS_PAUSE_SECONDS
        return self._keys

    def _address(self) -> str:
        if self._settings.identity_jwks_url:
            return self._settings.identity_jwks_url
        discovery = self._fetch(f"{self._settings.identity_issuer.rstrip('/')}/.well-known/openid-configuration")
        return str(discovery["jwks_uri"])

    def _check(self, claims: dict[str, Any]) -> None:
        now = self._clock.now().timestamp()
        expires, not_before = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(expires, (int, float)) or not expires + LEEWAY_SECONDS >= now:  # not a number is neither
            raise Unauthenticated("expired, or without expiry")
        if not isinstance(not_before, (int, float)) or not not_before - LEEWAY_SECONDS <= now:
            raise Unauthenticated("not valid yet")
        if claims.get("iss") != self._issuer():
            raise Unauthenticated("another issuer")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        wanted = self._audience()
        if wanted:
            if not any(isinstance(a, str) and a in wanted for a in audiences):
                raise Unauthenticated("another audience")
        elif claims.get("azp") not in self._settings.identity_authorized_parties:
            raise Unauthenticated("another authorized party")
        if not isinstance(claims.get("sub"), str) or not claims["sub"] or "\0" in claims["sub"]:
            raise Unauthenticated("without subject")

    def _issuer(self) -> str:
        return DEVELOPMENT_ISSUER if self._local else self._settings.identity_issuer

    def _audience(self) -> tuple[str, ...]:
        return (DEVELOPMENT_AUDIENCE,) if self._local else self._settings.identity_audience

    def _read(self, claims: dict[str, Any]) -> Claims:
        s = self._settings
        email = claims.get(s.claim_email)
        vouched = isinstance(email, str) and "@" in email and claims.get(s.claim_email_verified) is True
        name, zone = claims.get(s.claim_name), claims.get(s.claim_time_zone)
        return Claims(
            subject=claims["sub"],
            email=email.strip().lower() if vouched and isinstance(email, str) else None,
            name=name.strip() if isinstance(name, str) and name.strip() else None,
            time_zone=zone if isinstance(zone, str) and is_zone(zone) else None,
            admin=claims.get(s.claim_admin) is True,
            expires_at=datetime.fromtimestamp(min(LATEST_EXPIRY, claims["exp"]), UTC),
        )


DEVELOPMENT_ISSUER = "convene-development"
DEVELOPMENT_AUDIENCE = "convene"


def development_keys(private: dict[str, Any]) -> dict[str, Any]:
    """The public half of the development issuer's key, as a JWKS."""
    return {"keys": [{k: v for k, v in private.items() if k != "d"}]}


def is_zone(name: str) -> bool:
    """True for an IANA time zone name of the installed database."""
    return name in _zones()


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    # looks through the whole database of time zones on disk: milliseconds that each request would pay
    return frozenset(available_timezones())


def zone(name: str | None) -> ZoneInfo:
    return ZoneInfo(name if name and is_zone(name) else "UTC")


def sign_in(rt: Runtime, claims: Claims) -> Viewer:
    """The user of these claims: made on first sight, kept in step after, and given the person of their verified e-mail."""
    user = _by_subject.first(claims.subject)
    if user is None:
        user = _first_sight(claims)
    changed = {
        name: value
        for name, value in (
            ("email", claims.email),
            ("name", claims.name or user.name),
            ("time_zone", claims.time_zone or user.time_zone),
            ("is_admin", claims.admin),
        )
        if getattr(user, name) != value
    }
    newly_vouched = claims.email is not None and ("email" in changed or user.last_seen_at is None)
    if newly_vouched and claims.email:
        # before the row says so: a claim that fails is tried again at the next request
        people.claim(user.person_id, people.email_identity(claims.email))
    now = rt.clock.now()
    if changed or user.last_seen_at is None or now - user.last_seen_at > SEEN_EVERY:
        # by the subject: one that was erased meanwhile stays so
        User.update(last_seen_at=now, **changed).where((User.id == user.id) & (User.subject == claims.subject)).execute()
        if "name" in changed:
            owner = User.select(User.person).where((User.id == user.id) & (User.subject == claims.subject))
            Person.update(name=changed["name"]).where(Person.id.in_(owner)).execute()
    origins.signed_in(Actor(origins.ADMIN if claims.admin else origins.USER, user.id, claims.name or user.name, claims.email))
    return Viewer(
        user_id=user.id,
        person_id=user.person_id,
        name=claims.name or user.name or "Unnamed",
        email=claims.email,
        time_zone=user.chosen_time_zone or claims.time_zone or user.time_zone or "UTC",
        is_admin=claims.admin,
        session_ends_at=claims.expires_at,
    )


@Prepared
def _by_subject(subject: Any) -> Any:
    return User.select().where(User.subject == subject)


@transactional
def _first_sight(claims: Claims) -> User:
    existing = User.get_or_none(User.subject == claims.subject)
    if existing is not None:
        return existing
    person = Person.create(name=claims.name or "", time_zone=claims.time_zone)
    rows = list(
        User.insert(subject=claims.subject, person=person.id, name=claims.name or "", email=None)
        .on_conflict(conflict_target=[User.subject], action="nothing")
        .returning(User.id)
        .tuples()
        .execute()
    )
    if not rows:  # another request of the same new user was first
        person.delete_instance()
    return User.get(User.subject == claims.subject)


def adopt_account_profile(user_id: str, name: str | None, time_zone: str | None) -> None:
    """Name and zone of the linked account, where the identity provider told neither."""
    if name:
        User.update(name=name).where((User.id == user_id) & (User.name == "")).execute()
        owner = User.select(User.person).where(User.id == user_id)
        Person.update(name=name).where(Person.id.in_(owner) & (Person.name == "")).execute()
    if time_zone and is_zone(time_zone):
        User.update(time_zone=time_zone).where((User.id == user_id) & User.time_zone.is_null()).execute()


def development_token(private: dict[str, Any], clock: Clock, person: DemoPerson) -> tuple[str, float]:
    """A token of the development issuer, good for an hour, and its expiry in epoch seconds."""
    now = int(clock.now().timestamp())
    claims = {
        "iss": DEVELOPMENT_ISSUER,
        "aud": DEVELOPMENT_AUDIENCE,
        "sub": f"dev|{person.email}",
        "email": person.email,
        "email_verified": True,
        "name": person.name,
        "zoneinfo": person.time_zone,
        "iat": now,
        "exp": now + 3600,
        **({"admin": True} if person.admin else {}),
    }
    key = ECKey.import_key(private)
    return jwt.encode({"alg": "ES256", "kid": private.get("kid", "dev")}, claims, key), now + 3600


def new_development_key() -> str:
    """A fresh private key of the development issuer, as JSON."""
    key = ECKey.generate_key("P-256", {"kid": "dev"}, private=True)
    return json.dumps(key.as_dict(private=True))
