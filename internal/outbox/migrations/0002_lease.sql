-- Which process relays the events of this database, and until when.
CREATE TABLE outbox_lease (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    owner    TEXT   NOT NULL,
    until_ms BIGINT NOT NULL
);
