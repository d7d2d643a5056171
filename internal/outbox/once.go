package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

const (
	onceEvery = 500 * time.Millisecond // forgetting, when something is committed anyway
	onceRows  = 1024                   // forgotten at once

	sqlOnce   = `INSERT INTO consumed (queue, id, at_ms) VALUES ($1, $2, $3) ON CONFLICT (queue, id) DO NOTHING`
	sqlForget = `DELETE FROM consumed WHERE (queue, id) IN (SELECT queue, id FROM consumed WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)`
)

// Once is true the first time that an event comes to a queue. It belongs into
// the transaction that applies the event, so that both happen or neither; a
// handler returns without doing anything when it is false.
func Once(ctx context.Context, tx *sqldb.Tx, queue obs.Queue, id string) (first bool, err error) {
	n, err := tx.Exec(ctx, sqlOnce, queue.String(), id, time.Now().UnixMilli())
	if err != nil {
		return false, fmt.Errorf("note an event as consumed: %w", err)
	}
	return n == 1, nil
}

// forget rides in a commit: it deletes what Once need not remember any more.
func (ob *Outbox) forget(ctx context.Context, tx *sqldb.Tx) error {
	if _, err := tx.Exec(ctx, sqlForget, time.Now().Add(-ob.cfg.OnceFor).UnixMilli(), onceRows); err != nil {
		return fmt.Errorf("forget consumed events: %w", err)
	}
	return nil
}
