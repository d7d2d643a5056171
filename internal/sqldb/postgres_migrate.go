package sqldb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

const (
	migrateConnect = 5 * time.Second
	migratePoll    = 100 * time.Millisecond // while another process migrates
)

// migrating has a connection of its own, on which a statement may take long.
// The lock is the session's, so that it ends with the process. Each migration also
// holds the writers' lock: what a node that runs commits while a table is copied
// would be lost with the table.
func (e *postgres) migrating(ctx context.Context, db *DB, fn func(transact) error) error {
	kind := pgKind{begin: e.writing().begin, settings: e.slowSettings()}
	l, err := e.dial(time.Now().Add(migrateConnect), kind)
	if err != nil {
		return db.unopened(err)
	}
	s := &pgSession{engine: e, kind: kind, link: l}
	defer func() { _ = s.close() }()
	if err := e.lockSchema(ctx, l); err != nil {
		return db.unopened(err)
	}
	return fn(func(ctx context.Context, fn func(context.Context, *Tx) error) error {
		return db.transact(ctx, s, time.Now().Add(migrateTime), fn)
	})
}

// lockSchema waits until no other process migrates, and makes the schema.
func (e *postgres) lockSchema(ctx context.Context, l *link) error {
	try := fmt.Sprintf("SELECT pg_try_advisory_lock(%d)", lockOf("nova migrate "+e.schema))
	for {
		_ = l.net.SetDeadline(time.Now().Add(migrateConnect))
		got, err := row(l, try)
		if err != nil {
			return err
		}
		if got[0] == "t" {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(migratePoll):
		}
	}
	there, err := row(l, "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = '"+e.schema+"'")
	if err != nil || there[0] == "1" { // making one that is there takes a right, too
		return err
	}
	if _, err := l.simple(`CREATE SCHEMA IF NOT EXISTS "` + e.schema + `"`); err != nil {
		return unable(err) // which Migrate blames on the setting
	}
	return nil
}

// transact runs fn in a transaction on a connection that is nobody else's.
func (db *DB) transact(ctx context.Context, s session, until time.Time, fn func(context.Context, *Tx) error) error {
	tx := &Tx{db: db, conn: s, ctx: context.Background()}
	if err := s.begin(until); err != nil {
		return tx.fail(err)
	}
	err := tx.watched(ctx, func() error { return fn(ctx, tx) })
	tx.closeRows()
	if err == nil {
		err = tx.failed
	}
	if err != nil {
		_ = s.rollback() // the session is closed if that fails
		return err
	}
	if err := s.commit(); err != nil {
		return tx.fail(err)
	}
	for _, fn := range tx.after {
		fn()
	}
	return nil
}

// unopened gives the error of a connection that did not come about: a misfit as
// it is, for the one who changes settings.
func (db *DB) unopened(err error) error {
	if m, ok := errors.AsType[*misfit](err); ok {
		return m
	}
	return db.failed(err)
}

// SQLite's INTEGER has 64 bits, and makes the primary key of a table the place
// of its rows; its texts are compared by their bytes, so what a page begins with
// must not hang on the locale of a server, and indexes must survive the upgrade
// of one.
var (
	integers = regexp.MustCompile(`(?i)\b(INTEGER|INT)\b`)
	texts    = regexp.MustCompile(`(?i)\bTEXT\b`)
	blobs    = regexp.MustCompile(`(?i)\bBLOB\b`)
)

// portable gives a migration's words for types the meaning that they have for
// SQLite, outside of comments and quotes.
func portable(text string) string {
	var out strings.Builder
	from := 0
	words := func(to int) {
		part := integers.ReplaceAllString(text[from:to], "BIGINT")
		part = texts.ReplaceAllString(part, `TEXT COLLATE "C"`)
		out.WriteString(blobs.ReplaceAllString(part, "BYTEA"))
	}
	for i := 0; i < len(text); i++ {
		end := i
		switch text[i] {
		case '\'', '"':
			end = skipQuoted(text, i)
		case '-', '/':
			end = skipComment(text, i)
		}
		if end > i {
			words(i)
			end = min(end+1, len(text))
			out.WriteString(text[i:end])
			from, i = end, end-1
		}
	}
	words(len(text))
	return out.String()
}
