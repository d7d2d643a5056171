package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"modernc.org/sqlite"
)

// maxStatements bounds the prepared statements of a connection.
const maxStatements = 256

// driverConn is what a connection of the driver can do.
type driverConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	sqlite.DBStatus
}

// driverStmt is what a prepared statement of the driver can do.
type driverStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// conn is one connection and its prepared statements. It goes around
// database/sql, which costs several allocations for each statement and a lock.
// One goroutine at a time may use it.
type conn struct {
	raw    driverConn
	handle uintptr
	stmts  map[string]*stmt
	rows   map[string][]*rowsStmts
	named  []driver.NamedValue // reused for the arguments of each call

	start, finish, undo *stmt
	parts               savepoints
}

// stmt is a prepared statement. While rows of it are open it is busy, and their
// cursor.
type stmt struct {
	driverStmt
	busy bool
	own  bool // nobody but this cursor has it
	rows driver.Rows
}

// savepoints are the prepared steps.
type savepoints [len(savepointTexts)]*stmt

// connect opens a connection and refuses it unless all settings hold.
func connect(path, begin string, settings []setting) (*conn, error) {
	raw, err := (&sqlite.Driver{}).Open(path)
	if err != nil {
		return nil, wrapDriver(err)
	}
	c := &conn{raw: raw.(driverConn), stmts: map[string]*stmt{}, rows: map[string][]*rowsStmts{}}
	if c.handle, err = handleOf(c.raw); err == nil {
		err = c.ready(begin, settings)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *conn) ready(begin string, settings []setting) error {
	if err := c.apply(settings); err != nil {
		return err
	}
	for _, p := range []struct {
		at   **stmt
		text string
	}{{&c.start, begin}, {&c.finish, "COMMIT"}, {&c.undo, "ROLLBACK"}} {
		s, err := c.prepare(p.text)
		if err != nil {
			return wrapDriver(err)
		}
		*p.at = s
	}
	return nil
}

func (c *conn) prepare(query string) (*stmt, error) {
	s, err := c.raw.Prepare(query)
	if err != nil {
		return nil, err
	}
	return &stmt{driverStmt: s.(driverStmt)}, nil
}

// lookup gives the prepared statement of a text. While rows of it are open, a
// nested call of the same text gets one of its own; own then says to close it.
func (c *conn) lookup(query string) (s *stmt, own bool, err error) {
	if s = c.stmts[query]; s != nil && !s.busy {
		return s, false, nil
	}
	nested := s != nil
	text, err := byPosition(query)
	if err != nil {
		return nil, false, err
	}
	if s, err = c.prepare(text); err != nil || nested {
		return s, nested, err
	}
	c.evict()
	c.stmts[query] = s
	return s, false, nil
}

// evict makes room: rare enough that which statement goes does not matter.
func (c *conn) evict() {
	for text, s := range c.stmts {
		if len(c.stmts) < maxStatements {
			return
		}
		if !s.busy {
			_ = s.Close()
			delete(c.stmts, text)
		}
	}
}

// bind gives the arguments the driver's form, in memory that the next call
// reuses: the driver copies what it binds.
func (c *conn) bind(args []any) ([]driver.NamedValue, error) {
	c.named = slices.Grow(c.named[:0], len(args))[:len(args)]
	for i, a := range args {
		v, err := value(a)
		if err != nil {
			return nil, fmt.Errorf("argument $%d: %w", i+1, err)
		}
		c.named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return c.named, nil
}

// run executes a prepared statement without arguments; nothing interrupts it.
func (c *conn) run(s *stmt) error {
	_, err := s.ExecContext(context.Background(), nil)
	return err
}

func (c *conn) begin(time.Time) error { return c.run(c.start) }
func (c *conn) commit() error         { return c.run(c.finish) }
func (c *conn) rollback() error       { return c.run(c.undo) }

func (c *conn) savepoint(step savepoint) (err error) {
	if c.parts[step] == nil {
		if c.parts[step], err = c.prepare(savepointTexts[step]); err != nil {
			return err
		}
	}
	return c.run(c.parts[step])
}

// prepared finds the statement of a text and puts the arguments into the
// driver's form.
func (c *conn) prepared(query string, args []any) (*stmt, []driver.NamedValue, error) {
	s, own, err := c.lookup(query)
	if err != nil {
		return nil, nil, err
	}
	s.own = own
	named, err := c.bind(args)
	if err != nil {
		s.disown()
	}
	return s, named, err
}

func (c *conn) exec(ctx context.Context, query string, args []any) (int64, error) {
	s, named, err := c.prepared(query, args)
	if err != nil {
		return 0, err
	}
	defer s.disown()
	res, err := s.ExecContext(ctx, named)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (c *conn) execLater(query string, args []any) error {
	_, err := c.exec(context.Background(), query, args)
	return err
}

func (c *conn) checkLater(query string, args []any) error {
	return redoMissed.as(c.execLater(query, args))
}

func (c *conn) queryLater(query string, args []any) (cursor, int, error) {
	return c.query(context.Background(), query, args)
}

func (c *conn) insertLater(in rowsOf, args []any) error {
	_, err := c.insert(context.Background(), in, args)
	return redoTaken.as(err)
}

func (c *conn) updateLater(in rowsOf, args []any) error {
	_, err := c.insert(context.Background(), in, args)
	return redoMissed.as(err)
}

func (c *conn) flush() error { return nil }

func (c *conn) query(ctx context.Context, query string, args []any) (cursor, int, error) {
	s, named, err := c.prepared(query, args)
	if err != nil {
		return nil, 0, err
	}
	rows, err := s.QueryContext(ctx, named)
	if err != nil {
		s.disown()
		return nil, 0, err
	}
	s.busy, s.rows = true, rows
	return s, len(rows.Columns()), nil
}

func (s *stmt) next(row []driver.Value) error { return s.rows.Next(row) }

func (s *stmt) close() error {
	err := s.rows.Close()
	s.busy, s.rows = false, nil
	s.disown()
	return err
}

// disown closes a statement that is not kept.
func (s *stmt) disown() {
	if s.own {
		_ = s.Close()
	}
}

// script runs a text of several statements.
func (c *conn) script(ctx context.Context, text string) error {
	_, err := c.raw.ExecContext(ctx, text, nil)
	return err
}

// pragma runs a PRAGMA and gives the first column of its first row.
func (c *conn) pragma(text string) (string, error) {
	row, err := c.pragmaRow(text, 1)
	if err != nil || row == nil {
		return "", err
	}
	return fmt.Sprint(row[0]), nil
}

// pragmaRow runs a PRAGMA and gives its first row of n columns, nil if none.
func (c *conn) pragmaRow(text string, n int) ([]driver.Value, error) {
	rows, err := c.raw.QueryContext(context.Background(), "PRAGMA "+text, nil)
	if err != nil {
		return nil, wrapDriver(err)
	}
	defer func() { _ = rows.Close() }()
	if len(rows.Columns()) != n {
		return nil, nil
	}
	row := make([]driver.Value, n)
	if err := rows.Next(row); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, wrapDriver(err)
	}
	return row, nil
}

// written is the number of pages that this connection has written since the
// last call.
func (c *conn) written() int {
	n, _, err := c.raw.Status(sqlite.DBStatusCacheWrite, true)
	if err != nil {
		return 0
	}
	return n
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		_ = s.Close()
	}
	for _, list := range c.rows {
		for _, in := range list {
			in.close()
		}
	}
	for _, s := range append([]*stmt{c.start, c.finish, c.undo}, c.parts[:]...) {
		if s != nil {
			_ = s.Close()
		}
	}
	if err := c.raw.Close(); err != nil {
		return wrapDriver(err)
	}
	return nil
}
