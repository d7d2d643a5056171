package sqldb

import (
	"context"
	"slices"
	"strings"
)

// insertRows is how many rows one statement inserts: as many as fit.
var insertRows = [...]int{128, 16, 4, 1}

// insert is the prepared statements that fill a table.
type insert struct {
	fresh   bool
	columns []string
	stmts   [len(insertRows)]*stmt // prepared when first used
}

func (c *conn) insert(ctx context.Context, rows rowsOf, args []any) (added int64, err error) {
	in := c.insertOf(rows)
	for len(args) > 0 {
		s, n, err := c.insertStmt(in, rows, len(args)/len(rows.columns))
		if err != nil {
			return 0, err
		}
		n *= len(rows.columns)
		named, err := c.bind(args[:n])
		if err != nil {
			return 0, err
		}
		res, err := s.ExecContext(ctx, named)
		if err != nil {
			return 0, err
		}
		count, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		added += count
		args = args[n:]
	}
	return added, nil
}

func (c *conn) insertOf(rows rowsOf) *insert {
	for _, in := range c.inserts[rows.table] {
		if in.fresh == rows.fresh && slices.Equal(in.columns, rows.columns) {
			return in
		}
	}
	in := &insert{fresh: rows.fresh, columns: slices.Clone(rows.columns)}
	c.inserts[rows.table] = append(c.inserts[rows.table], in)
	return in
}

// insertStmt gives the statement that inserts the most of the rows, and how many.
func (c *conn) insertStmt(in *insert, to rowsOf, rows int) (s *stmt, n int, err error) {
	for i, n := range insertRows {
		if n > rows {
			continue
		}
		if in.stmts[i] == nil {
			in.stmts[i], err = c.prepareInsert(to, n)
		}
		return in.stmts[i], n, err
	}
	return nil, 0, errInsertArgs
}

func (c *conn) prepareInsert(to rowsOf, rows int) (*stmt, error) {
	if err := to.check(); err != nil {
		return nil, err
	}
	verb := "INSERT INTO "
	if to.fresh {
		verb = "INSERT OR IGNORE INTO "
	}
	row := "(" + strings.Repeat(", ?", len(to.columns))[2:] + ")"
	return c.prepare(verb + to.table + " (" + strings.Join(to.columns, ", ") + ") VALUES " +
		strings.Repeat(", "+row, rows)[2:])
}

func (in *insert) close() {
	for _, s := range in.stmts {
		if s != nil {
			_ = s.Close()
		}
	}
}
