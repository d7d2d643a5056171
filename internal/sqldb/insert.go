package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// insertRows is how many rows one statement inserts. More rows in one
// statement gained nothing that could be measured.
const insertRows = 8

var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

var errInsertArgs = errors.New("the arguments of an insert must fill whole rows")

// insert is the two prepared statements that fill a table.
type insert struct {
	columns   []string
	one, many *stmt
}

// Insert adds rows to a table: args holds the columns of the first row, then
// of the second, and so on.
func (tx *Tx) Insert(ctx context.Context, table string, columns []string, args []any) error {
	if tx.failed != nil {
		return tx.failed
	}
	if err := tx.ctx.Err(); err != nil {
		return tx.fail(err)
	}
	if len(columns) == 0 || len(args)%len(columns) != 0 {
		return tx.fail(errInsertArgs)
	}
	in, err := tx.conn.insertOf(table, columns)
	if err != nil {
		return tx.fail(err)
	}
	for len(args) > 0 {
		s, n := in.one, len(columns)
		if len(args) >= insertRows*n {
			s, n = in.many, insertRows*n
		}
		named, err := tx.conn.bind(args[:n])
		if err != nil {
			return tx.fail(err)
		}
		if _, err := s.ExecContext(tx.limits(ctx), named); err != nil {
			return tx.fail(err)
		}
		args = args[n:]
	}
	return nil
}

func (c *conn) insertOf(table string, columns []string) (*insert, error) {
	for _, in := range c.inserts[table] {
		if slices.Equal(in.columns, columns) {
			return in, nil
		}
	}
	in := &insert{columns: slices.Clone(columns)}
	var err error
	if in.one, err = c.prepareInsert(table, columns, 1); err != nil {
		return nil, err
	}
	if in.many, err = c.prepareInsert(table, columns, insertRows); err != nil {
		return nil, errors.Join(err, in.one.Close())
	}
	c.inserts[table] = append(c.inserts[table], in)
	return in, nil
}

func (c *conn) prepareInsert(table string, columns []string, rows int) (*stmt, error) {
	for _, name := range append([]string{table}, columns...) {
		if !identifier.MatchString(name) {
			return nil, fmt.Errorf("%q is no name for a table or column", name)
		}
	}
	row := "(" + strings.Repeat(", ?", len(columns))[2:] + ")"
	return c.prepare("INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " +
		strings.Repeat(", "+row, rows)[2:])
}

func (in *insert) close() {
	for _, s := range []driver.Stmt{in.one, in.many} {
		_ = s.Close()
	}
}
