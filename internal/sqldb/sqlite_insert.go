package sqldb

import (
	"context"
	"slices"
	"strings"
)

// rowsOnce is how many rows one statement takes: as many as fit.
var rowsOnce = [...]int{128, 16, 4, 1}

// rowsStmts is the prepared statements that put rows into a table, or change them.
type rowsStmts struct {
	verb    verb
	columns []string
	stmts   [len(rowsOnce)]*stmt // prepared when first used
}

func (c *conn) insert(ctx context.Context, rows rowsOf, args []any) (added int64, err error) {
	in := c.stmtsOf(rows)
	for len(args) > 0 {
		s, n, err := c.stmtFor(in, rows, len(args)/len(rows.columns))
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

func (c *conn) stmtsOf(rows rowsOf) *rowsStmts {
	for _, in := range c.rows[rows.table] {
		if in.verb == rows.verb && slices.Equal(in.columns, rows.columns) {
			return in
		}
	}
	in := &rowsStmts{verb: rows.verb, columns: slices.Clone(rows.columns)}
	c.rows[rows.table] = append(c.rows[rows.table], in)
	return in
}

// stmtFor gives the statement that takes the most of the rows, and how many.
func (c *conn) stmtFor(in *rowsStmts, to rowsOf, rows int) (s *stmt, n int, err error) {
	for i, n := range rowsOnce {
		if n > rows {
			continue
		}
		if in.stmts[i] == nil {
			in.stmts[i], err = c.prepareRows(to, n)
		}
		return in.stmts[i], n, err
	}
	return nil, 0, errInsertArgs
}

func (c *conn) prepareRows(to rowsOf, rows int) (*stmt, error) {
	if err := to.check(); err != nil {
		return nil, err
	}
	columns := " (" + strings.Join(to.columns, ", ") + ") "
	values := "VALUES " + strings.Repeat(", ("+strings.Repeat(", ?", len(to.columns))[2:]+")", rows)[2:]
	switch to.verb {
	case insertNew:
		return c.prepare("INSERT OR IGNORE INTO " + to.table + columns + values)
	case update:
		return c.prepare("WITH new" + columns + "AS (" + values + ") " +
			to.changes(func(i int) string { return "new." + to.columns[i] }) +
			" FROM new WHERE " + to.table + "." + to.columns[0] + " = new." + to.columns[0])
	default:
		return c.prepare("INSERT INTO " + to.table + columns + values)
	}
}

func (in *rowsStmts) close() {
	for _, s := range in.stmts {
		if s != nil {
			_ = s.Close()
		}
	}
}
