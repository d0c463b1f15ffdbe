"""Settings: everything wrong is told at once, aliases and lists are understood, secrets are never shown."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import settings
from services.providers.registry import PROVIDERS
from services.vault import new_key
from settings import Settings, SettingsError

TABLE = Path(__file__).parent.parent / "docs" / "settings.md"
SEALING = new_key("k1")
PRODUCTION = {
    "CONVENE_PUBLIC_URL": "https://convene.example.org/",
    "CONVENE_SEALING_KEYS": SEALING,
    "CONVENE_IDENTITY_ISSUER": "https://id.example.org",
    "CONVENE_IDENTITY_AUDIENCE": "convene",
    "CONVENE_CALCOM_CLIENT_ID": "client",
    "CONVENE_CALCOM_CLIENT_SECRET": "s3cret-of-the-client",
}


def problems(**environment: str) -> list[str]:
    """The lines of the refusal, one per variable."""
    with pytest.raises(SettingsError) as refused:
        settings.load(environment)
    first, *lines = str(refused.value).splitlines()
    assert first == "Convene cannot start:"
    return [line.strip() for line in lines]


def named(lines: list[str]) -> set[str]:
    return {line.split()[0] for line in lines}


def variables() -> set[str]:
    """Every variable that exists, by the models' fields."""
    models: list[tuple[str, type[Any]]] = [("CONVENE_", Settings), *((f"CONVENE_{s.upper()}_", p.settings) for s, p in PROVIDERS.items())]
    return {f"{prefix}{field.upper()}" for prefix, model in models for field in model.model_fields}


# ---- what is wrong is told at once ------------------------------------------------------------------------------------------


def test_an_empty_environment_is_told_everything_that_is_missing() -> None:
    lines = problems()
    assert named(lines) == {
        "CONVENE_PUBLIC_URL",
        "CONVENE_SEALING_KEYS",
        "CONVENE_IDENTITY_ISSUER",
        "CONVENE_IDENTITY_AUDIENCE",
        "CONVENE_CALCOM_CLIENT_ID",
        "CONVENE_CALCOM_CLIENT_SECRET",
    }
    assert all(" is missing. " in line and line.endswith(".") for line in lines)
    assert len(lines) == len(named(lines))


def test_bad_and_missing_ones_are_told_together() -> None:
    lines = problems(
        CONVENE_PORT="eighty",
        CONVENE_THREADS="1",
        CONVENE_LOG_LEVEL="loud",
        CONVENE_DATABASE_URL="mysql://x",
        CONVENE_SEALING_KEYS="no-key",
        CONVENE_DEFAULT_EVENT_TYPE_MINUTES="15,15",
        CONVENE_PUBLIC_URL="convene.example.org/path",
    )
    assert named(lines) == {
        "CONVENE_PORT",
        "CONVENE_THREADS",
        "CONVENE_LOG_LEVEL",
        "CONVENE_DATABASE_URL",
        "CONVENE_SEALING_KEYS",
        "CONVENE_DEFAULT_EVENT_TYPE_MINUTES",
        "CONVENE_PUBLIC_URL",
        "CONVENE_IDENTITY_ISSUER",
        "CONVENE_IDENTITY_AUDIENCE",
        "CONVENE_CALCOM_CLIENT_ID",
        "CONVENE_CALCOM_CLIENT_SECRET",
    }


@pytest.mark.parametrize("missing", sorted(PRODUCTION))
def test_production_without_one_of_them_is_refused_by_its_name(missing: str) -> None:
    assert named(problems(**{k: v for k, v in PRODUCTION.items() if k != missing})) == {missing}


@pytest.mark.parametrize("empty", sorted(PRODUCTION))
def test_an_empty_variable_counts_as_missing(empty: str) -> None:
    assert named(problems(**{**PRODUCTION, empty: ""})) == {empty}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONVENE_PORT", "-1"),
        ("CONVENE_PORT", "65536"),
        ("CONVENE_THREADS", "none"),
        ("CONVENE_PUBLIC_URL", "ftp://convene.example.org"),
        ("CONVENE_PUBLIC_URL", "https://convene.example.org/base"),
        ("CONVENE_PUBLIC_URL", "https://convene.example.org?x=1"),
        ("CONVENE_SEALING_KEYS", "k1:dG9vIHNob3J0"),
        ("CONVENE_SEALING_KEYS", "k1"),
        ("CONVENE_DEFAULT_EVENT_TYPE_MINUTES", "15,half"),
        ("CONVENE_DEFAULT_EVENT_TYPE_MINUTES", "0"),
        ("CONVENE_DEFAULT_EVENT_TYPE_MINUTES", "1441"),
        ("CONVENE_DEFAULT_EVENT_TYPE_MINUTES", ","),
        ("CONVENE_GRAPHIQL", "perhaps"),
        ("CONVENE_DEVELOPMENT", "perhaps"),
        ("CONVENE_CLOCK_OFFSET_SECONDS", "soon"),
    ],
)
def test_a_bad_value_is_refused_by_the_variables_name(name: str, value: str) -> None:
    (line,) = problems(**{**PRODUCTION, name: value})
    assert line.startswith(f"{name} ")


def test_a_bad_value_of_an_alias_is_named_so_that_it_can_be_found() -> None:
    (line,) = problems(**PRODUCTION, PORT="eighty")
    assert "PORT" in line.split()[0]
    (line,) = problems(**PRODUCTION, DATABASE_URL="mysql://x")
    assert "DATABASE_URL" in line.split()[0]


def test_a_refusal_repeats_no_secret() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load(
            {**PRODUCTION, "CONVENE_SEALING_KEYS": f"{SEALING},broken:c2VjcmV0", "CONVENE_DATABASE_URL": "mysql://me:pass-word@x"}
        )
    for secret in (SEALING.split(":")[1], "c2VjcmV0", "pass-word", "s3cret-of-the-client"):
        assert secret not in str(refused.value)


# ---- what is understood -----------------------------------------------------------------------------------------------------


def test_production_needs_six_variables() -> None:
    loaded, providers = settings.load(PRODUCTION)
    assert loaded.public_url == "https://convene.example.org"
    assert loaded.development is False
    assert loaded.identity_algorithms == ("RS256", "ES256")
    assert loaded.default_event_type_minutes == (15, 30, 60)
    assert (loaded.host, loaded.port, loaded.database_url) == ("127.0.0.1", 8000, "sqlite:///var/convene.db")
    assert providers["calcom"].api_url == "https://api.cal.com"


def test_development_needs_no_identity_provider() -> None:
    environment = {k: v for k, v in PRODUCTION.items() if "IDENTITY" not in k}
    loaded, _ = settings.load({**environment, "CONVENE_DEVELOPMENT": "true"})
    assert loaded.development is True


def test_authorized_parties_stand_in_for_an_audience() -> None:
    environment = {k: v for k, v in PRODUCTION.items() if k != "CONVENE_IDENTITY_AUDIENCE"}
    loaded, _ = settings.load({**environment, "CONVENE_IDENTITY_AUTHORIZED_PARTIES": "https://a.example, https://b.example"})
    assert loaded.identity_authorized_parties == ("https://a.example", "https://b.example")


def test_the_customary_names_are_understood_and_ours_win() -> None:
    loaded, _ = settings.load({**PRODUCTION, "DATABASE_URL": "postgresql://h/customary", "PORT": "9000"})
    assert (loaded.database_url, loaded.port) == ("postgresql://h/customary", 9000)
    both = {"DATABASE_URL": "postgresql://h/customary", "PORT": "9000", "CONVENE_DATABASE_URL": "sqlite:///ours.db", "CONVENE_PORT": "9001"}
    loaded, _ = settings.load({**PRODUCTION, **both})
    assert (loaded.database_url, loaded.port) == ("sqlite:///ours.db", 9001)


def test_lists_are_separated_by_commas() -> None:
    loaded, _ = settings.load(
        {
            **PRODUCTION,
            "CONVENE_ALLOWED_ORIGINS": "https://a.example , https://b.example,",
            "CONVENE_DEFAULT_EVENT_TYPE_MINUTES": "20, 45",
            "CONVENE_IDENTITY_ALGORITHMS": "EdDSA",
        }
    )
    assert loaded.allowed_origins == ("https://a.example", "https://b.example")
    assert loaded.default_event_type_minutes == (20, 45)
    assert loaded.identity_algorithms == ("EdDSA",)


def test_reading_another_environment_leaves_the_own_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVENE_LOG_LEVEL", "ERROR")
    before = dict(os.environ)
    loaded, _ = settings.load(PRODUCTION)
    assert loaded.log_level == "INFO"
    with pytest.raises(SettingsError):
        settings.load({"CONVENE_PORT": "none"})
    assert dict(os.environ) == before


# ---- what is kept -----------------------------------------------------------------------------------------------------------


def test_settings_are_frozen() -> None:
    loaded, providers = settings.load(PRODUCTION)
    with pytest.raises(ValidationError):
        loaded.port = 1
    with pytest.raises(ValidationError):
        providers["calcom"].api_url = "https://elsewhere.example"
    assert loaded.port == 8000


def test_nothing_secret_is_shown() -> None:
    secret = {
        "CONVENE_CALCOM_WEBHOOK_SECRET": "s3cret-of-the-webhook",
        "CONVENE_CALCOM_PLATFORM_CLIENT_SECRET": "s3cret-of-the-platform",
        "CONVENE_METRICS_TOKEN": "s3cret-of-the-metrics",
        "CONVENE_DATABASE_URL": "postgresql://me:s3cret-of-the-database@h/name",
    }
    loaded, providers = settings.load({**PRODUCTION, **secret})
    for shown in (repr(loaded), str(loaded), repr(providers), str(providers["calcom"])):
        assert "s3cret" not in shown
        assert SEALING.split(":")[1] not in shown


def test_every_setting_says_what_it_is() -> None:
    for model in (Settings, *(p.settings for p in PROVIDERS.values())):
        for name, field in model.model_fields.items():
            assert field.description, name
            assert field.description.endswith("."), name


def test_the_page_for_people_lists_exactly_the_variables_that_exist() -> None:
    told = set(re.findall(r"\bCONVENE_[A-Z_]*[A-Z](?![A-Z_])", TABLE.read_text()))
    assert told == variables()
