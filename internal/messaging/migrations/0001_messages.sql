-- One row. The epoch changes only when a backup is restored; the mask hides
-- positions inside message identifiers and signs cursors.
CREATE TABLE store (
  id     BIGINT PRIMARY KEY,
  epoch  TEXT NOT NULL,
  mask   TEXT NOT NULL
);

-- no is the position of the event that announced the conversation: a short
-- number for the tables below, where the identifier would be most of a row.
CREATE TABLE conversations (
  no          INTEGER NOT NULL,
  id          TEXT NOT NULL,
  kind        TEXT NOT NULL,
  name        TEXT NOT NULL,
  direct_pair TEXT,
  created_by  TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  PRIMARY KEY (no)
);
CREATE UNIQUE INDEX conversations_id ON conversations (id);
CREATE UNIQUE INDEX conversations_direct_pair ON conversations (direct_pair);

-- Where a conversation stands. Every message moves its head, so the heads are
-- apart from the rest and small: many share a page.
CREATE TABLE heads (
  no              INTEGER NOT NULL,
  last_seq        BIGINT NOT NULL,
  last_pos        BIGINT NOT NULL,
  members_version BIGINT NOT NULL,
  PRIMARY KEY (no)
);

CREATE TABLE members (
  no        BIGINT NOT NULL,
  user_id   TEXT NOT NULL,
  role      TEXT NOT NULL,
  first_seq BIGINT NOT NULL,
  read_seq  BIGINT NOT NULL,
  PRIMARY KEY (no, user_id)
);
CREATE INDEX members_user ON members (user_id, no);

-- Append-ordered by pos, the dense number in which messages were committed. The
-- message identifier is derived from pos and created_at, so it needs no column
-- and no index. The dedupe index starts with the client's identifier, because
-- time-ordered identifiers then keep its insertions close together; device_hash
-- stands for (sender_id, device_id), which are compared when it matches.
CREATE TABLE messages (
  pos            INTEGER NOT NULL,
  no             BIGINT NOT NULL,
  seq            BIGINT NOT NULL,
  sender_id      TEXT NOT NULL,
  device_id      TEXT NOT NULL,
  device_hash    BIGINT NOT NULL,
  client_msg_id  TEXT NOT NULL,
  body           TEXT NOT NULL,
  body_hash      BIGINT, -- once the body is gone, what is left to compare a repeat with
  correlation_id TEXT NOT NULL,
  created_at     BIGINT NOT NULL,
  PRIMARY KEY (pos)
);
CREATE UNIQUE INDEX messages_seq ON messages (no, seq);
CREATE UNIQUE INDEX messages_client ON messages (client_msg_id, device_hash);

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
