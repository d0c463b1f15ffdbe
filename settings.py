"""Everything that can be set, read once from the environment into one frozen object.

`load()` names every missing or bad variable at once, so that a first start needs one round, not ten. A secret may come
from a file that NAME_FILE names (as in Docker and Kubernetes). The table for people is docs/settings.md; a test keeps
the two equal.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services import secret_files
from services.mailer import Server
from services.providers.base import List, split
from services.providers.registry import PROVIDERS, ProviderSettings
from services.vault import Vault, VaultError

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
THREADS_FOR_REQUESTS = 8


class SettingsError(Exception):
    """The environment does not make a working installation; the message has one line per variable."""


Minutes = Annotated[tuple[int, ...], NoDecode, BeforeValidator(split)]


class Settings(BaseSettings):
    """What an operator can set. Names in the environment are CONVENE_ and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="CONVENE_", frozen=True, extra="ignore", populate_by_name=True)

    development: bool = Field(default=False, description="Set by `scripts/server` alone: Convene is its own identity issuer.")
    database_url: str = Field(
        default="sqlite:///var/convene.db",
        repr=False,
        validation_alias=AliasChoices("CONVENE_DATABASE_URL", "DATABASE_URL"),
        description="`sqlite:///path` or `postgresql://user:password@host/name`. `DATABASE_URL` is understood too.",
    )
    port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("CONVENE_PORT", "PORT"),
        description="Port on which gunicorn listens, on loopback unless told otherwise. `PORT` is understood too.",
    )
    host: str = Field(default="127.0.0.1", description="Address on which gunicorn listens.")
    threads: int = Field(default=48, ge=4, description="Threads per process. Four at least: Cal.com calls us while we call it.")
    live_streams: int | None = Field(
        default=None, ge=0, description="Live streams per process; each takes a thread, and eight are always left. Default: half of them."
    )
    public_url: str = Field(default="", description="Where browsers and providers reach Convene, without a path.")
    sealing_keys: List = Field(
        default=(), repr=False, description="`id:key` pairs, comma-separated; key is 32 bytes in base64. The first seals, all of them open."
    )
    identity_issuer: str = Field(default="", description="The `iss` of the application's identity provider.")
    identity_jwks_url: str = Field(default="", description="Its key set; default: found through the issuer's OpenID configuration.")
    identity_audience: List = Field(default=(), description="Accepted values of `aud`.")
    identity_authorized_parties: List = Field(default=(), description="Accepted values of `azp`, for issuers that set no `aud`.")
    identity_algorithms: List = Field(default=("RS256", "ES256"), description="Accepted signature algorithms.")
    claim_email: str = Field(default="email", description="Claim with the e-mail address.")
    claim_email_verified: str = Field(default="email_verified", description="Claim that must be true for the address to count.")
    claim_name: str = Field(default="name", description="Claim with the person's name.")
    claim_time_zone: str = Field(default="zoneinfo", description="Claim with the IANA time zone.")
    claim_admin: str = Field(default="admin", description="Claim that makes an admin when it is boolean true.")
    allowed_origins: List = Field(default=(), description="Exact origins of the single-page frontends (CORS).")
    return_addresses: List = Field(default=(), description="Exact addresses that `connectProvider(returnTo:)` may name.")
    graphiql: bool = Field(default=False, description="Serve GraphiQL at GET /graphql. Always on in development.")
    fast_execution: bool = Field(
        default=True, description="Answer plain parts of a GraphQL answer by generated code. `off`: all by the standard executor."
    )
    introspection: bool = Field(
        default=False,
        description="Answer questions about the schema, and name similar fields in errors. Always on in development.",
    )
    query_cost: int = Field(
        default=50_000, ge=0, description="Values that the answer to one operation may have, by the sizes of its lists. 0: any number."
    )
    trusted_documents: str = Field(default="", description="File with the documents that frontends registered: JSON, sha256 to text.")
    trusted_documents_mode: Literal["off", "hybrid", "only"] = Field(
        default="off", description="`hybrid` answers registered documents and others, `only` registered ones, `off` takes texts alone."
    )
    requests_per_user: int = Field(default=1200, ge=0, description="Requests of one signed-in user per minute. 0: any number.")
    requests_per_address: int = Field(
        default=1200, ge=0, description="Requests per minute from one address that come without a good token. 0: any number."
    )
    trusted_proxies: int = Field(
        default=0,
        ge=0,
        description="Proxies in front that each add to X-Forwarded-For; the address limit counts whom the first was called by.",
    )
    receive_seconds: float = Field(default=30, gt=0, description="Seconds in which a request's head, and then its body, must arrive.")
    drain_seconds: int = Field(
        default=0,
        ge=0,
        description="Seconds for which a process that is asked to stop still takes requests, while `GET /ready` answers 503 already.",
    )
    metrics_token: str = Field(default="", repr=False, description="Bearer secret for GET /metrics from beyond loopback.")
    smtp_url: str = Field(
        default="",
        repr=False,
        description="Mail server: `smtp://user:password@host:587?starttls=required` or `smtps://user:password@host:465`. Unset: no e-mail.",
    )
    mail_from: str = Field(default="", description="Whose name e-mail bears, as `Convene <notifications@example.org>`.")
    default_event_type_minutes: Minutes = Field(default=(15, 30, 60), description="Lengths of the default event types, in minutes.")
    audit_days: int = Field(
        default=0, ge=0, description="How many days entries of the audit trail are kept, whole days; 0: for ever (docs/audit.md)."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")
    clock_offset_seconds: float = Field(
        default=0,
        description="For tests of whole processes only: shifts its clock, and by whole minutes its view of the database's.",
    )

    @field_validator("default_event_type_minutes")
    @classmethod
    def _lengths(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) != len(value) or not all(1 <= n <= 24 * 60 for n in value):
            raise ValueError("needs different whole minutes between 1 and 1440")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: str) -> str:
        if value:
            Server.of(value)
        return value

    @field_validator("mail_from")
    @classmethod
    def _mail_address(cls, value: str) -> str:
        try:
            name, address = parseaddr(value)
            good = not value or bool(Address(name, addr_spec=address).domain)
        except (ValueError, IndexError, HeaderParseError):
            good = False
        if not good:
            raise ValueError("must look like Convene <notifications@example.org>")
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("is none of DEBUG, INFO, WARNING, ERROR")
        return value.upper()

    @field_validator("public_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query):
            raise ValueError("must look like https://convene.example.org, without a path")
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgres://", "postgresql://")):
            raise ValueError("must start with sqlite:/// or postgresql://")
        return value

    @field_validator("sealing_keys")
    @classmethod
    def _keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value:
            try:
                Vault(value)
            except VaultError as error:
                raise ValueError(str(error)) from error
        return value

    @property
    def introspects(self) -> bool:
        return self.introspection or self.development

    @property
    def most_live_streams(self) -> int:
        """How many threads may be taken up by live streams; requests keep eight."""
        wanted = self.threads // 2 if self.live_streams is None else self.live_streams
        return max(min(wanted, self.threads - THREADS_FOR_REQUESTS), 0)

    @property
    def public_is_loopback(self) -> bool:
        return urlsplit(self.public_url).hostname in LOOPBACK


def load(environ: Mapping[str, str] | None = None) -> tuple[Settings, dict[str, ProviderSettings]]:
    """Read the environment (or `environ`). Raises SettingsError that names everything wrong at once."""
    resolved, problems = secret_files.read(os.environ if environ is None else environ, secret_variables())
    unread = tuple(f"{line.split()[0].removesuffix('_FILE')} is missing" for line in problems)
    with _environment(resolved):
        problems += [line for line in _missing() if not line.startswith(unread)]
        settings = _read(Settings, "CONVENE_", problems)
        providers = {slug: _read(p.settings, f"CONVENE_{slug.upper()}_", problems) for slug, p in PROVIDERS.items()}
    problems += [line for line in _lacking(providers) if not line.startswith(unread)]
    if settings is not None and settings.trusted_documents_mode != "off" and not settings.trusted_documents:
        problems.append(f"CONVENE_TRUSTED_DOCUMENTS is missing. {_say(Settings, 'trusted_documents')}")
    if settings is not None and settings.smtp_url and not settings.mail_from:
        problems.append(f"CONVENE_MAIL_FROM is missing. {_say(Settings, 'mail_from')}")
    if problems or settings is None:
        raise _refusal(problems)
    return settings, {slug: value for slug, value in providers.items() if value is not None}


def database_url() -> str:
    """The database's address alone, for what needs nothing else of the settings. Raises SettingsError."""
    resolved, problems = secret_files.read(os.environ, secret_variables())
    if problems := [line for line in problems if "DATABASE_URL_FILE " in line]:
        raise _refusal(problems)
    default: str = Settings.model_fields["database_url"].default
    return resolved.get("CONVENE_DATABASE_URL") or resolved.get("DATABASE_URL") or default


def _refusal(problems: list[str]) -> SettingsError:
    return SettingsError("Convene cannot start:\n" + "\n".join(f"  {line}" for line in problems))


def secret_variables() -> list[str]:
    """Every variable whose value is never shown; each may be given as a file instead, by NAME_FILE."""
    models: list[tuple[str, type[BaseSettings]]] = [("CONVENE_", Settings)]
    models += [(f"CONVENE_{slug.upper()}_", provider.settings) for slug, provider in PROVIDERS.items()]
    found: list[str] = []
    for prefix, model in models:
        for name, field in model.model_fields.items():
            if not field.repr:
                alias = field.validation_alias
                found += [str(one) for one in alias.choices] if isinstance(alias, AliasChoices) else [f"{prefix}{name.upper()}"]
    return found


@contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    """Pydantic's settings read os.environ alone."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _missing() -> list[str]:
    """What an installation cannot do without. Looked for before validation, so that bad and missing are told together."""
    needed: list[tuple[str, ...]] = [("public_url",), ("sealing_keys",)]
    if os.environ.get("CONVENE_DEVELOPMENT", "").lower() not in {"1", "true", "yes", "on"}:
        needed += [("identity_issuer",), ("identity_audience", "identity_authorized_parties")]
    return [
        f"CONVENE_{names[0].upper()} is missing. {_say(Settings, names[0])}"
        for names in needed
        if not any(os.environ.get(f"CONVENE_{name.upper()}", "").strip(" ,") for name in names)
    ]


def _lacking(providers: dict[str, ProviderSettings | None]) -> list[str]:
    """What half-configured providers miss; and that there is a provider at all with whom something can be booked."""
    found = [
        f"{_variable(slug, name)} is missing. {_say(type(read), name)}"
        for slug, read in providers.items()
        if read is not None
        for name in read.lacking()
    ]
    scheduling = [slug for slug, provider in PROVIDERS.items() if provider.capabilities.scheduling]
    if not any((read := providers[slug]) is None or read.on for slug in scheduling):
        first, *others = scheduling
        advice = "".join(f", or the same of {PROVIDERS[slug].label} ({_variable(slug, 'client_id')})" for slug in others)
        found += [
            f"{_variable(first, name)} is missing. {_say(PROVIDERS[first].settings, name).removesuffix('.')}{advice}."
            for name in ("client_id", "client_secret")
        ]
    return found


def _variable(slug: str, name: str) -> str:
    return f"CONVENE_{slug.upper()}_{name.upper()}"


def _read(cls: type[Any], prefix: str, problems: list[str]) -> Any:
    try:
        return cls()
    except ValidationError as error:
        for detail in error.errors():
            raw = str(detail["loc"][0]) if detail["loc"] else "?"
            name = raw if raw.isupper() else f"{prefix}{raw.upper()}"
            reason = "is missing" if detail["type"] in {"missing", "string_too_short"} else detail["msg"].removeprefix("Value error, ")
            problems.append(f"{name} {reason[0].lower()}{reason[1:]}. {_say(cls, raw)}".rstrip())
        return None


def _say(cls: type[Any], name: str) -> str:
    field = cls.model_fields.get(name)
    return (field.description or "") if field else ""
