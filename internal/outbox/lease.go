package outbox

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// Where several processes share a database, the one that holds its lease relays
// to the sinks. A process that believes so wrongly, because it was stopped or
// its clock differs, repeats events and loses none.
const (
	leaseFor   = 3 * time.Second
	leaseEvery = time.Second // renewing, or trying to get it
	leaseTime  = time.Second // for one try

	sqlLease = `INSERT INTO outbox_lease (id, owner, until_ms) VALUES (1, $1, $2)
ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, until_ms = excluded.until_ms
WHERE outbox_lease.owner = excluded.owner OR outbox_lease.until_ms < $3`
	sqlRelease = `UPDATE outbox_lease SET until_ms = 0 WHERE owner = $1`
)

type lease struct {
	owner string
	until atomic.Pointer[time.Time] // by this process's monotonic clock; nil = never had it
}

// leads says whether this process is the one that relays to the sinks.
func (ob *Outbox) leads() bool {
	if !ob.shared {
		return true
	}
	until := ob.lease.until.Load()
	return until != nil && time.Now().Before(*until)
}

// keepLease renews the lease, or tries to get it, until ctx ends.
func (ob *Outbox) keepLease(ctx context.Context) {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		if err := ob.tryLease(ctx); err != nil && ctx.Err() == nil {
			ob.log().LogAttrs(ctx, slog.LevelWarn, "the lease of the outbox is not renewed", obs.Cause(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (ob *Outbox) tryLease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	begin, led, got := time.Now(), ob.leads(), false
	err := ob.db.Write(ctx, "outbox.lease", func(ctx context.Context, tx *sqldb.Tx) error {
		got = false
		n, err := tx.Exec(ctx, sqlLease, ob.lease.owner, begin.Add(leaseFor).UnixMilli(), begin.UnixMilli())
		if err != nil || n == 0 {
			return err
		}
		got = true
		if !led {
			return ob.loadCursors(ctx, tx)
		}
		return ob.save(ctx, tx)
	})
	if err != nil {
		return err // it lasts as long as it did
	}
	if !got {
		ob.lease.until.Store(nil)
		return nil
	}
	until := begin.Add(leaseFor)
	ob.lease.until.Store(&until)
	if !led {
		ob.log().LogAttrs(ctx, slog.LevelInfo, "this process relays the outbox")
		ob.wake()
	}
	return nil
}

// giveUpLease lets another process relay at once.
func (ob *Outbox) giveUpLease(ctx context.Context) error {
	if !ob.leads() {
		return nil
	}
	ob.lease.until.Store(nil)
	return patiently(ctx, func(ctx context.Context) error {
		return ob.db.Write(ctx, "outbox.release", func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, sqlRelease, ob.lease.owner)
			return err
		})
	})
}
