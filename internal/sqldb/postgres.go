package sqldb

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-chat/nova/internal/run"
)

// How long things may take where a server can be away: the answer to a caller
// has a second. The server's own times are in settingsOf.
const (
	groupTime  = 800 * time.Millisecond
	readTime   = 900 * time.Millisecond
	cancelTime = 200 * time.Millisecond // to ask the server to break off a statement
)

// postgres is the engine of a schema in a PostgreSQL database, which many
// processes use.
type postgres struct {
	db     *DB
	config *pgconn.Config
	schema string
	lock   int64       // of the schema, for writing
	direct atomic.Bool // what looked like a pooler gives each client a session of its own
	weak   atomic.Bool // the last connection was less than strictly durable

	history atomic.Pointer[string] // of which server, and on which timeline: that of the first connection
}

// isPostgres says whether an address is one of a PostgreSQL database.
func isPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

func newPostgres(db *DB, cfg Config) (*postgres, error) {
	config, err := pgconn.ParseConfig(cfg.URL)
	if err != nil {
		return nil, &misfit{text: "the address is not understood: it must be postgres://USER@HOST:PORT/DATABASE"}
	}
	schema := db.service.String()
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "nova " + schema
	}
	config.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	return &postgres{db: db, config: config, schema: schema, lock: lockOf("nova " + schema)}, nil
}

// lockOf makes the number of an advisory lock of a name.
func lockOf(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return int64(h.Sum64())
}

// pgKind is what a connection is for.
type pgKind struct {
	begin    []string // what begins a transaction
	witness  string   // what is sent before its COMMIT, if anything
	settings []pgSetting
	reads    bool // and cannot write
}

const (
	beginWrite = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
	beginRead  = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

	// A transaction that wrote nothing does not wait for a synchronous standby. It may
	// have found what another wrote, whose wait was cut short: then the answer must not
	// say that it is safe. So each writes a few bytes where there are such standbys.
	witness = "SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'nova', text '') END"
)

// writing takes one lock per schema first. Commits of one schema are one after
// the other in any case, for they all take positions from one row; with the
// lock, the SQL of the services finds what it finds on SQLite, with one writer:
// what it looked at stays so until the commit, and no order of rows can end in
// a deadlock.
func (e *postgres) writing() pgKind {
	lock := fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", e.lock)
	return pgKind{begin: []string{beginWrite, lock}, witness: witness, settings: e.settings()}
}

func (e *postgres) reading() pgKind {
	return pgKind{begin: []string{beginRead}, settings: e.settings(), reads: true}
}

func (e *postgres) connect(until time.Time, writes bool) (session, error) {
	kind := e.reading()
	if writes {
		kind = e.writing()
	}
	l, err := e.dial(until, kind)
	if err != nil {
		return nil, err
	}
	return &pgSession{engine: e, kind: kind, link: l}, nil
}

// dial connects, sets and reads back the settings and prepares what
// transactions are made of.
func (e *postgres) dial(until time.Time, kind pgKind) (*link, error) {
	l, err := e.raw(until)
	if err != nil {
		return nil, e.db.blame(unable(err))
	}
	if err := e.ready(l, until, kind); err != nil {
		_ = l.close()
		return nil, e.db.blame(unable(err))
	}
	return l, nil
}

// raw connects and logs in.
func (e *postgres) raw(until time.Time) (*link, error) {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	config := e.config.Copy()
	if limit := time.Until(until) / time.Duration(1+len(config.Fallbacks)); config.ConnectTimeout == 0 || config.ConnectTimeout > limit {
		config.ConnectTimeout = limit // so that there is time for the next host
	}
	c, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	h, err := c.Hijack()
	if err != nil {
		return nil, err
	}
	l := newLink(c, h)
	return l, l.net.SetDeadline(until)
}

func (e *postgres) ready(l *link, until time.Time, kind pgKind) error {
	pid, err := e.apply(l, kind.settings)
	if err != nil {
		return err
	}
	if err := e.alone(l, pid, until); err != nil {
		return err
	}
	texts := append([]string{"COMMIT", "ROLLBACK"}, kind.begin...)
	if kind.witness != "" {
		texts = append(texts, kind.witness)
	}
	err = l.prepareOwn(append(texts, savepointTexts[:]...))
	if f, ok := errors.AsType[*failure](err); ok && f.state == "42P05" { // a fresh session knows no statements
		return errPooler
	}
	return err
}

func (e *postgres) limits() limits { return limits{group: groupTime, read: readTime} }

func (e *postgres) start(context.Context, *run.Group) {}
func (e *postgres) wrote(session)                     {}

func (e *postgres) close(s session) error {
	if s == nil {
		return nil
	}
	return s.close()
}
