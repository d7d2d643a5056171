package sqldb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/run"
)

// lite is the engine of one file, with one process that serves it.
type lite struct {
	db          *DB
	path        string
	checkpoints *checkpoints
}

func newSQLite(db *DB, cfg Config) (*lite, error) {
	path, err := place(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := private(path); err != nil {
		return nil, err
	}
	e := &lite{db: db, path: path}
	if e.checkpoints, err = newCheckpoints(e); err != nil {
		return nil, err
	}
	return e, nil
}

// place reads the address of a database.
func place(url string) (string, error) {
	path := strings.TrimPrefix(url, "sqlite:")
	if path == "" || strings.ContainsAny(path, "?#") || strings.HasPrefix(path, "file:") || strings.Contains(path, ":memory:") {
		return "", errors.New("the address of a database must be sqlite:PATH, with a plain path and no options, or begin with postgres://")
	}
	return filepath.Abs(path)
}

// private makes the file, so that its owner alone can read it; SQLite gives its
// log the same mode.
func private(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("folder of the database: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("file of the database: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Chmod(0o600); err != nil {
		return fmt.Errorf("file of the database: %w", err)
	}
	return nil
}

func (e *lite) connect(_ time.Time, writes bool) (session, error) {
	begin, kind := "BEGIN DEFERRED", reading
	if writes {
		begin, kind = "BEGIN IMMEDIATE", writing
	}
	c, err := connect(e.path, begin, append(append([]setting(nil), strict...), kind...))
	if err != nil {
		return nil, err // not a nil *conn in an interface
	}
	return c, nil
}

// limits: nothing is away, and a transaction that takes long is broken off by
// the time that each of its parts has.
func (e *lite) limits() limits { return limits{} }

func (e *lite) start(ctx context.Context, g *run.Group) {
	e.checkpoints.going.Store(true)
	g.Go(ctx, "sqldb checkpoint "+e.db.service.String(), func(context.Context) { e.checkpoints.loop() })
}

func (e *lite) wrote(s session) { e.checkpoints.after(s.(*conn)) }

// migrating needs no more than the writer, and time: SQLite lets one process write,
// and every migration looks again in its transaction.
func (e *lite) migrating(_ context.Context, db *DB, fn func(transact) error) error {
	return fn(func(ctx context.Context, fn func(context.Context, *Tx) error) error {
		return db.write(ctx, "sqldb.migrate", migrateTime, fn)
	})
}

// close copies the log into the database.
func (e *lite) close(s session) error {
	err := e.checkpoints.close()
	if s == nil {
		return err
	}
	_, cerr := s.(*conn).pragma("wal_checkpoint(TRUNCATE)")
	return errors.Join(err, cerr, s.close())
}
