package sqldb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// insertRows is how many rows one statement inserts: as many as fit.
var insertRows = [...]int{128, 16, 4, 1}

var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

var errInsertArgs = errors.New("the arguments of an insert must fill whole rows")

// insert is the prepared statements that fill a table.
type insert struct {
	verb    string
	columns []string
	stmts   [len(insertRows)]*stmt // prepared when first used
}

// Insert adds rows to a table: args holds the columns of the first row, then
// of the second, and so on.
func (tx *Tx) Insert(ctx context.Context, table string, columns []string, args []any) error {
	_, err := tx.insert(ctx, "INSERT INTO ", table, columns, args)
	return err
}

// InsertNew is Insert that leaves out rows which a unique index has already, and
// says how many it added.
func (tx *Tx) InsertNew(ctx context.Context, table string, columns []string, args []any) (added int, err error) {
	return tx.insert(ctx, "INSERT OR IGNORE INTO ", table, columns, args)
}

func (tx *Tx) insert(ctx context.Context, verb, table string, columns []string, args []any) (added int, err error) {
	if tx.failed != nil {
		return 0, tx.failed
	}
	if err := tx.ctx.Err(); err != nil {
		return 0, tx.fail(err)
	}
	if len(columns) == 0 || len(args)%len(columns) != 0 {
		return 0, tx.fail(errInsertArgs)
	}
	in := tx.conn.insertOf(verb, table, columns)
	for len(args) > 0 {
		s, n, err := tx.conn.insertStmt(in, table, len(args)/len(columns))
		if err != nil {
			return 0, tx.fail(err)
		}
		n *= len(columns)
		named, err := tx.conn.bind(args[:n])
		if err != nil {
			return 0, tx.fail(err)
		}
		res, err := s.ExecContext(tx.limits(ctx), named)
		if err != nil {
			return 0, tx.fail(err)
		}
		rows, err := res.RowsAffected()
		if err != nil {
			return 0, tx.fail(err)
		}
		added += int(rows)
		args = args[n:]
	}
	return added, nil
}

func (c *conn) insertOf(verb, table string, columns []string) *insert {
	for _, in := range c.inserts[table] {
		if in.verb == verb && slices.Equal(in.columns, columns) {
			return in
		}
	}
	in := &insert{verb: verb, columns: slices.Clone(columns)}
	c.inserts[table] = append(c.inserts[table], in)
	return in
}

// insertStmt gives the statement that inserts the most of the rows, and how many.
func (c *conn) insertStmt(in *insert, table string, rows int) (s *stmt, n int, err error) {
	for i, n := range insertRows {
		if n > rows {
			continue
		}
		if in.stmts[i] == nil {
			in.stmts[i], err = c.prepareInsert(in.verb, table, in.columns, n)
		}
		return in.stmts[i], n, err
	}
	return nil, 0, errInsertArgs
}

func (c *conn) prepareInsert(verb, table string, columns []string, rows int) (*stmt, error) {
	for _, name := range append([]string{table}, columns...) {
		if !identifier.MatchString(name) {
			return nil, fmt.Errorf("%q is no name for a table or column", name)
		}
	}
	row := "(" + strings.Repeat(", ?", len(columns))[2:] + ")"
	return c.prepare(verb + table + " (" + strings.Join(columns, ", ") + ") VALUES " +
		strings.Repeat(", "+row, rows)[2:])
}

func (in *insert) close() {
	for _, s := range in.stmts {
		if s != nil {
			_ = s.Close()
		}
	}
}
