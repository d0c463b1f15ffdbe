"""Sessions of provider components in the browser, and whether a linked account can be booked at all."""

STATEMENTS = (
    "ALTER TABLE linked_account ADD COLUMN bookable BOOLEAN NOT NULL DEFAULT true",
    """
    CREATE TABLE atoms_session (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        linked_account_id VARCHAR(26) NOT NULL,
        expires_at BIGINT NOT NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX atoms_session_linked_account_id ON atoms_session (linked_account_id)",
    "CREATE INDEX atoms_session_expires_at ON atoms_session (expires_at)",
    """
    CREATE TABLE handed_out_token (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        linked_account_id VARCHAR(26) NOT NULL,
        token_hash VARCHAR(64) NOT NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX handed_out_token_linked_account_id ON handed_out_token (linked_account_id)",
    "CREATE UNIQUE INDEX handed_out_token_token_hash ON handed_out_token (token_hash)",
    # the inbox takes its turns by account
    "CREATE INDEX webhook_event_state_linked_account_id_due_at ON webhook_event (state, linked_account_id, due_at)",
)


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001 - the runner's signature
    for statement in STATEMENTS:
        db.execute_sql(statement)
