"""Video meetings and recordings, schedules, drift, a token of the whole installation, revocations that are tried again."""

STATEMENTS = (
    "ALTER TABLE event_type ADD COLUMN creates_meeting BOOLEAN NOT NULL DEFAULT false",
    "ALTER TABLE event_type ADD COLUMN records_meeting BOOLEAN NOT NULL DEFAULT false",
    """
    CREATE TABLE installation_token (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        provider VARCHAR(20) NOT NULL,
        access_token TEXT,
        version INTEGER NOT NULL,
        received_at BIGINT,
        expires_at BIGINT
    )
    """,
    "CREATE UNIQUE INDEX installation_token_provider ON installation_token (provider)",
    """
    CREATE TABLE pending_revocation (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        provider VARCHAR(20) NOT NULL,
        token TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE schedule (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        linked_account_id VARCHAR(26) NOT NULL,
        provider VARCHAR(20) NOT NULL,
        external_id TEXT NOT NULL,
        name TEXT NOT NULL,
        time_zone TEXT NOT NULL,
        is_default BOOLEAN NOT NULL,
        weekly TEXT NOT NULL,
        overrides TEXT NOT NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX schedule_linked_account_id ON schedule (linked_account_id)",
    "CREATE UNIQUE INDEX schedule_linked_account_id_external_id ON schedule (linked_account_id, external_id)",
    """
    CREATE TABLE meeting (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        key VARCHAR(120) NOT NULL,
        provider VARCHAR(20) NOT NULL,
        linked_account_id VARCHAR(26),
        external_id TEXT,
        join_url TEXT,
        start BIGINT,
        asked_start BIGINT,
        minutes INTEGER NOT NULL,
        records BOOLEAN NOT NULL,
        adopted BOOLEAN NOT NULL,
        deleted BOOLEAN NOT NULL,
        sent_at BIGINT,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE SET NULL
    )
    """,
    "CREATE UNIQUE INDEX meeting_key ON meeting (key)",
    "CREATE INDEX meeting_linked_account_id ON meeting (linked_account_id)",
    "CREATE INDEX meeting_provider_external_id ON meeting (provider, external_id)",
    """
    CREATE TABLE recording (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        meeting_id VARCHAR(26) NOT NULL,
        session TEXT NOT NULL,
        external_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        url TEXT NOT NULL,
        start BIGINT NOT NULL,
        "end" BIGINT NOT NULL,
        FOREIGN KEY (meeting_id) REFERENCES meeting (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX recording_meeting_id ON recording (meeting_id)",
    "CREATE UNIQUE INDEX recording_meeting_id_external_id ON recording (meeting_id, external_id)",
    "ALTER TABLE booking ADD COLUMN occasion_id TEXT",
    "ALTER TABLE booking_external_id ADD COLUMN occasion_id TEXT",
    "CREATE INDEX bookingexternalid_provider_occasion_id ON booking_external_id (provider, occasion_id)",
    "ALTER TABLE booking ADD COLUMN has_conference BOOLEAN NOT NULL DEFAULT false",
    "ALTER TABLE booking ADD COLUMN meeting_id VARCHAR(26) REFERENCES meeting (id) ON DELETE SET NULL",
    "CREATE INDEX booking_provider_occasion_id ON booking (provider, occasion_id)",
    "CREATE INDEX booking_meeting_id ON booking (meeting_id)",
    """
    CREATE TABLE drift (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        provider VARCHAR(20) NOT NULL,
        linked_account_id VARCHAR(26),
        booking_id VARCHAR(26),
        kind VARCHAR(12) NOT NULL,
        detail TEXT NOT NULL,
        logical_key VARCHAR(64) NOT NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE CASCADE,
        FOREIGN KEY (booking_id) REFERENCES booking (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX drift_linked_account_id ON drift (linked_account_id)",
    "CREATE INDEX drift_booking_id ON drift (booking_id)",
    "CREATE UNIQUE INDEX drift_logical_key ON drift (logical_key)",
)


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001 - the runner's signature
    for statement in STATEMENTS:
        db.execute_sql(statement)
