-- One row. The epoch changes only when a backup is restored; the mask hides
-- positions inside message identifiers and signs cursors.
CREATE TABLE store (
  id     BIGINT PRIMARY KEY,
  epoch  TEXT NOT NULL,
  mask   TEXT NOT NULL
);

CREATE TABLE conversations (
  id              TEXT PRIMARY KEY,
  kind            TEXT NOT NULL,
  name            TEXT NOT NULL,
  direct_pair     TEXT,
  created_by      TEXT NOT NULL,
  created_at      BIGINT NOT NULL,
  last_seq        BIGINT NOT NULL,
  last_pos        BIGINT NOT NULL,
  members_version BIGINT NOT NULL
);
CREATE UNIQUE INDEX conversations_direct_pair ON conversations (direct_pair);

CREATE TABLE members (
  conversation_id TEXT NOT NULL,
  user_id         TEXT NOT NULL,
  role            TEXT NOT NULL,
  first_seq       BIGINT NOT NULL,
  read_seq        BIGINT NOT NULL,
  PRIMARY KEY (conversation_id, user_id)
);
CREATE INDEX members_user ON members (user_id, conversation_id);

-- Append-ordered by pos, the dense number in which messages were committed. The
-- message identifier is derived from pos and created_at, so it needs no column
-- and no index. The dedupe index starts with the client's identifier, because
-- time-ordered identifiers then keep its insertions close together.
CREATE TABLE messages (
  pos             INTEGER NOT NULL,
  conversation_id TEXT NOT NULL,
  seq             BIGINT NOT NULL,
  sender_id       TEXT NOT NULL,
  device_id       TEXT NOT NULL,
  client_msg_id   TEXT NOT NULL,
  body            TEXT NOT NULL,
  body_hash       BIGINT NOT NULL,
  correlation_id  TEXT NOT NULL,
  created_at      BIGINT NOT NULL,
  PRIMARY KEY (pos)
);
CREATE UNIQUE INDEX messages_seq ON messages (conversation_id, seq);
CREATE UNIQUE INDEX messages_client ON messages (client_msg_id, sender_id, device_id);

-- What a device has: the contiguous prefix of each conversation.
CREATE TABLE device_marks (
  user_id         TEXT NOT NULL,
  device_id       TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  acked_seq       BIGINT NOT NULL,
  PRIMARY KEY (user_id, device_id, conversation_id)
);

CREATE TABLE idempotency (
  user_id         TEXT NOT NULL,
  request_id      TEXT NOT NULL,
  request_hash    TEXT NOT NULL,
  conversation_id TEXT NOT NULL,
  created_at      BIGINT NOT NULL,
  PRIMARY KEY (user_id, request_id)
);
