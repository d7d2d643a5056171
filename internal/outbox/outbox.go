package outbox

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
)

// Config says where the events of one database go.
type Config struct {
	Service obs.Service
	Sinks   []Sink
	// Follow, if set, gets every event after the position given to FollowFrom, in
	// the order of positions and whoever committed it, in each process anew.
	Follow func(ctx context.Context, batch []bus.Envelope)
	// Tell, if set, passes on what this process committed to the others that
	// follow the database; they give it to Hear. What is lost on the way they
	// read from the database a little later.
	Tell    func(ctx context.Context, batch []bus.Envelope) error
	Derived *Derived
	OnceFor time.Duration // how long Once remembers; 0 = 8 days
}

// Sink takes events for good: its cursor stands in the database, and one process
// at a time relays to it. Publish gets them in the order of positions, at most 512 at
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
	relays []*relay // of the sinks
	follow *relay   // nil if nobody follows
	all    []*relay // relays and follow
	teller *teller  // nil if nobody is told
	lease  lease
	shared bool // other processes write to the database too

	turn    turn                       // the writer's alone
	early   struct{ next, last int64 } // of a mutant; the writer's alone
	swept   atomic.Int64               // rows up to here are deleted
	started atomic.Bool

	mu    sync.Mutex
	moved chan struct{} // closed when a cursor moves; nil if nobody waits
}

// New makes the outbox of a database. Call Migrate before the first use.
func New(o *obs.Obs, g *run.Group, db *sqldb.DB, cfg Config) *Outbox {
	if cfg.OnceFor == 0 {
		cfg.OnceFor = onceFor
	}
	ob := &Outbox{obs: o, group: g, db: db, cfg: cfg, shared: db.Shared()}
	ob.lease.owner = id.New()
	for _, s := range cfg.Sinks {
		ob.relays = append(ob.relays, newRelay(ob, s, ob.leads))
	}
	if cfg.Follow != nil {
		always := func() bool { return true }
		ob.follow = newRelay(ob, Sink{Name: "follow", Publish: func(ctx context.Context, batch []bus.Envelope) error {
			cfg.Follow(ctx, batch)
			return nil
		}}, always)
	}
	if ob.all = ob.relays; ob.follow != nil {
		ob.all = append(slices.Clip(ob.relays), ob.follow)
	}
	if cfg.Tell != nil {
		ob.teller = newTeller(ob, cfg.Tell)
	}
	return ob
}

// Migrate makes the outbox's tables.
func (ob *Outbox) Migrate(ctx context.Context) error {
	return ob.db.Migrate(ctx, "outbox", Migrations())
}

// FollowFrom says after which position Follow begins. Call it before Start.
func (ob *Outbox) FollowFrom(pos int64) { ob.follow.cursor.Store(pos) }

// Left is the number of events that this process committed and that not every
// sink has taken, as far as this process knows.
func (ob *Outbox) Left() int {
	first, last := ob.tail.own()
	return int(max(0, last-max(first-1, ob.floor())))
}

// unpublished is Left with what others committed. Only the process that relays
// can tell.
func (ob *Outbox) unpublished() float64 {
	if !ob.leads() {
		return 0
	}
	return float64(max(0, ob.tail.end()-ob.floor()))
}

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

// reached is the position up to which whoever reads in this process has come.
func (ob *Outbox) reached() int64 {
	low := ob.tail.end()
	for _, r := range ob.all {
		if r.allowed() {
			low = min(low, r.cursor.Load())
		}
	}
	return low
}

func (ob *Outbox) derived(kind string) bool {
	return ob.cfg.Derived != nil && slices.Contains(ob.cfg.Derived.Types, kind)
}
