package sqldb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

const (
	defaultReadConns = 4
	patience         = 5 * time.Second // for an operation whose context has no deadline
	slow             = time.Second     // what takes longer is logged
	stopTimeout      = 10 * time.Second
)

// Config says which database it is and whose.
type Config struct {
	Service   obs.Service
	URL       string // "sqlite:PATH" or a path; "postgres://..."
	Setting   string // where the URL comes from, for errors; "" = "database"
	ReadConns int    // how many reads run at once; 0 = 4
	Waiting   int    // how many writes may wait; 0 = 16384
}

// DB is one database: one connection that writes, some that read. It is safe
// for concurrent use.
type DB struct {
	obs     *obs.Obs
	log     *slog.Logger
	service obs.Service
	setting string
	engine  engine
	limits  limits
	readers *readers
	writer  *writer
	sealed  atomic.Pointer[failure]
}

// Open opens the database and adds the stop step that finishes what was accepted
// and closes it. A SQLite file is made if there is none. It refuses to open a
// database of which any connection is less than strictly durable. A server that
// cannot be reached is fault.CodeUnavailable: try again later. Any other error
// stays until somebody changes something.
func Open(ctx context.Context, o *obs.Obs, g *run.Group, cfg Config) (*DB, error) {
	db := &DB{obs: o, log: o.Log(cfg.Service), service: cfg.Service, setting: cmp.Or(cfg.Setting, "database")}
	if err := db.open(cfg); err != nil {
		o.Metrics.DurabilityStrict.Set(0)
		if f, ok := errors.AsType[*failure](err); ok && f.retryable {
			err = f.fault()
		}
		return nil, fmt.Errorf("database of %s: %w", cfg.Service, db.blame(err))
	}
	o.Metrics.DurabilityStrict.Set(1)
	o.Metrics.DBActive.Pull(cfg.Service, func() float64 { return float64(db.active()) })
	o.Metrics.DBIdle.Pull(cfg.Service, func() float64 { return float64(db.readers.size() + 1 - db.active()) })
	g.Go(ctx, "sqldb writer "+cfg.Service.String(), func(context.Context) { db.writer.loop() })
	g.Go(ctx, "sqldb answers "+cfg.Service.String(), func(context.Context) { db.writer.answers.loop() })
	db.engine.start(ctx, g)
	g.OnStop("sqldb "+cfg.Service.String(), stopTimeout, db.stop)
	return db, nil
}

func (db *DB) open(cfg Config) error {
	var err error
	if isPostgres(cfg.URL) {
		db.engine, err = newPostgres(db, cfg)
	} else {
		db.engine, err = newSQLite(db, cfg)
	}
	if err != nil {
		return err
	}
	db.limits = db.engine.limits()
	if cfg.ReadConns <= 0 {
		cfg.ReadConns = defaultReadConns
	}
	if cfg.Waiting <= 0 {
		cfg.Waiting = maxWaiting
	}
	w, err := newWriter(db, cfg.Waiting)
	if err != nil {
		return err
	}
	r, err := newReaders(db, cfg.ReadConns)
	if err != nil {
		return errors.Join(err, db.engine.close(w.conn))
	}
	db.writer, db.readers = w, r
	return nil
}

// Broken is why nothing can be written any more, or nil. After a failed fsync
// nobody knows what is on the disk, and when another history of the database
// answers, what this process remembers may never have happened: only a new
// process that reads it does.
func (db *DB) Broken() error {
	if f := db.sealed.Load(); f != nil {
		return f.fault()
	}
	return nil
}

// seal stops all writing for good.
func (db *DB) seal(f *failure, why string) {
	if db.sealed.CompareAndSwap(nil, f) {
		db.log.LogAttrs(processContext, slog.LevelError, "nothing is written any more until a restart", slog.String("why", why), obs.Cause(f))
	}
}

// count counts a failure by its reason.
func (db *DB) count(f *failure) { db.obs.Metrics.DBFailures.Inc(db.service, f.reason) }

// took observes the duration of an operation and logs it if it was slow.
func (db *DB) took(ctx context.Context, access obs.Access, op string, d time.Duration) {
	db.obs.Metrics.DBDuration.Observe(db.service, access, d)
	if d > slow {
		db.log.LogAttrs(ctx, slog.LevelWarn, "a database operation was slow",
			slog.String("op", op), slog.String("kind", access.String()), slog.Duration("took", d))
	}
}

func (db *DB) active() int {
	n := db.readers.active()
	if db.writer.busy.Load() {
		n++
	}
	return n
}

// stop finishes what was accepted, lets the riders ride once more and closes
// everything.
func (db *DB) stop(ctx context.Context) error {
	if err := db.writer.stop(ctx); err != nil {
		return err
	}
	return errors.Join(db.readers.close(ctx), db.writer.close())
}

// processContext is the context of lines that no request caused.
var processContext = obs.WithCorrelation(context.Background(), "database")

// stopped is the answer to everything after the stop.
func stopped() error { return fault.New(fault.CodeUnavailable, "the server is stopping") }
