-- min_version: 2
-- An index of all (no, seq) is written at one place for each conversation that
-- takes part in a commit, and was half of what a commit writes. Now a message
-- has the position of the one before it in its conversation (of the first: no),
-- a head that of the last, and the index finds each 64th. A table of its own
-- name rather than a column more: a program that knows nothing of prev_pos
-- cannot write to it.
CREATE TABLE chained (
  pos            INTEGER NOT NULL,
  no             BIGINT NOT NULL,
  seq            BIGINT NOT NULL,
  prev_pos       BIGINT NOT NULL,
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
INSERT INTO chained (pos, no, seq, prev_pos, sender_id, device_id, device_hash, client_msg_id, body, body_hash, correlation_id, created_at)
  SELECT m.pos, m.no, m.seq, COALESCE((SELECT p.pos FROM messages p WHERE p.no = m.no AND p.seq = m.seq - 1), m.no),
    m.sender_id, m.device_id, m.device_hash, m.client_msg_id, m.body, m.body_hash, m.correlation_id, m.created_at
  FROM messages m ORDER BY m.pos;
DROP TABLE messages;
ALTER TABLE chained RENAME TO messages;
CREATE UNIQUE INDEX messages_client ON messages (client_msg_id, device_hash);
CREATE UNIQUE INDEX messages_seq ON messages (no, seq) WHERE seq % 64 = 0;
