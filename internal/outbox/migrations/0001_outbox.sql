-- The commit order of this database: one row, one number.
CREATE TABLE positions (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    taken BIGINT  NOT NULL
);

INSERT INTO positions (id, taken) VALUES (1, 0);

-- Events that were committed with their cause and that not every sink has taken.
CREATE TABLE outbox (
    pos            BIGINT PRIMARY KEY,
    id             TEXT   NOT NULL,
    type           TEXT   NOT NULL,
    event_key      TEXT   NOT NULL,
    seq            BIGINT NOT NULL,
    at_ms          BIGINT NOT NULL,
    correlation_id TEXT   NOT NULL,
    origin         TEXT   NOT NULL,
    payload        BYTEA  NOT NULL
);

-- Up to where each sink has taken everything.
CREATE TABLE outbox_cursors (
    sink TEXT   PRIMARY KEY,
    pos  BIGINT NOT NULL
);

-- Events that this database has applied, so that a repeat changes nothing.
CREATE TABLE consumed (
    queue TEXT   NOT NULL,
    id    TEXT   NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (queue, id)
);

CREATE INDEX consumed_at ON consumed (at_ms);
