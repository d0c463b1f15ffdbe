"""Indexes for what the metrics count (services/figures.py), so that they need not read whole tables."""

STATEMENTS = (
    "CREATE INDEX operation_attention ON operation (settled_at) WHERE state = 'NEEDS_ATTENTION' AND attended_at IS NULL",
    "CREATE INDEX linked_account_problems ON linked_account (provider, problem_code) WHERE connected",
)


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001 - the runner's signature
    for statement in STATEMENTS:
        db.execute_sql(statement)
