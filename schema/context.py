"""What a resolver is given with each request."""

from dataclasses import dataclass
from typing import Annotated, TypeVar

import strawberry

from services.identity import Viewer
from services.runtime import Runtime


@dataclass
class Context:
    """One per request. `viewer` is signed in: a request without a good token never gets as far as a resolver."""

    rt: Runtime
    viewer: Viewer


Info = strawberry.Info[Context, None]

T = TypeVar("T")
Given = Annotated[T, strawberry.argument(description="What is asked.")]
"""The `input` argument of an operation."""


def given(value: T | None) -> T | None:
    """What the caller gave; an argument that was left out is None here (in the SDL it has no default)."""
    return None if value is strawberry.UNSET else value
