package sqldb

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/nova-chat/nova/internal/run"
)

// engine is a kind of database: SQLite or PostgreSQL.
type engine interface {
	// connect opens a connection that writes or one that cannot, and refuses it
	// if it is less than strictly durable. It gives up at until.
	connect(until time.Time, writes bool) (session, error)
	// limits are how long one transaction may take.
	limits() limits
	// start begins what goes on beside the transactions.
	start(ctx context.Context, g *run.Group)
	// wrote is called by the writer after each group, with its connection.
	wrote(s session)
	// migrating runs fn while no other process migrates; each of the functions
	// that fn hands over runs in a transaction.
	migrating(ctx context.Context, db *DB, fn func(transact) error) error
	// close ends what start began; s is the writer's last connection, or nil.
	close(s session) error
}

// transact runs a function in a transaction of its own and commits.
type transact func(ctx context.Context, fn func(context.Context, *Tx) error) error

// limits are times. Zero is no limit.
type limits struct {
	group time.Duration // for a group commit, repeats included
	read  time.Duration // for a read, waiting for a connection included
}

// session is one connection and what a transaction does with it. One goroutine
// at a time may use it. Its errors are what classify understands.
type session interface {
	begin(until time.Time) error
	commit() error
	rollback() error
	savepoint(step savepoint) error
	statements
	// watch breaks off whatever runs once ctx has ended, until it is released.
	watch(ctx context.Context) (release func())
	close() error
}

// statements are what a transaction is made of.
type statements interface {
	exec(ctx context.Context, query string, args []any) (int64, error)
	// These run a statement with the next one, or the commit; flush runs it now.
	execLater(query string, args []any) error
	checkLater(query string, args []any) error
	queryLater(query string, args []any) (cursor, int, error)
	insertLater(in rowsOf, args []any) error
	updateLater(in rowsOf, args []any) error
	flush() error
	query(ctx context.Context, query string, args []any) (cursor, int, error)
	insert(ctx context.Context, in rowsOf, args []any) (int64, error)
	// script runs a text of several statements, as migrations have them.
	script(ctx context.Context, text string) error
}

// cursor gives the rows of a query, io.EOF at their end.
type cursor interface {
	next(row []driver.Value) error
	close() error
}

// savepoint is a step around a part of a transaction that can be taken back
// alone.
type savepoint int

const (
	setSavepoint savepoint = iota
	releaseSavepoint
	rollbackToSavepoint
)

// savepointTexts are their statements.
var savepointTexts = [...]string{"SAVEPOINT part", "RELEASE SAVEPOINT part", "ROLLBACK TO SAVEPOINT part"}
