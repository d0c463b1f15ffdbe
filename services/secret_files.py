"""Secrets as files: NAME_FILE=/run/secrets/name instead of NAME=value, as Docker and Kubernetes hand them out."""

from collections.abc import Iterable, Mapping
from pathlib import Path


def read(environ: Mapping[str, str], names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The environment with what the files of these names hold, and a sentence for each one that is wrong.

    Line ends at the end of a file do not count. An empty NAME_FILE is none.
    """
    resolved, problems = dict(environ), []
    for name in names:
        path = environ.get(f"{name}_FILE")
        if not path:
            continue
        if environ.get(name):
            problems.append(f"{name}_FILE is set, and {name} as well. Set one of them.")
            continue
        try:
            resolved[name] = Path(path).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            problems.append(f"{name}_FILE names {path}, which cannot be read: {reason}.")
    return resolved, problems
