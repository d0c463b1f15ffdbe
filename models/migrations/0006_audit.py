"""The audit trail and its chain; from where an operation was asked for; users who were erased."""

COLUMNS = """
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
"""
STATEMENTS = (
    f"""
    CREATE TABLE audit_entry ({COLUMNS}
        at BIGINT NOT NULL,
        actor_kind VARCHAR(10) NOT NULL,
        actor_id VARCHAR(26),
        owner_id VARCHAR(26),
        action VARCHAR(48) NOT NULL,
        subject_type VARCHAR(24) NOT NULL,
        subject_id VARCHAR(80),
        request_id VARCHAR(64),
        face VARCHAR(12) NOT NULL,
        personal TEXT,
        personal_digest VARCHAR(64) NOT NULL,
        erased_by VARCHAR(26),
        seq BIGINT,
        previous_hash VARCHAR(64),
        hash VARCHAR(64),
        mac VARCHAR(64) NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX auditentry_seq ON audit_entry (seq)",
    "CREATE INDEX auditentry_at_id ON audit_entry (at, id)",
    "CREATE INDEX auditentry_actor_id_at ON audit_entry (actor_id, at)",
    "CREATE INDEX auditentry_owner_id_at ON audit_entry (owner_id, at)",
    "CREATE INDEX auditentry_subject_id_at ON audit_entry (subject_id, at)",
    "CREATE INDEX auditentry_action_at ON audit_entry (action, at)",
    f"""
    CREATE TABLE audit_chain ({COLUMNS}
        seq BIGINT NOT NULL,
        hash VARCHAR(64) NOT NULL,
        anchor_seq BIGINT NOT NULL,
        anchor_hash VARCHAR(64) NOT NULL,
        mac VARCHAR(64) NOT NULL,
        key TEXT NOT NULL,
        logged_at BIGINT
    )
    """,
    "ALTER TABLE operation ADD COLUMN origin TEXT",
    "ALTER TABLE app_user ADD COLUMN erased_at BIGINT",
)


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001 - the runner's signature
    for statement in STATEMENTS:
        db.execute_sql(statement)
