"""What is written down of linked accounts: whose account it is and what it may do; never its tokens."""

from models import LinkedAccount
from services import audit
from services.runtime import Runtime

FACTS = ("provider", "kind", "external_id", "name", "email", "organization", "scopes", "problem_code")


def note(rt: Runtime, action: str, account: LinkedAccount | None, before: LinkedAccount | None) -> None:
    """A link was made, renewed or ended; inside the transaction that does it. One side may be missing."""
    row = account or before
    assert row is not None
    audit.record(rt, action, ("LinkedAccount", row.id), before=_facts(before), after=_facts(account), owner=row.user_id)


def _facts(account: LinkedAccount | None) -> dict[str, object] | None:
    if account is None or not account.connected:
        return None
    return {name: getattr(account, name) for name in FACTS}
