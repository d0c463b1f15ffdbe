"""Documents that the frontend's build registered: asked for by their sha256 instead of their text.

The manifest is what graphql-codegen writes as persisted-documents.json with `hashAlgorithm: "sha256"`: one JSON object
of hash -> text. It is read and checked once, at the start.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal

import orjson
from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode

from schema.documents import prepare
from services.errors import ConveneError

Mode = Literal["off", "hybrid", "only"]
PREFIX = "sha256:"


class ManifestError(Exception):
    """The manifest cannot be used; the message has one line per bad entry."""


class DocumentUnknown(ConveneError):
    """A hash that the manifest does not have. Code and message are those by which Apollo and urql send the text then."""

    code = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound")


class DocumentsNotTaken(ConveneError):
    """A hash where there is no manifest. Code and message are those by which Apollo and urql send texts from then on."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotSupported")


class NotTrusted(ConveneError):
    """What is not in the manifest, where nothing else is answered."""

    code = "DOCUMENT_NOT_TRUSTED"


class TrustedDocuments:
    """The manifest of one installation, and what it makes of a request."""

    def __init__(self, mode: Mode = "off", texts: dict[str, str] | None = None) -> None:
        self.mode = mode
        self._by_hash = texts or {}
        self._texts = frozenset(self._by_hash.values())

    @classmethod
    def load(cls, schema: GraphQLSchema, mode: Mode, path: str) -> "TrustedDocuments":
        """Raises ManifestError that names every bad entry: wrong hash, no valid document of this schema, beyond a limit."""
        return cls(mode, _checked(schema, _read(path))) if mode != "off" else cls()

    def text(self, given: str | None, document_id: str | None) -> str:
        """The text to execute. Raises DocumentUnknown, DocumentsNotTaken or NotTrusted."""
        known = self._by_hash.get(document_id.removeprefix(PREFIX).lower()) if document_id is not None else None
        if known is not None:
            return known
        if self.mode == "only" and document_id is not None:
            raise NotTrusted("This server answers registered documents only, and this is none of them. Register it and try again.")
        if self.mode == "only":
            raise NotTrusted("This server answers registered documents only. Send the `documentId` of one instead of a text.")
        if given is None:
            raise DocumentsNotTaken if self.mode == "off" else DocumentUnknown
        return given

    def is_free(self, text: str) -> bool:
        """A text that is answered although the manifest does not have it."""
        return self.mode == "hybrid" and text not in self._texts


def _read(path: str) -> dict[str, str]:
    try:
        manifest: Any = orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from error
    except orjson.JSONDecodeError as error:
        raise ManifestError(f"{path} is not JSON.") from error
    if not isinstance(manifest, dict) or not all(isinstance(text, str) for text in manifest.values()):
        raise ManifestError(f'{path} is no manifest. It must look like {{"<sha256 in hex>": "query ..."}}.')
    return {key.removeprefix(PREFIX).lower(): text for key, text in manifest.items()}


def _checked(schema: GraphQLSchema, manifest: dict[str, str]) -> dict[str, str]:
    problems = [f"{key}: {problem}" for key, text in manifest.items() if (problem := _problem(schema, key, text))]
    if problems:
        raise ManifestError("\n".join(problems))
    return manifest


def _problem(schema: GraphQLSchema, key: str, text: str) -> str | None:
    actual = hashlib.sha256(text.encode()).hexdigest()
    if actual != key:
        return f"this is not the sha256 of its text, which is {actual}."
    try:
        prepared = prepare(schema, text)
    except GraphQLError as error:
        return error.message
    if not prepared.errors:
        return None
    named = [d.name.value for d in prepared.document.definitions if isinstance(d, OperationDefinitionNode) and d.name]
    return f"{', '.join(named) or 'unnamed'}: {' '.join(error.message for error in prepared.errors)}"
