"""What a resolver is given with each request."""

from dataclasses import dataclass

import strawberry

from services.identity import Viewer
from services.runtime import Runtime


@dataclass
class Context:
    """One per request. `viewer` is signed in: a request without a good token never gets as far as a resolver."""

    rt: Runtime
    viewer: Viewer


Info = strawberry.Info[Context, None]
