package messaging

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// messageColumns are the columns of a stored message, as they are inserted.
var messageColumns = []string{"pos", "no", "seq", "sender_id", "device_id", "device_hash", "client_msg_id", "body", "correlation_id", "created_at"}

const messageFields = `m.pos, m.no, c.id, m.seq, m.sender_id, m.device_id, m.client_msg_id, m.body, m.correlation_id, m.created_at`

const selectMessage = `SELECT ` + messageFields + ` FROM messages m JOIN conversations c ON c.no = m.no `

// scanner is a row that can be scanned.
type scanner interface{ Scan(dest ...any) error }

func scanMessage(s scanner) (r row, err error) {
	var correlation string
	var created int64
	err = s.Scan(&r.pos, &r.no, &r.conversation, &r.seq, &r.sender, &r.device, &r.clientMsgID, &r.body, &correlation, &created)
	r.correlation, r.created = obs.Correlation(correlation), time.UnixMilli(created)
	return r, err
}

func readMessages(ctx context.Context, tx *sqldb.Tx, query string, args ...any) ([]row, error) {
	return queryMessages(ctx, tx, selectMessage+query, args...)
}

func queryMessages(ctx context.Context, tx *sqldb.Tx, query string, args ...any) ([]row, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []row
	for rows.Next() {
		r, err := scanMessage(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// chunk is the largest IN list of one statement. Lists are padded to one of a
// few lengths, so that the statements can be prepared once.
const chunk = 64

// eachChunk calls fn with the values in lists of 1, 8 or 64, the last one
// padded by repeating its last value.
func eachChunk[T any](values []T, fn func(list []any) error) error {
	for len(values) > 0 {
		n := min(len(values), chunk)
		size := chunk
		switch {
		case n == 1:
			size = 1
		case n <= 8:
			size = 8
		}
		list := make([]any, size)
		for i := range list {
			list[i] = values[min(i, n-1)]
		}
		if err := fn(list); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

func readHeads(ctx context.Context, tx *sqldb.Tx, nos []int64, into map[int64]*head) error {
	return eachChunk(nos, func(list []any) error {
		rows, err := tx.Query(ctx, `SELECT no, last_seq, last_pos, members_version FROM heads WHERE no IN `+sqldb.In(len(list), 1)+` ORDER BY no`+tx.ForUpdate(), list...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var no int64
			h := new(head)
			if err := rows.Scan(&no, &h.lastSeq, &h.lastPos, &h.version); err != nil {
				return err
			}
			into[no] = h
		}
		return rows.Err()
	})
}

// deviceClient is the dedupe index's own idea of a message.
type deviceClient struct {
	clientMsgID string
	device      int64
}

// readByClient finds the stored messages among those that are asked for. It
// asks by the whole of the index: an identifier such as "1" alone may stand for
// a message of every device there is.
func readByClient(ctx context.Context, tx *sqldb.Tx, wanted []deviceClient) (map[clientKey]row, error) {
	found := map[clientKey]row{}
	err := eachChunk(wanted, func(list []any) error {
		args := make([]any, 0, 2*len(list))
		for _, w := range list {
			args = append(args, w.(deviceClient).clientMsgID, w.(deviceClient).device)
		}
		rows, err := queryMessages(ctx, tx, selectWanted(len(list)), args...)
		for _, r := range rows {
			found[r.client()] = r
		}
		return err
	})
	return found, err
}

// selectWanted is the query for n pairs of client_msg_id and device_hash. The
// casts tell PostgreSQL the types of the parameters.
func selectWanted(n int) string {
	var pairs strings.Builder
	for i := range n {
		if i > 0 {
			pairs.WriteByte(',')
		}
		fmt.Fprintf(&pairs, "(CAST($%d AS TEXT),CAST($%d AS BIGINT))", 2*i+1, 2*i+2)
	}
	return `WITH wanted (client_msg_id, device_hash) AS (VALUES ` + pairs.String() + `) SELECT ` + messageFields +
		` FROM wanted w JOIN messages m ON m.client_msg_id = w.client_msg_id AND m.device_hash = w.device_hash JOIN conversations c ON c.no = m.no`
}

func isMember(ctx context.Context, tx *sqldb.Tx, no int64, user string) (bool, error) {
	var one int
	err := tx.QueryRow(ctx, `SELECT 1 FROM members WHERE no = $1 AND user_id = $2`, no, user).Scan(&one)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// identity of the store: made at the first start.
type identity struct{ epoch, mask string }

func loadIdentity(ctx context.Context, db *sqldb.DB) (st identity, err error) {
	err = db.Write(ctx, "messaging.identity", func(ctx context.Context, tx *sqldb.Tx) error {
		var mask [32]byte
		_, _ = rand.Read(mask[:]) // never fails: see crypto/rand
		if mutant.NoDedupeIndex {
			_, _ = tx.Exec(ctx, `DROP INDEX IF EXISTS messages_client`) // what fails spoils the transaction
		}
		_, err := tx.Exec(ctx, `INSERT INTO store (id, epoch, mask) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING`, id.New(), hex.EncodeToString(mask[:]))
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT epoch, mask FROM store WHERE id = 1`).Scan(&st.epoch, &st.mask)
	})
	return st, err
}

// epochOf adds to the store's epoch which history of which server it is in, so
// that a database that went back to an earlier state is not taken for itself.
func epochOf(epoch, identity string) string {
	if identity == "" {
		return epoch
	}
	sum := sha256.Sum256([]byte(identity))
	return epoch + "-" + hex.EncodeToString(sum[:6])
}

// readLog reads committed messages by position, for the outbox: a message's row
// is its own outbox row.
func (s *Service) readLog(ctx context.Context, tx *sqldb.Tx, after, upTo int64, limit int) ([]bus.Envelope, error) {
	rows, err := readMessages(ctx, tx, `WHERE m.pos > $1 AND m.pos <= $2 ORDER BY m.pos LIMIT $3`, after, upTo, limit)
	if err != nil {
		return nil, err
	}
	out := make([]bus.Envelope, len(rows))
	for i := range rows {
		r := &rows[i]
		out[i] = s.envelope(r, appendMessageTail(nil, r), s.origins.of(r))
	}
	return out, nil
}
