package messaging

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/mutant"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// messageColumns are the columns of a stored message, as they are inserted.
var messageColumns = []string{"pos", "no", "seq", "prev_pos", "sender_id", "device_id", "device_hash", "client_msg_id", "body", "correlation_id", "created_at"}

const messageFields = `m.pos, m.no, (SELECT c.id FROM conversations c WHERE c.no = m.no), m.seq, m.sender_id, m.device_id, m.client_msg_id, m.body, m.correlation_id, m.created_at`

const selectMessage = `SELECT ` + messageFields + ` FROM messages m `

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

// lengths are those of lists, which are padded, so that their statements can be
// prepared once.
var lengths = [...]int{1, 8, 32, 128}

// eachChunk calls fn with the values in such lists, the last one padded by
// repeating its last value.
func eachChunk[T any](values []T, fn func(list []any) error) error {
	for len(values) > 0 {
		size := lengths[len(lengths)-1]
		n := min(len(values), size)
		for _, l := range slices.Backward(lengths[:]) {
			if l >= n {
				size = l
			}
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

// eachLength makes the text of a statement for each length of a list.
func eachLength(text func(n int) string) map[int]string {
	all := map[int]string{}
	for _, n := range lengths {
		all[n] = text(n)
	}
	return all
}

var selectHeads = eachLength(func(n int) string {
	return `SELECT no, last_seq, last_pos, members_version FROM heads WHERE no IN ` + sqldb.In(n, 1) + ` ORDER BY no`
})

func readHeads(ctx context.Context, tx *sqldb.Tx, nos []int64, into map[int64]*head) error {
	return eachChunk(nos, func(list []any) error {
		rows, err := tx.Query(ctx, selectHeads[len(list)], list...)
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
			h.hadSeq = h.lastSeq
			into[no] = h
		}
		return rows.Err()
	})
}

const selectLastSeq = `SELECT last_seq FROM heads WHERE no = $1`

// writeHeads moves the ends of conversations: of each no, the last_seq that it had,
// and its last_seq and last_pos from now on.
func writeHeads(tx *sqldb.Tx, moved []any, missed func()) error {
	return tx.UpdateLater("heads", "no", []string{"last_seq", "last_pos"}, moved, missed)
}

// deviceClient is the dedupe index's own idea of a message.
type deviceClient struct {
	clientMsgID string
	device      int64
}

// readByClient finds the stored messages among those that are asked for. It
// asks by the whole of the index: an identifier such as "1" alone may stand for
// a message of every device there is.
func readByClient(ctx context.Context, tx *sqldb.Tx, wanted []deviceClient) (map[clientKey]*row, error) {
	found := map[clientKey]*row{}
	err := eachChunk(wanted, func(list []any) error {
		args := make([]any, 0, 2*len(list))
		for _, w := range list {
			args = append(args, w.(deviceClient).clientMsgID, w.(deviceClient).device)
		}
		rows, err := queryMessages(ctx, tx, selectWanted[len(list)], args...)
		for i := range rows {
			found[rows[i].client()] = &rows[i]
		}
		return err
	})
	return found, err
}

// selectWanted asks for pairs of client_msg_id and device_hash.
var selectWanted = eachLength(func(n int) string {
	return `WITH wanted (client_msg_id, device_hash) AS (` + values(n, "TEXT", "BIGINT") + `) SELECT ` + messageFields +
		` FROM wanted w JOIN messages m ON m.client_msg_id = w.client_msg_id AND m.device_hash = w.device_hash`
})

// values is a list of n rows of parameters. The casts tell PostgreSQL their types.
func values(n int, types ...string) string {
	var rows strings.Builder
	rows.WriteString("VALUES ")
	for i := range n * len(types) {
		switch {
		case i == 0:
			rows.WriteByte('(')
		case i%len(types) == 0:
			rows.WriteString("), (")
		default:
			rows.WriteString(", ")
		}
		fmt.Fprintf(&rows, "CAST($%d AS %s)", i+1, types[i%len(types)])
	}
	rows.WriteByte(')')
	return rows.String()
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
