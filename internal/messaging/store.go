package messaging

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// messageColumns are the columns of a stored message, as args and scans use them.
var messageColumns = []string{"pos", "conversation_id", "seq", "sender_id", "device_id", "client_msg_id", "body", "body_hash", "correlation_id", "created_at"}

const selectMessage = `SELECT pos, conversation_id, seq, sender_id, device_id, client_msg_id, body, body_hash, correlation_id, created_at FROM messages `

// scanner is a row that can be scanned.
type scanner interface{ Scan(dest ...any) error }

func scanMessage(s scanner) (r row, err error) {
	var correlation string
	var created int64
	err = s.Scan(&r.pos, &r.conversation, &r.seq, &r.sender, &r.device, &r.clientMsgID, &r.body, &r.hash, &correlation, &created)
	r.correlation, r.created = obs.Correlation(correlation), time.UnixMilli(created)
	return r, err
}

func readMessages(ctx context.Context, tx *sqldb.Tx, query string, args ...any) ([]row, error) {
	rows, err := tx.Query(ctx, selectMessage+query, args...)
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
func eachChunk(values []string, fn func(list []any) error) error {
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

func readHeads(ctx context.Context, tx *sqldb.Tx, ids []string, into map[string]*head) error {
	return eachChunk(ids, func(list []any) error {
		rows, err := tx.Query(ctx, `SELECT id, last_seq, last_pos, members_version FROM conversations WHERE id IN `+sqldb.In(len(list), 1), list...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var conversation string
			h := new(head)
			if err := rows.Scan(&conversation, &h.lastSeq, &h.lastPos, &h.version); err != nil {
				return err
			}
			into[conversation] = h
		}
		return rows.Err()
	})
}

func readByClient(ctx context.Context, tx *sqldb.Tx, clients []string) (map[clientKey]row, error) {
	found := map[clientKey]row{}
	err := eachChunk(clients, func(list []any) error {
		rows, err := readMessages(ctx, tx, `WHERE client_msg_id IN `+sqldb.In(len(list), 1), list...)
		for _, r := range rows {
			found[clientKey{r.clientMsgID, r.sender, r.device}] = r
		}
		return err
	})
	return found, err
}

func isMember(ctx context.Context, tx *sqldb.Tx, conversation, user string) (bool, error) {
	var one int
	err := tx.QueryRow(ctx, `SELECT 1 FROM members WHERE conversation_id = $1 AND user_id = $2`, conversation, user).Scan(&one)
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
		_, err := tx.Exec(ctx, `INSERT INTO store (id, epoch, mask) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING`, id.New(), hex.EncodeToString(mask[:]))
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT epoch, mask FROM store WHERE id = 1`).Scan(&st.epoch, &st.mask)
	})
	return st, err
}

// readLog reads committed messages by position, for the outbox: a message's row
// is its own outbox row.
func (s *Service) readLog(ctx context.Context, tx *sqldb.Tx, after, upTo int64, limit int) ([]bus.Envelope, error) {
	rows, err := readMessages(ctx, tx, `WHERE pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3`, after, upTo, limit)
	if err != nil {
		return nil, err
	}
	out := make([]bus.Envelope, len(rows))
	for i, r := range rows {
		out[i] = s.envelope(r, "")
	}
	return out, nil
}
