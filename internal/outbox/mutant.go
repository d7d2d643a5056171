package outbox

import (
	"context"
	"fmt"

	"github.com/nova-chat/nova/internal/sqldb"
)

// What only mutants run; see package mutant.

// takeEarly takes positions that an earlier transaction has kept for this
// process.
func (ob *Outbox) takeEarly(ctx context.Context, tx *sqldb.Tx, n int64) (first int64, err error) {
	const kept = 20
	if ob.early.next+n-1 <= ob.early.last {
		ob.early.next += n
		return ob.early.next - n, nil
	}
	var last int64
	if err := tx.QueryRow(ctx, sqlTake, n+kept).Scan(&last); err != nil {
		return 0, fmt.Errorf("take positions: %w", err)
	}
	tx.AfterCommit(func() { ob.early.next, ob.early.last = last-kept+1, last })
	return last - n - kept + 1, nil
}

// next gives the last position before the first event after a position that is
// here.
func (t *tail) next(pos int64) int64 {
	for ; pos < t.end(); pos++ {
		if run, _ := t.after(pos); len(run) > 0 {
			break
		}
	}
	return pos
}
