package messaging

import (
	"context"
	"errors"

	"github.com/nova-chat/nova/internal/sqldb"
)

// The messages of a conversation are a chain: each has the position of the one
// before it, and the head that of the last. An index of all sequences would be
// written at one place for each conversation of a commit; instead it holds each
// 64th message, and whoever wants a stretch begins at the next of these, or at the
// head, and goes back from there.

// milestone is the distance of the messages that the index messages_seq holds; the
// statements below and the migration say it in numbers.
const milestone = 64

// chain leads back from the first milestone at or after the sequence $2 of
// conversation $1, or from its head, to the sequence after $3. It begins up to 63
// messages too late, so $2 has to be asked for again, and its last position is
// nobody's if an earlier message is gone.
//
// It has no joins: PostgreSQL may plan one so that each step reads a whole table,
// if it plans while that is small, and keep to it while it grows.
const chain = `WITH RECURSIVE chain (pos, seq) AS (
SELECT COALESCE((SELECT s.pos FROM messages s WHERE s.no = $1 AND s.seq >= $2 AND s.seq % 64 = 0 ORDER BY s.seq LIMIT 1),
		(SELECT h.last_pos FROM heads h WHERE h.no = $1)),
	COALESCE((SELECT s.seq FROM messages s WHERE s.no = $1 AND s.seq >= $2 AND s.seq % 64 = 0 ORDER BY s.seq LIMIT 1),
		(SELECT h.last_seq FROM heads h WHERE h.no = $1))
UNION ALL
SELECT (SELECT m.prev_pos FROM messages m WHERE m.pos = chain.pos AND m.no = $1), chain.seq - 1
FROM chain WHERE chain.seq - 1 > $3 AND chain.pos IS NOT NULL) `

const inStretch = ` pos IS NOT NULL AND seq <= $2 AND seq > $3 `

const selectStretch = chain + `SELECT pos FROM chain WHERE` + inStretch + `ORDER BY seq`

// readStretch reads the messages of a conversation with after < seq <= upTo, in
// their order. It never leaves the conversation, whatever the rows say.
func readStretch(ctx context.Context, tx *sqldb.Tx, no, after, upTo int64) ([]row, error) {
	if upTo <= after {
		return nil, nil
	}
	at, err := readPositions(ctx, tx, no, after, upTo)
	if err != nil {
		return nil, err
	}
	all := make([]row, 0, len(at))
	err = eachChunk(at, func(list []any) error {
		rows, err := readMessages(ctx, tx, selectPositions[len(list)], append([]any{no}, list...)...)
		all = append(all, rows...)
		return err
	})
	return all, err
}

var selectPositions = eachLength(func(n int) string {
	return `WHERE m.no = $1 AND m.pos IN ` + sqldb.In(n, 2) + ` ORDER BY m.pos`
})

// readPositions lists where the messages with after < seq <= upTo are, in their order.
func readPositions(ctx context.Context, tx *sqldb.Tx, no, after, upTo int64) (at []int64, err error) {
	rows, err := tx.Query(ctx, selectStretch, no, upTo, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var pos int64
		if err := rows.Scan(&pos); err != nil {
			return nil, err
		}
		at = append(at, pos)
	}
	return at, rows.Err()
}

const selectSenders = chain + `SELECT seq, sender_id FROM (
	SELECT seq, (SELECT m.sender_id FROM messages m WHERE m.pos = chain.pos AND m.no = $1) AS sender_id FROM chain WHERE` + inStretch + `
) AS senders WHERE sender_id IS NOT NULL`

// readSenders adds who sent the messages with after < seq <= upTo.
func readSenders(ctx context.Context, tx *sqldb.Tx, no, after, upTo int64, senders map[int64]string) error {
	rows, err := tx.Query(ctx, selectSenders, no, upTo, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var sender string
		if err := rows.Scan(&seq, &sender); err != nil {
			return err
		}
		senders[seq] = sender
	}
	return rows.Err()
}

// selectUnread takes one look at each message: what it finds is negative if that was
// the reader's own, and is counted in the next step. The first step counts one for
// the head.
const selectUnread = `WITH RECURSIVE unread (pos, seq, n) AS (
SELECT h.last_pos, h.last_seq, CAST(-1 AS BIGINT) FROM heads h WHERE h.no = $1
UNION ALL
SELECT (SELECT CASE WHEN m.sender_id = $2 THEN -m.prev_pos ELSE m.prev_pos END FROM messages m WHERE m.pos = ABS(unread.pos) AND m.no = $1), unread.seq - 1,
	unread.n + CASE WHEN unread.pos > 0 THEN 1 ELSE 0 END
FROM unread WHERE unread.seq >= $3 AND unread.n < $4 AND unread.pos IS NOT NULL)
SELECT MAX(n) FROM unread`

// countUnread counts what others than the reader sent after a sequence, the newest
// first, up to most.
func countUnread(ctx context.Context, tx *sqldb.Tx, no int64, reader string, after, most int64) (n int64, err error) {
	err = tx.QueryRow(ctx, selectUnread, no, reader, after, most).Scan(&n)
	return max(n, 0), err // no step, no count
}

const selectSeqAt = chain + `SELECT COALESCE(MAX(seq), $3) FROM chain WHERE` + inStretch + `AND pos <= $4`

// seqAt is the greatest sequence of the conversation at or below a position.
// Within a conversation pos and seq rise together.
func seqAt(ctx context.Context, tx *sqldb.Tx, st stand, pos int64) (int64, error) {
	low, high := st.firstSeq, st.lastSeq // the answer is in [low, high)
	for {
		middle := (low/milestone + high/milestone + 1) / 2 * milestone // between the two, if one of the index is
		if middle <= low || middle >= high {
			break
		}
		var at int64
		err := tx.QueryRow(ctx, `SELECT pos FROM messages WHERE no = $1 AND seq = $2 AND seq % 64 = 0`, st.no, middle).Scan(&at)
		if err != nil && !errors.Is(err, sqldb.ErrNoRows) {
			return 0, err
		}
		if err != nil || at <= pos { // a missing row is older than retention
			low = middle
		} else {
			high = middle
		}
	}
	if high <= low+1 {
		return low, nil
	}
	err := tx.QueryRow(ctx, selectSeqAt, st.no, high-1, low, pos).Scan(&low)
	return low, err
}
