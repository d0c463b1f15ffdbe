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
SECRETS = {
    "CONVENE_CALCOM_WEBHOOK_SECRET": "s3cret-of-the-webhook",
    "CONVENE_CALCOM_PLATFORM_CLIENT_SECRET": "s3cret-of-the-platform",
    "CONVENE_METRICS_TOKEN": "s3cret-of-the-metrics",
    "CONVENE_DATABASE_URL": "postgresql://me:s3cret-of-the-database@h/name",
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


# ---- secrets as files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["", "\n", "\r\n"])
def test_every_secret_may_come_from_a_file(tmp_path: Path, ends: str) -> None:
    given = {**PRODUCTION, "DATABASE_URL": "sqlite:///x.db", **SECRETS}
    files = {}
    for name in settings.secret_variables():
        if name in given:
            (tmp_path / name).write_text(given[name] + ends)
            files[f"{name}_FILE"] = str(tmp_path / name)
    assert len(files) == len(SECRETS) + 3
    open_ones = {name: value for name, value in given.items() if f"{name}_FILE" not in files}
    before = dict(os.environ)
    assert settings.load({**open_ones, **files}) == settings.load(given)
    assert dict(os.environ) == before, "what was read is not handed on to other processes"


def test_what_is_wrong_with_files_is_told_with_the_rest(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"\xff\xfe")
    lines = problems(
        CONVENE_PORT="eighty",
        CONVENE_SEALING_KEYS_FILE=str(tmp_path / "none"),
        CONVENE_METRICS_TOKEN_FILE=str(tmp_path / "noise"),
        CONVENE_CALCOM_CLIENT_ID="client",
        CONVENE_CALCOM_CLIENT_SECRET="s3cret",
        CONVENE_CALCOM_CLIENT_SECRET_FILE=str(tmp_path / "noise"),
        CONVENE_IDENTITY_ISSUER_FILE=str(tmp_path / "not a secret"),
    )
    assert "CONVENE_CALCOM_CLIENT_SECRET_FILE is set, and CONVENE_CALCOM_CLIENT_SECRET as well. Set one of them." in lines
    assert f"CONVENE_SEALING_KEYS_FILE names {tmp_path}/none, which cannot be read: No such file or directory." in lines
    assert f"CONVENE_METRICS_TOKEN_FILE names {tmp_path}/noise, which cannot be read: it is not text." in lines
    assert named(lines) == {
        "CONVENE_CALCOM_CLIENT_SECRET_FILE",
        "CONVENE_SEALING_KEYS_FILE",
        "CONVENE_METRICS_TOKEN_FILE",
        "CONVENE_PORT",
        "CONVENE_PUBLIC_URL",
        "CONVENE_IDENTITY_ISSUER",
        "CONVENE_IDENTITY_AUDIENCE",
    }


def test_the_address_of_the_database_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """For scripts/migrate, which needs nothing else."""
    for name in ("CONVENE_DATABASE_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert settings.database_url() == "sqlite:///var/convene.db"
    (tmp_path / "url").write_text("postgresql://h/secret\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/customary")
    monkeypatch.setenv("CONVENE_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert settings.database_url() == "postgresql://h/secret"
    (tmp_path / "url").unlink()
    with pytest.raises(SettingsError, match="CONVENE_DATABASE_URL_FILE names"):
        settings.database_url()


# ---- what is kept -----------------------------------------------------------------------------------------------------------


def test_settings_are_frozen() -> None:
    loaded, providers = settings.load(PRODUCTION)
    with pytest.raises(ValidationError):
        loaded.port = 1
    with pytest.raises(ValidationError):
        providers["calcom"].api_url = "https://elsewhere.example"
    assert loaded.port == 8000


def test_nothing_secret_is_shown() -> None:
    loaded, providers = settings.load({**PRODUCTION, **SECRETS})
    for shown in (repr(loaded), str(loaded), repr(providers), str(providers["calcom"])):
        assert "s3cret" not in shown
        assert SEALING.split(":")[1] not in shown


def test_every_setting_says_what_it_is() -> None:
    for model in (Settings, *(p.settings for p in PROVIDERS.values())):
        for name, field in model.model_fields.items():
            assert field.description, name
            assert field.description.endswith("."), name


def test_the_page_for_people_lists_exactly_the_variables_that_exist() -> None:
    page, _, files = TABLE.read_text().partition("## Secrets as files")
    names = re.compile(r"\bCONVENE_[A-Z_]*[A-Z](?![A-Z_])")
    assert set(names.findall(page)) == variables()
    listed = files.partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z][A-Z_]+)`", listed)) == set(settings.secret_variables())
