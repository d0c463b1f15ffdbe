"""Which sealing keys are in use, and the secret that a webhook subscription had before."""

STATEMENTS = (
    """
    CREATE TABLE sealing_key (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        key_id TEXT NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX sealingkey_key_id ON sealing_key (key_id)",
    "ALTER TABLE webhook_subscription ADD COLUMN previous_secret TEXT",
    "ALTER TABLE webhook_subscription ADD COLUMN secret_told_at BIGINT",
)


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001 - the runner's signature
    for statement in STATEMENTS:
        db.execute_sql(statement)
