package outbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

const (
	sqlTaken   = `SELECT taken FROM positions WHERE id = 1`
	sqlBacklog = `SELECT pos, id, type, event_key, seq, at_ms, correlation_id, origin, payload
FROM outbox WHERE pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3`
)

// committed reads the highest position of the database. Commits are serial, so
// whatever is at or below it and not there will never come.
func (ob *Outbox) committed(ctx context.Context) (last int64, err error) {
	err = ob.db.Read(ctx, "outbox.position", func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.QueryRow(ctx, sqlTaken).Scan(&last)
	})
	return last, err
}

// backlog reads the events after a position, rows and derived ones merged. There
// is nothing else up to upTo; more says that there are events after it.
func (ob *Outbox) backlog(ctx context.Context, after int64, wanted []string) (batch []bus.Envelope, upTo int64, more bool, err error) {
	var taken int64
	err = ob.db.Read(ctx, "outbox.backlog", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if err := tx.QueryRow(ctx, sqlTaken).Scan(&taken); err != nil {
			return fmt.Errorf("read the last position: %w", err)
		}
		upTo = taken
		if batch, err = rows(ctx, tx, after, upTo); err != nil {
			return err
		}
		batch, upTo = whole(batch, upTo)
		d := ob.cfg.Derived
		if d == nil || !overlap(d.Types, wanted) {
			return nil
		}
		derived, err := d.Read(ctx, tx, after, upTo, batchSize)
		if err != nil {
			return fmt.Errorf("read derived events: %w", err)
		}
		batch, upTo = merge(batch, derived, upTo)
		return nil
	})
	return batch, upTo, upTo < taken, err
}

// whole says up to where a list that may have hit the limit is complete.
func whole(list []bus.Envelope, upTo int64) ([]bus.Envelope, int64) {
	if len(list) < batchSize {
		return list, upTo
	}
	return list[:batchSize], list[batchSize-1].Pos
}

func merge(a, b []bus.Envelope, upTo int64) ([]bus.Envelope, int64) {
	b, upTo = whole(b, upTo)
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y bus.Envelope) int { return cmp.Compare(x.Pos, y.Pos) })
	end, _ := slices.BinarySearchFunc(all, upTo+1, func(e bus.Envelope, pos int64) int { return cmp.Compare(e.Pos, pos) })
	return whole(all[:end], upTo)
}

func overlap(types, wanted []string) bool {
	return wanted == nil || slices.ContainsFunc(types, func(t string) bool { return slices.Contains(wanted, t) })
}

func rows(ctx context.Context, tx *sqldb.Tx, after, upTo int64) (list []bus.Envelope, err error) {
	rows, err := tx.Query(ctx, sqlBacklog, after, upTo, batchSize)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var e bus.Envelope
		var at int64
		var correlation string
		if err := rows.Scan(&e.Pos, &e.ID, &e.Type, &e.Key, &e.Seq, &at, &correlation, &e.Origin, &e.Payload); err != nil {
			return nil, fmt.Errorf("read an outbox row: %w", err)
		}
		e.At, e.Correlation = time.UnixMilli(at), obs.Correlation(correlation)
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	return list, nil
}

// Last is the greatest position that is committed in the database.
func (ob *Outbox) Last(ctx context.Context) (int64, error) { return ob.committed(ctx) }
