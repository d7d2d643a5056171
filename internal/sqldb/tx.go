package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nova-chat/nova/internal/fault"
)

// Tx is a transaction, as long as the function lasts that it was given to. It
// must not be used by several goroutines at once.
//
// The first statement that fails spoils it, as PostgreSQL has it: all others
// then fail too, and what the function wrote is taken back even if it returns
// nil. So look before you insert, or say ON CONFLICT.
type Tx struct {
	db     *DB
	conn   session
	ctx    context.Context // of the function that has the transaction; it is watched
	after  []func()
	open   []*Rows
	failed error // what every further statement answers
	cause  *failure
	redone [redos][]func() // what to call before everything is done again
}

// AfterCommit has fn run right after the commit and before anybody is
// answered, in the order of the commits and calls. It runs on the writer's
// goroutine, so it must not block. If the write is refused or fails, it never
// runs. In a Read it never runs.
func (tx *Tx) AfterCommit(fn func()) { tx.after = append(tx.after, fn) }

// Exec runs a statement and says how many rows it changed. Arguments are
// strings, numbers, booleans, byte slices, nil, types of these kinds, and
// driver.Valuer; times are BIGINT milliseconds. An empty, not nil, byte slice
// is stored as an empty blob and read back as nil.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := tx.ready(); err != nil {
		return 0, err
	}
	n, err := tx.conn.exec(tx.limits(ctx), query, args)
	if err != nil {
		return 0, tx.fail(err)
	}
	return n, nil
}

// ExecLater is Exec for a statement whose outcome nobody waits for. With PostgreSQL
// it goes with the next one on one way there and back, in a [Batch] even with the
// commit; what it fails of is told there.
func (tx *Tx) ExecLater(query string, args ...any) error {
	if err := tx.ready(); err != nil {
		return err
	}
	if err := tx.conn.execLater(query, args); err != nil {
		return tx.fail(err)
	}
	return nil
}

// CheckLater is ExecLater for a statement that sets a column which may not be NULL to
// NULL if what the transaction relies on is not so, and hardly ever does. Then
// missed is called, and everything in the commit is done again; so missed should see
// to it that nothing relies on it then. It runs on the writer's goroutine.
func (tx *Tx) CheckLater(query string, args []any, missed func()) error {
	if err := tx.ready(); err != nil {
		return err
	}
	tx.redone[redoMissed] = append(tx.redone[redoMissed], missed)
	if err := tx.conn.checkLater(query, args); err != nil {
		return tx.fail(err)
	}
	return nil
}

// QueryRowLater is QueryRow for a row that is wanted after the next statement, with
// which it goes with PostgreSQL. Whoever scans it before that waits for it.
func (tx *Tx) QueryRowLater(query string, args ...any) Row {
	if err := tx.ready(); err != nil {
		return Row{nil, err}
	}
	rows, columns, err := tx.conn.queryLater(query, args)
	if err != nil {
		return Row{nil, tx.fail(err)}
	}
	return Row{tx.opened(context.Background(), rows, columns), nil}
}

// flush waits for what was put off, so that it fails where it was said.
func (tx *Tx) flush() error {
	if err := tx.ready(); err != nil {
		return err
	}
	if err := tx.conn.flush(); err != nil {
		return tx.fail(err)
	}
	return nil
}

// Query runs a statement that gives rows. They end with the transaction at the
// latest.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	rows, columns, err := tx.conn.query(tx.limits(ctx), query, args)
	if err != nil {
		return nil, tx.fail(err)
	}
	return tx.opened(ctx, rows, columns), nil
}

func (tx *Tx) opened(ctx context.Context, rows cursor, columns int) *Rows {
	r := &Rows{ctx: ctx, tx: tx, rows: rows, row: make([]driver.Value, columns)}
	tx.open = append(tx.open, r)
	return r
}

// QueryRow runs a statement of whose rows only the first is wanted.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) Row {
	r, err := tx.Query(ctx, query, args...)
	return Row{r, err}
}

// Insert adds rows to a table: args holds the columns of the first row, then
// of the second, and so on.
func (tx *Tx) Insert(ctx context.Context, table string, columns []string, args []any) error {
	_, err := tx.insert(ctx, rowsOf{insertAll, table, columns}, args)
	return err
}

// InsertNew is Insert that leaves out rows which a unique index has already, and
// says how many it added.
func (tx *Tx) InsertNew(ctx context.Context, table string, columns []string, args []any) (added int, err error) {
	return tx.insert(ctx, rowsOf{insertNew, table, columns}, args)
}

// InsertLater is Insert for rows of which a unique index hardly ever has one
// already; with PostgreSQL it goes with the next statement or the commit, as with
// ExecLater. If a row is there after all, taken is called, and that of each other
// InsertLater of the commit, and everything that is in it is done again; so taken
// should see to it that the row is looked for then. It runs on the
// writer's goroutine.
func (tx *Tx) InsertLater(table string, columns []string, args []any, taken func()) error {
	in := rowsOf{insertAll, table, columns}
	if err := tx.rows(in, args); err != nil {
		return err
	}
	tx.redone[redoTaken] = append(tx.redone[redoTaken], taken)
	if err := tx.conn.insertLater(in, args); err != nil {
		return tx.fail(err)
	}
	return nil
}

// UpdateLater sets columns of rows that go by a key, if the first of these is what it
// is believed to be; it may not be NULL. args holds the key, what the first column is
// believed to be, and what the columns become, for one row after the other. A key
// without a row changes nothing. As with CheckLater missed is called, and everything
// done again, if a first column is something else.
func (tx *Tx) UpdateLater(table, key string, columns []string, args []any, missed func()) error {
	in := rowsOf{update, table, append([]string{key, was}, columns...)}
	if err := tx.rows(in, args); err != nil {
		return err
	}
	tx.redone[redoMissed] = append(tx.redone[redoMissed], missed)
	if err := tx.conn.updateLater(in, args); err != nil {
		return tx.fail(err)
	}
	return nil
}

func (tx *Tx) insert(ctx context.Context, in rowsOf, args []any) (added int, err error) {
	if err := tx.rows(in, args); err != nil {
		return 0, err
	}
	n, err := tx.conn.insert(tx.limits(ctx), in, args)
	if err != nil {
		return 0, tx.fail(err)
	}
	return int(n), nil
}

// rows refuses what are no whole rows.
func (tx *Tx) rows(in rowsOf, args []any) error {
	if err := tx.ready(); err != nil {
		return err
	}
	if len(in.columns) == 0 || len(args)%len(in.columns) != 0 {
		return tx.fail(errInsertArgs)
	}
	return nil
}

// script runs a text of several statements.
func (tx *Tx) script(ctx context.Context, text string) error {
	if err := tx.ready(); err != nil {
		return err
	}
	if err := tx.conn.script(ctx, text); err != nil {
		return tx.fail(err)
	}
	return nil
}

// ready refuses a statement in a transaction that is spoilt or too late.
func (tx *Tx) ready() error {
	if tx.failed != nil {
		return tx.failed
	}
	if err := tx.ctx.Err(); err != nil {
		return tx.fail(err)
	}
	return nil
}

// watched runs fn and breaks off its statements when ctx ends.
func (tx *Tx) watched(ctx context.Context, fn func() error) error {
	release := tx.conn.watch(ctx)
	tx.ctx = ctx
	defer func() {
		release()
		tx.ctx = context.Background()
	}()
	return fn()
}

// limits is what the driver has to look after: a context that the function made
// itself. The one that it was given is watched already.
func (tx *Tx) limits(ctx context.Context) context.Context {
	if ctx.Done() == tx.ctx.Done() {
		return context.Background()
	}
	return ctx
}

// fail notes the failure that spoils the transaction, counts it and gives the
// fault that callers see.
func (tx *Tx) fail(err error) error {
	if tx.failed == nil {
		tx.cause = classify(because(tx.ctx, err))
		tx.failed = tx.cause.fault()
		if tx.cause.redo == noRedo {
			tx.db.count(tx.cause)
		}
	}
	return tx.failed
}

func (tx *Tx) savepoint(step savepoint) error {
	if err := tx.ready(); err != nil {
		return err
	}
	if err := tx.conn.savepoint(step); err != nil {
		return tx.fail(err)
	}
	return nil
}

// limited is what a part runs with: a time after which it is broken off.
func (tx *Tx) limited(values context.Context, most time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(values, most)
	defer cancel()
	return tx.watched(ctx, func() error { return fn(ctx) })
}

// retryable says whether the same transaction may succeed now.
func (tx *Tx) retryable() bool { return tx.cause != nil && tx.cause.retryable }

// reported is err, or what spoiled the transaction if fn hid that.
func (tx *Tx) reported(err error) error {
	if tx.cause != nil && tx.cause.redo != noRedo { // not counted while it is tried again
		tx.db.count(tx.cause)
	}
	if tx.failed != nil && !errors.Is(err, tx.failed) && tx.cause.engine {
		return tx.failed
	}
	return err
}

// closeRows ends the rows that are still open.
func (tx *Tx) closeRows() {
	for _, r := range tx.open {
		_ = r.Close()
	}
	tx.open = tx.open[:0]
}

// Rows are the rows of a query.
type Rows struct {
	ctx    context.Context // of the query; looked at between two rows
	tx     *Tx
	closed bool
	rows   cursor
	row    []driver.Value
	err    error
}

// Next goes to the next row; false at the end and on failure (see Err).
func (r *Rows) Next() bool {
	if r.closed {
		return false
	}
	err := r.ctx.Err()
	if err == nil {
		err = r.rows.next(r.row)
	}
	if err == nil {
		return true
	}
	if !errors.Is(err, io.EOF) {
		r.err = r.tx.fail(err)
	}
	_ = r.Close()
	return false
}

// Scan stores the columns of the row. NULL goes into pointers to any, []byte
// and sql.Scanner (such as sql.Null) alone.
func (r *Rows) Scan(dest ...any) error {
	if r.closed {
		return fault.Wrap(fault.CodeInternal, errors.New("scan of closed rows"), "")
	}
	if len(dest) != len(r.row) {
		return fault.Wrap(fault.CodeInternal, fmt.Errorf("scan of %d columns into %d places", len(r.row), len(dest)), "")
	}
	for i, d := range dest {
		if err := assign(d, r.row[i]); err != nil {
			return fault.Wrap(fault.CodeInternal, fmt.Errorf("column %d: %w", i+1, err), "")
		}
	}
	return nil
}

// Err is why Next gave false; nil at the end of the rows.
func (r *Rows) Err() error { return r.err }

// Close ends the rows. Closing twice is fine.
func (r *Rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.rows.close()
	if err != nil && r.err == nil {
		r.err = r.tx.fail(err)
	}
	return r.err
}

// Row is the one row of a query.
type Row struct {
	rows *Rows
	err  error
}

// Scan stores the columns, or gives ErrNoRows.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer func() { _ = r.rows.Close() }()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	return r.rows.Close()
}
