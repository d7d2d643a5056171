CREATE TABLE accounts (
    id           TEXT PRIMARY KEY,
    username     TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    verifier     TEXT NOT NULL,              -- PHC string; '!' lets nobody in
    verifier_rev BIGINT NOT NULL DEFAULT 0,  -- changes with the password, not with a rehash
    created_ms   BIGINT NOT NULL
);

CREATE TABLE sessions (
    id              TEXT PRIMARY KEY,
    account_id      TEXT NOT NULL REFERENCES accounts (id),
    device_id       TEXT NOT NULL,
    refresh_hash    TEXT NOT NULL,  -- of the present refresh proof
    previous_hash   TEXT NOT NULL,  -- of the one before, '' before the first rotation
    rotated_ms      BIGINT NOT NULL,
    created_ms      BIGINT NOT NULL,
    used_ms         BIGINT NOT NULL,
    access_until_ms BIGINT NOT NULL, -- when the last access proof given out ends by itself
    UNIQUE (account_id, device_id)
);

CREATE INDEX sessions_used ON sessions (used_ms);
CREATE INDEX sessions_created ON sessions (created_ms);

CREATE TABLE revocation_counter (
    one  BIGINT PRIMARY KEY,
    last BIGINT NOT NULL
);

INSERT INTO revocation_counter (one, last) VALUES (1, 0);

CREATE TABLE revocations (
    pos        BIGINT PRIMARY KEY,
    session_id TEXT NOT NULL,
    until_ms   BIGINT NOT NULL
);

CREATE INDEX revocations_until ON revocations (until_ms);

CREATE TABLE tickets (
    hash       TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_ms BIGINT NOT NULL
);

CREATE INDEX tickets_session ON tickets (session_id);
CREATE INDEX tickets_expires ON tickets (expires_ms);

CREATE TABLE login_failures (
    name_mac   TEXT PRIMARY KEY,   -- keyed hash: what was typed may be anything
    failures   BIGINT NOT NULL,
    blocked_ms BIGINT NOT NULL,    -- refused until then
    forget_ms  BIGINT NOT NULL     -- counted anew from then on
);

CREATE INDEX login_failures_forget ON login_failures (forget_ms);

CREATE TABLE sealed_keys (
    name       TEXT PRIMARY KEY,
    purpose    TEXT NOT NULL,      -- 'sign' or 'derive'
    sealed     TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
