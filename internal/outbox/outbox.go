package outbox

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
)

// Config says where the events of one database go.
type Config struct {
	Service obs.Service
	Sinks   []Sink
	Derived *Derived
	OnceFor time.Duration // how long Once remembers; 0 = 8 days
}

// Sink takes events. Publish gets them in the order of positions, at most 512 at
// once; the slice is valid during the call, the payloads for ever. It is called
// again with the same events after an error.
type Sink struct {
	Name    string   // of its cursor in the database; must not change
	Types   []string // nil = all
	Publish func(ctx context.Context, batch []bus.Envelope) error
}

// Derived are events that stand in a table of the service's own, with their
// position, and so need no row in the outbox. Read gives those with
// after < Pos <= upTo, in order, at most limit.
type Derived struct {
	Types []string
	Read  func(ctx context.Context, tx *sqldb.Tx, after, upTo int64, limit int) ([]bus.Envelope, error)
}

const (
	// batchSize is the most that a sink gets, and that is read, at once.
	batchSize = 512
	// onceFor is longer than the seven days for which Kafka keeps events by default.
	onceFor = 8 * 24 * time.Hour
)

// Outbox belongs to one database. It is safe for concurrent use.
type Outbox struct {
	obs    *obs.Obs
	group  *run.Group
	db     *sqldb.DB
	cfg    Config
	tail   tail
	relays []*relay

	swept   atomic.Int64 // rows up to here are deleted
	started atomic.Bool

	mu    sync.Mutex
	moved chan struct{} // closed when a cursor moves; nil if nobody waits
}

// New makes the outbox of a database. Call Migrate before the first use.
func New(o *obs.Obs, g *run.Group, db *sqldb.DB, cfg Config) *Outbox {
	if cfg.OnceFor == 0 {
		cfg.OnceFor = onceFor
	}
	ob := &Outbox{obs: o, group: g, db: db, cfg: cfg}
	for _, s := range cfg.Sinks {
		ob.relays = append(ob.relays, newRelay(ob, s))
	}
	return ob
}

// Migrate makes the outbox's tables.
func (ob *Outbox) Migrate(ctx context.Context) error {
	return ob.db.Migrate(ctx, "outbox", Migrations())
}

// Left is the number of events that this process committed and that not every
// sink has taken.
func (ob *Outbox) Left() int {
	first, last := ob.tail.own()
	return int(max(0, last-max(first-1, ob.floor())))
}

// unpublished is Left with what was there before the process.
func (ob *Outbox) unpublished() float64 { return float64(max(0, ob.tail.end()-ob.floor())) }

// End is the highest position that is known to be committed, whatever took it.
func (ob *Outbox) End() int64 { return ob.tail.end() }

// floor is the position up to which every sink has taken everything.
func (ob *Outbox) floor() int64 {
	low := int64(math.MaxInt64)
	for _, r := range ob.relays {
		low = min(low, r.cursor.Load())
	}
	return low
}

func (ob *Outbox) derived(kind string) bool {
	return ob.cfg.Derived != nil && slices.Contains(ob.cfg.Derived.Types, kind)
}
