"""What an operator writes: the environment, the mail server's address, the manifest. Refused with a sentence, or a working set."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from system.fuzz_mutations import JSON
from test_fuzz_parsers import both

import settings
from schema.root import schema
from schema.trusted_documents import ManifestError, TrustedDocuments
from services.mailer import Server
from services.providers.registry import PROVIDERS

CLASSES = (settings.Settings, *(kind.settings for kind in PROVIDERS.values()))
NAMES = sorted(
    {f"{one.model_config['env_prefix']}{name}".upper() for one in CLASSES for name in one.model_fields} | {"PORT", "DATABASE_URL"}
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
VALUES = TEXTS | st.sampled_from(
    ["", " ", ",", ",,,", "-1", "0", "1e5", "9" * 5000, "nan", "true", "maybe", "[]", "{}", "null", "http://[", "https://user:pass@host:x/", "//", "a:b",
     "k:" + "A" * 43 + "=", "k:x", "sqlite:///", "sqlite:///x", "postgresql://h/x", "smtp://[::1", "smtps://a@b@c", "none", "HS256", "/etc/passwd", "/"]
)  # fmt: skip
FILES = st.sampled_from(["/", "/nowhere", "/dev/null", "/etc/shadow-", "/proc/self/mem", "."])


def refused(message: str, given: dict[str, str]) -> None:
    """It names a variable, and shows nothing of a secret."""
    assert any(name in message for name in ("CONVENE_", "DATABASE_URL", "PORT")), message
    hidden = {value for name, value in given.items() if any(word in name for word in ("SECRET", "KEY", "TOKEN"))}
    assert not [value for value in hidden if len(value) > 12 and value in message], "a secret in the message"


@both
def test_the_environment(monkeypatch: pytest.MonkeyPatch, how: hypothesis_settings) -> None:
    """Every text for every variable: it starts, or it says which variables are wrong, each by its name."""
    for name in [name for name in os.environ if name.startswith("CONVENE_")]:
        monkeypatch.delenv(name)
    names = st.sampled_from(NAMES)

    @how
    @given(
        st.dictionaries(names, VALUES, max_size=6),
        st.dictionaries(names.map(lambda name: f"{name}_FILE"), FILES, max_size=1),
        st.booleans(),
    )
    def check(given: dict[str, str], files: dict[str, str], development: bool) -> None:
        with monkeypatch.context() as patch:
            for name, value in {"CONVENE_DEVELOPMENT": "1" if development else "0", **given, **files}.items():
                patch.setenv(name, value)
            try:
                settings.load()
            except settings.SettingsError as error:
                refused(str(error), given)

    check()


@both
def test_the_mail_servers_address(how: hypothesis_settings) -> None:
    """A server, or ValueError, which the settings turn into a sentence."""
    urls = (
        TEXTS
        | VALUES
        | st.builds("{}://{}:{}@{}:{}?starttls={}".format, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
        | TEXTS.map("smtp://{}".format)
    )

    @how
    @given(urls)
    def check(url: str) -> None:
        try:
            server = Server.of(url)
        except ValueError:
            return
        assert server.host
        assert 0 < server.port <= 65535

    check()


@both
def test_the_manifest(tmp_path: Path, how: hypothesis_settings) -> None:
    """Whatever the file holds: registered documents, or one line for each entry that is none."""
    path = tmp_path / "manifest.json"
    documents = st.sampled_from(["{ viewer { id } }", "{" * 1000, "{ a " * 500 + "}" * 500, "", "#", "{ viewer { id } } " * 200]) | TEXTS
    manifests = st.lists(documents, max_size=3).map(lambda texts: {hashlib.sha256(text.encode()).hexdigest(): text for text in texts})
    contents = (manifests | JSON | st.dictionaries(TEXTS, TEXTS | JSON)).map(lambda found: json.dumps(found).encode()) | st.binary(
        max_size=60
    )

    @how
    @given(contents, st.sampled_from(["hybrid", "only"]))
    def check(content: bytes, mode: Any) -> None:
        path.write_bytes(content)
        try:
            found = TrustedDocuments.load(schema._schema, mode, str(path))
        except ManifestError:
            return
        for document_id, text in json.loads(content).items():
            assert found.text(None, document_id) == text

    check()
