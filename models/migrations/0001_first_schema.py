"""The first schema. Statements that SQLite and PostgreSQL both understand; the one reserved word is quoted."""

STATEMENTS = (
    """
    CREATE TABLE person (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        name TEXT NOT NULL,
        time_zone TEXT,
        merged_into_id VARCHAR(26),
        FOREIGN KEY (merged_into_id) REFERENCES person (id) ON DELETE RESTRICT
    )
    """,
    """
    CREATE INDEX person_merged_into_id ON person (merged_into_id)
    """,
    """
    CREATE TABLE person_identity (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        kind VARCHAR(20) NOT NULL,
        value TEXT NOT NULL,
        person_id VARCHAR(26) NOT NULL,
        FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX person_identity_person_id ON person_identity (person_id)
    """,
    """
    CREATE UNIQUE INDEX person_identity_kind_value ON person_identity (kind, value)
    """,
    """
    CREATE TABLE app_user (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        subject TEXT NOT NULL,
        person_id VARCHAR(26) NOT NULL,
        email TEXT,
        name TEXT NOT NULL,
        time_zone TEXT,
        is_admin BOOLEAN NOT NULL,
        last_seen_at BIGINT,
        FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE RESTRICT
    )
    """,
    """
    CREATE UNIQUE INDEX app_user_subject ON app_user (subject)
    """,
    """
    CREATE UNIQUE INDEX app_user_person_id ON app_user (person_id)
    """,
    """
    CREATE TABLE linked_account (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        user_id VARCHAR(26) NOT NULL,
        provider VARCHAR(20) NOT NULL,
        kind VARCHAR(20) NOT NULL,
        connected BOOLEAN NOT NULL,
        linked_at BIGINT NOT NULL,
        external_id TEXT NOT NULL,
        name TEXT,
        email TEXT,
        username TEXT,
        scheduling_url TEXT,
        organization TEXT,
        time_zone TEXT,
        scopes TEXT NOT NULL,
        access_token TEXT,
        refresh_token TEXT,
        token_version INTEGER NOT NULL,
        tokens_received_at BIGINT,
        access_expires_at BIGINT,
        last_refreshed_at BIGINT,
        last_used_at BIGINT,
        failed_refresh_count INTEGER NOT NULL,
        problem_code VARCHAR(30),
        missing_scopes TEXT NOT NULL,
        retry_at BIGINT,
        last_synced_at BIGINT,
        calendar_changed_at BIGINT,
        last_sync_error TEXT,
        FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX linked_account_user_id ON linked_account (user_id)
    """,
    """
    CREATE UNIQUE INDEX linked_account_user_id_provider ON linked_account (user_id, provider)
    """,
    """
    CREATE UNIQUE INDEX linked_account_upstream ON linked_account (provider, external_id) WHERE connected
    """,
    """
    CREATE TABLE oauth_state (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        state_hash VARCHAR(64) NOT NULL,
        user_id VARCHAR(26) NOT NULL,
        provider VARCHAR(20) NOT NULL,
        verifier TEXT NOT NULL,
        code TEXT,
        scopes TEXT NOT NULL,
        return_to TEXT,
        switch_account BOOLEAN NOT NULL,
        status VARCHAR(12) NOT NULL,
        error TEXT,
        expires_at BIGINT NOT NULL,
        FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE UNIQUE INDEX oauth_state_state_hash ON oauth_state (state_hash)
    """,
    """
    CREATE INDEX oauth_state_user_id ON oauth_state (user_id)
    """,
    """
    CREATE INDEX oauth_state_expires_at ON oauth_state (expires_at)
    """,
    """
    CREATE TABLE token_rotation (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        linked_account_id VARCHAR(26) NOT NULL,
        from_version INTEGER NOT NULL,
        owner VARCHAR(64) NOT NULL,
        attempt INTEGER NOT NULL,
        deadline BIGINT NOT NULL,
        state VARCHAR(12) NOT NULL,
        last_error TEXT,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX token_rotation_linked_account_id ON token_rotation (linked_account_id)
    """,
    """
    CREATE UNIQUE INDEX token_rotation_linked_account_id_from_version ON token_rotation (linked_account_id, from_version)
    """,
    """
    CREATE TABLE event_type (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        linked_account_id VARCHAR(26),
        host_id VARCHAR(26) NOT NULL,
        provider VARCHAR(20) NOT NULL,
        external_id TEXT NOT NULL,
        title TEXT NOT NULL,
        slug TEXT,
        description TEXT,
        duration_minutes INTEGER NOT NULL,
        duration_options TEXT NOT NULL,
        active BOOLEAN NOT NULL,
        hidden BOOLEAN NOT NULL,
        requires_confirmation BOOLEAN NOT NULL,
        is_group BOOLEAN NOT NULL,
        scheduling_url TEXT,
        is_default BOOLEAN NOT NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE SET NULL,
        FOREIGN KEY (host_id) REFERENCES person (id) ON DELETE RESTRICT
    )
    """,
    """
    CREATE INDEX event_type_linked_account_id ON event_type (linked_account_id)
    """,
    """
    CREATE INDEX event_type_host_id ON event_type (host_id)
    """,
    """
    CREATE UNIQUE INDEX event_type_provider_external_id ON event_type (provider, external_id)
    """,
    """
    CREATE INDEX event_type_host_id_active ON event_type (host_id, active)
    """,
    """
    CREATE TABLE booking (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        provider VARCHAR(20) NOT NULL,
        external_id TEXT NOT NULL,
        linked_account_id VARCHAR(26),
        event_type_id VARCHAR(26),
        event_type_external_id TEXT,
        version INTEGER NOT NULL,
        title TEXT NOT NULL,
        status VARCHAR(12) NOT NULL,
        start BIGINT NOT NULL,
        "end" BIGINT NOT NULL,
        is_group BOOLEAN NOT NULL,
        location TEXT,
        meeting_url TEXT,
        answers TEXT,
        cancellation_reason TEXT,
        remote_updated_at BIGINT NOT NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE SET NULL,
        FOREIGN KEY (event_type_id) REFERENCES event_type (id) ON DELETE SET NULL
    )
    """,
    """
    CREATE INDEX booking_linked_account_id ON booking (linked_account_id)
    """,
    """
    CREATE INDEX booking_event_type_id ON booking (event_type_id)
    """,
    """
    CREATE UNIQUE INDEX booking_provider_external_id ON booking (provider, external_id)
    """,
    """
    CREATE INDEX booking_start_id ON booking (start, id)
    """,
    """
    CREATE TABLE booking_external_id (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        booking_id VARCHAR(26) NOT NULL,
        provider VARCHAR(20) NOT NULL,
        external_id TEXT NOT NULL,
        FOREIGN KEY (booking_id) REFERENCES booking (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX booking_external_id_booking_id ON booking_external_id (booking_id)
    """,
    """
    CREATE UNIQUE INDEX booking_external_id_provider_external_id ON booking_external_id (provider, external_id)
    """,
    """
    CREATE TABLE participant (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        booking_id VARCHAR(26) NOT NULL,
        person_id VARCHAR(26) NOT NULL,
        role VARCHAR(8) NOT NULL,
        name TEXT NOT NULL,
        email TEXT,
        time_zone TEXT,
        no_show BOOLEAN NOT NULL,
        FOREIGN KEY (booking_id) REFERENCES booking (id) ON DELETE CASCADE,
        FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE RESTRICT
    )
    """,
    """
    CREATE INDEX participant_booking_id ON participant (booking_id)
    """,
    """
    CREATE INDEX participant_person_id ON participant (person_id)
    """,
    """
    CREATE UNIQUE INDEX participant_booking_id_person_id ON participant (booking_id, person_id)
    """,
    """
    CREATE INDEX participant_person_id_booking_id ON participant (person_id, booking_id)
    """,
    """
    CREATE TABLE operation (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        user_id VARCHAR(26),
        actor_id VARCHAR(26) NOT NULL,
        booking_id VARCHAR(26) NOT NULL,
        kind VARCHAR(12) NOT NULL,
        state VARCHAR(16) NOT NULL,
        phase VARCHAR(8) NOT NULL,
        open BOOLEAN NOT NULL,
        mutation VARCHAR(40) NOT NULL,
        idempotency_key VARCHAR(200),
        input_hash VARCHAR(64) NOT NULL,
        from_external_id TEXT NOT NULL,
        hold_start BIGINT,
        hold_end BIGINT,
        reason TEXT,
        warnings TEXT NOT NULL,
        outcome TEXT,
        sent_at BIGINT,
        settled_at BIGINT,
        due_at BIGINT,
        lease_owner VARCHAR(64),
        lease_until BIGINT,
        attempts INTEGER NOT NULL,
        FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE SET NULL,
        FOREIGN KEY (actor_id) REFERENCES person (id) ON DELETE RESTRICT,
        FOREIGN KEY (booking_id) REFERENCES booking (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX operation_user_id ON operation (user_id)
    """,
    """
    CREATE INDEX operation_actor_id ON operation (actor_id)
    """,
    """
    CREATE INDEX operation_booking_id ON operation (booking_id)
    """,
    """
    CREATE UNIQUE INDEX operation_open ON operation (booking_id) WHERE open
    """,
    """
    CREATE UNIQUE INDEX operation_idempotency ON operation (user_id, mutation, idempotency_key) WHERE idempotency_key IS NOT NULL
    """,
    """
    CREATE TABLE booking_change (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        booking_id VARCHAR(26) NOT NULL,
        logical_key VARCHAR(64) NOT NULL,
        kind VARCHAR(16) NOT NULL,
        at BIGINT NOT NULL,
        actor_id VARCHAR(26),
        by TEXT,
        source VARCHAR(12) NOT NULL,
        previous_start BIGINT,
        previous_end BIGINT,
        new_start BIGINT,
        reason TEXT,
        operation_id VARCHAR(26),
        FOREIGN KEY (booking_id) REFERENCES booking (id) ON DELETE CASCADE,
        FOREIGN KEY (actor_id) REFERENCES person (id) ON DELETE SET NULL,
        FOREIGN KEY (operation_id) REFERENCES operation (id) ON DELETE SET NULL
    )
    """,
    """
    CREATE INDEX booking_change_booking_id ON booking_change (booking_id)
    """,
    """
    CREATE UNIQUE INDEX booking_change_logical_key ON booking_change (logical_key)
    """,
    """
    CREATE INDEX booking_change_actor_id ON booking_change (actor_id)
    """,
    """
    CREATE INDEX booking_change_operation_id ON booking_change (operation_id)
    """,
    """
    CREATE INDEX booking_change_booking_id_at_id ON booking_change (booking_id, at, id)
    """,
    """
    CREATE TABLE availability_cache (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        linked_account_id VARCHAR(26) NOT NULL,
        subject VARCHAR(120) NOT NULL,
        day VARCHAR(10) NOT NULL,
        starts TEXT NOT NULL,
        as_of BIGINT NOT NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX availability_cache_linked_account_id ON availability_cache (linked_account_id)
    """,
    """
    CREATE UNIQUE INDEX availability_cache_linked_account_id_subject_day ON availability_cache (linked_account_id, subject, day)
    """,
    """
    CREATE INDEX availability_cache_as_of ON availability_cache (as_of)
    """,
    """
    CREATE TABLE webhook_subscription (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        linked_account_id VARCHAR(26) NOT NULL,
        provider VARCHAR(20) NOT NULL,
        endpoint VARCHAR(64) NOT NULL,
        secret TEXT NOT NULL,
        url TEXT NOT NULL,
        external_id TEXT,
        state VARCHAR(12) NOT NULL,
        last_received_at BIGINT,
        last_error TEXT,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE UNIQUE INDEX webhook_subscription_linked_account_id ON webhook_subscription (linked_account_id)
    """,
    """
    CREATE UNIQUE INDEX webhook_subscription_endpoint ON webhook_subscription (endpoint)
    """,
    """
    CREATE TABLE webhook_event (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        provider VARCHAR(20) NOT NULL,
        subscription_id VARCHAR(26),
        linked_account_id VARCHAR(26),
        delivery_key VARCHAR(64) NOT NULL,
        kind VARCHAR(60) NOT NULL,
        body TEXT,
        received_at BIGINT NOT NULL,
        state VARCHAR(10) NOT NULL,
        attempts INTEGER NOT NULL,
        due_at BIGINT NOT NULL,
        lease_owner VARCHAR(64),
        lease_until BIGINT,
        last_error TEXT,
        applied_at BIGINT,
        booking_id VARCHAR(26),
        FOREIGN KEY (subscription_id) REFERENCES webhook_subscription (id) ON DELETE SET NULL,
        FOREIGN KEY (linked_account_id) REFERENCES linked_account (id) ON DELETE SET NULL,
        FOREIGN KEY (booking_id) REFERENCES booking (id) ON DELETE SET NULL
    )
    """,
    """
    CREATE INDEX webhook_event_subscription_id ON webhook_event (subscription_id)
    """,
    """
    CREATE INDEX webhook_event_linked_account_id ON webhook_event (linked_account_id)
    """,
    """
    CREATE UNIQUE INDEX webhook_event_delivery_key ON webhook_event (delivery_key)
    """,
    """
    CREATE INDEX webhook_event_booking_id ON webhook_event (booking_id)
    """,
    """
    CREATE INDEX webhook_event_state_due_at ON webhook_event (state, due_at)
    """,
    """
    CREATE INDEX webhook_event_received_at_id ON webhook_event (received_at, id)
    """,
    """
    CREATE TABLE notification (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        person_id VARCHAR(26) NOT NULL,
        booking_id VARCHAR(26),
        logical_key VARCHAR(64) NOT NULL,
        kind VARCHAR(24) NOT NULL,
        title TEXT NOT NULL,
        body TEXT NOT NULL,
        previous_start BIGINT,
        new_start BIGINT,
        by TEXT,
        read_at BIGINT,
        FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE CASCADE,
        FOREIGN KEY (booking_id) REFERENCES booking (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX notification_person_id ON notification (person_id)
    """,
    """
    CREATE INDEX notification_booking_id ON notification (booking_id)
    """,
    """
    CREATE UNIQUE INDEX notification_person_id_logical_key ON notification (person_id, logical_key)
    """,
    """
    CREATE INDEX notification_person_id_created_at_id ON notification (person_id, created_at, id)
    """,
    """
    CREATE TABLE job_claim (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        kind VARCHAR(30) NOT NULL,
        key VARCHAR(60) NOT NULL,
        due_at BIGINT NOT NULL,
        lease_owner VARCHAR(64),
        lease_until BIGINT,
        attempts INTEGER NOT NULL,
        last_error TEXT
    )
    """,
    """
    CREATE UNIQUE INDEX job_claim_kind_key ON job_claim (kind, key)
    """,
    """
    CREATE INDEX job_claim_due_at ON job_claim (due_at)
    """,
    """
    CREATE TABLE rate_bucket (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        key VARCHAR(80) NOT NULL,
        remaining INTEGER NOT NULL,
        reset_at BIGINT NOT NULL
    )
    """,
    """
    CREATE UNIQUE INDEX rate_bucket_key ON rate_bucket (key)
    """,
    """
    CREATE TABLE provider_health (
        id VARCHAR(26) NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        provider VARCHAR(20) NOT NULL,
        down_since BIGINT,
        retry_at BIGINT,
        last_error TEXT
    )
    """,
    """
    CREATE UNIQUE INDEX provider_health_provider ON provider_health (provider)
    """,
)


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001 - the runner's signature
    for statement in STATEMENTS:
        db.execute_sql(statement)
