"""Operations that make bookings, holds by person, policies, the e-mail outbox, preferences, live updates."""

COLUMNS = """
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
"""
# what an operation had until now, in this order
KEPT = (
    "id, created_at, updated_at, user_id, actor_id, booking_id, kind, state, phase, open, mutation, idempotency_key, input_hash, "
    "from_external_id, hold_start, hold_end, reason, warnings, outcome, sent_at, settled_at, due_at, lease_owner, lease_until, attempts"
)
ON_POSTGRESQL = (
    "ALTER TABLE operation ALTER COLUMN booking_id DROP NOT NULL",
    "ALTER TABLE operation ALTER COLUMN from_external_id DROP NOT NULL",
    "ALTER TABLE operation ADD COLUMN event_type_id VARCHAR(26) REFERENCES event_type (id) ON DELETE SET NULL",
    "ALTER TABLE operation ADD COLUMN linked_account_id VARCHAR(26) REFERENCES linked_account (id) ON DELETE SET NULL",
    "ALTER TABLE operation ADD COLUMN to_external_id TEXT",
    "ALTER TABLE operation ADD COLUMN wish TEXT",
    "ALTER TABLE operation ADD COLUMN checked TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE operation ADD COLUMN attended_at BIGINT",
)
# SQLite cannot let a column be null afterwards. What refers to the table would be emptied when it is dropped, so it is
# kept aside meanwhile.
ON_SQLITE = (
    "CREATE TABLE kept_aside AS SELECT id, operation_id FROM booking_change WHERE operation_id IS NOT NULL",
    f"""
    CREATE TABLE operation_new ({COLUMNS}
        user_id VARCHAR(26),
        actor_id VARCHAR(26) NOT NULL,
        booking_id VARCHAR(26),
        event_type_id VARCHAR(26),
        linked_account_id VARCHAR(26),
        kind VARCHAR(12) NOT NULL,
        state VARCHAR(16) NOT NULL,
        phase VARCHAR(8) NOT NULL,
        open BOOLEAN NOT NULL,
        mutation VARCHAR(40) NOT NULL,
        idempotency_key VARCHAR(200),
        input_hash VARCHAR(64) NOT NULL,
        from_external_id TEXT,
        to_external_id TEXT,
        wish TEXT,
        hold_start BIGINT,
        hold_end BIGINT,
        reason TEXT,
        warnings TEXT NOT NULL,
        checked TEXT NOT NULL DEFAULT '[]',
        outcome TEXT,
        sent_at BIGINT,
        settled_at BIGINT,
        due_at BIGINT,
        lease_owner VARCHAR(64),
        lease_until BIGINT,
        attempts INTEGER NOT NULL,
        attended_at BIGINT,
        FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE SET NULL,
        FOREIGN KEY (actor_id) REFERENCES person (id) ON DELETE RESTRICT,
        FOREIGN KEY (booking_id) REFERENCES booking (id) ON DELETE CASCADE,
        FOREIGN KEY (event_type_id) REFERENCES event_type (id) ON DELETE SET NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE SET NULL
    )
    """,
    f"INSERT INTO operation_new ({KEPT}) SELECT {KEPT} FROM operation",  # noqa: S608 - names of this file
    "DROP TABLE operation",
    "ALTER TABLE operation_new RENAME TO operation",
    "CREATE INDEX operation_user_id ON operation (user_id)",
    "CREATE INDEX operation_actor_id ON operation (actor_id)",
    "CREATE INDEX operation_booking_id ON operation (booking_id)",
    "CREATE UNIQUE INDEX operation_open ON operation (booking_id) WHERE open",
    "CREATE UNIQUE INDEX operation_idempotency ON operation (user_id, mutation, idempotency_key) WHERE idempotency_key IS NOT NULL",
    """
    UPDATE booking_change SET operation_id = (SELECT k.operation_id FROM kept_aside k WHERE k.id = booking_change.id)
    WHERE id IN (SELECT id FROM kept_aside)
    """,
    "DROP TABLE kept_aside",
)
STATEMENTS = (
    "CREATE INDEX operation_event_type_id ON operation (event_type_id)",
    "CREATE INDEX operation_linked_account_id ON operation (linked_account_id)",
    "CREATE INDEX operation_from_external_id ON operation (from_external_id)",
    "CREATE INDEX operation_to_external_id ON operation (to_external_id)",
    "CREATE INDEX operation_linked_account_id_sent_at ON operation (linked_account_id, sent_at)",
    f"""
    CREATE TABLE hold ({COLUMNS}
        operation_id VARCHAR(26) NOT NULL,
        person_id VARCHAR(26) NOT NULL,
        start BIGINT NOT NULL,
        "end" BIGINT NOT NULL,
        FOREIGN KEY (operation_id) REFERENCES operation (id) ON DELETE CASCADE,
        FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE RESTRICT
    )
    """,
    "CREATE INDEX hold_operation_id ON hold (operation_id)",
    "CREATE INDEX hold_person_id ON hold (person_id)",
    "CREATE UNIQUE INDEX hold_operation_id_person_id ON hold (operation_id, person_id)",
    "CREATE INDEX hold_person_id_start ON hold (person_id, start)",
    # what is under way while this is applied keeps its holds; every id is made of two, whose halves differ
    """
    INSERT INTO hold (id, created_at, updated_at, operation_id, person_id, start, "end")
    SELECT SUBSTR(o.id, 14, 13) || SUBSTR(p.person_id, 14, 13), o.created_at, o.updated_at, o.id, p.person_id, o.hold_start, o.hold_end
    FROM operation o JOIN participant p ON p.booking_id = o.booking_id
    WHERE o.open AND o.hold_start IS NOT NULL AND p.role IN ('COACH', 'MENTEE')
    """,
    "ALTER TABLE booking ADD COLUMN movable BOOLEAN NOT NULL DEFAULT true",
    "ALTER TABLE event_type ADD COLUMN questions TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE event_type ADD COLUMN buffer_before INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE event_type ADD COLUMN buffer_after INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE event_type ADD COLUMN notice_minutes INTEGER NOT NULL DEFAULT 0",
    # until they are read again nobody knows what is asked
    "UPDATE job_claim SET due_at = 0 WHERE kind = 'event_types'",
    "ALTER TABLE app_user ADD COLUMN chosen_time_zone TEXT",
    "ALTER TABLE app_user ADD COLUMN channels TEXT",
    "ALTER TABLE app_user ADD COLUMN reminders TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE notification ADD COLUMN in_app BOOLEAN NOT NULL DEFAULT true",
    "ALTER TABLE webhook_event ADD COLUMN attended_at BIGINT",
    "ALTER TABLE drift ADD COLUMN attended_at BIGINT",
    f"""
    CREATE TABLE delivery ({COLUMNS}
        notification_id VARCHAR(26) NOT NULL,
        channel VARCHAR(8) NOT NULL,
        address TEXT NOT NULL,
        message_id TEXT NOT NULL,
        calendar TEXT,
        state VARCHAR(8) NOT NULL,
        attempts INTEGER NOT NULL,
        due_at BIGINT NOT NULL,
        lease_owner VARCHAR(64),
        lease_until BIGINT,
        last_error TEXT,
        sent_at BIGINT,
        attended_at BIGINT,
        FOREIGN KEY (notification_id) REFERENCES notification (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX delivery_notification_id ON delivery (notification_id)",
    "CREATE UNIQUE INDEX delivery_message_id ON delivery (message_id)",
    "CREATE UNIQUE INDEX delivery_notification_id_channel ON delivery (notification_id, channel)",
    "CREATE INDEX delivery_state_due_at ON delivery (state, due_at)",
    f"""
    CREATE TABLE policy ({COLUMNS}
        host_id VARCHAR(26) NOT NULL,
        event_type_id VARCHAR(26),
        scope VARCHAR(26) NOT NULL,
        move_notice_minutes INTEGER,
        cancel_notice_minutes INTEGER,
        most_moves INTEGER,
        mentee_may_move BOOLEAN,
        mentee_may_cancel BOOLEAN,
        reason_required BOOLEAN,
        FOREIGN KEY (host_id) REFERENCES person (id) ON DELETE CASCADE,
        FOREIGN KEY (event_type_id) REFERENCES event_type (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX policy_host_id ON policy (host_id)",
    "CREATE INDEX policy_event_type_id ON policy (event_type_id)",
    "CREATE UNIQUE INDEX policy_host_id_scope ON policy (host_id, scope)",
    f"""
    CREATE TABLE live_change ({COLUMNS}
        person_id VARCHAR(26) NOT NULL,
        type VARCHAR(24) NOT NULL,
        object_id VARCHAR(80) NOT NULL,
        version INTEGER NOT NULL,
        FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX livechange_person_id ON live_change (person_id)",
    "CREATE INDEX livechange_created_at ON live_change (created_at)",
    "CREATE INDEX livechange_person_id_created_at ON live_change (person_id, created_at)",
    f"""
    CREATE TABLE live_ticket ({COLUMNS}
        user_id VARCHAR(26) NOT NULL,
        secret_hash VARCHAR(64) NOT NULL,
        expires_at BIGINT NOT NULL,
        session_ends_at BIGINT NOT NULL,
        used_at BIGINT,
        FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX liveticket_user_id ON live_ticket (user_id)",
    "CREATE UNIQUE INDEX liveticket_secret_hash ON live_ticket (secret_hash)",
)


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001 - the runner's signature
    sqlite = type(db).__name__.lower().find("sqlite") >= 0
    for statement in (*(ON_SQLITE if sqlite else ON_POSTGRESQL), *STATEMENTS):
        db.execute_sql(statement)
