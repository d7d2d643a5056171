package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pgRowsStmts is the two prepared statements that put rows into a table, or change
// them: one row by values, any number by an array for each column, so that the text
// stays the same.
type pgRowsStmts struct {
	verb      verb
	columns   []string
	one, many *pgStmt
}

func (s *pgSession) insert(ctx context.Context, to rowsOf, args []any) (int64, error) {
	if len(args) == 0 {
		return 0, nil
	}
	release := s.watch(ctx)
	defer release()
	stmt, values, err := s.rowsCall(to, args)
	if err != nil {
		return 0, because(ctx, err)
	}
	rows, err := s.execute(stmt, values)
	if err != nil {
		return 0, because(ctx, err)
	}
	return rows.affected, nil
}

func (s *pgSession) insertLater(to rowsOf, args []any) error {
	if len(args) == 0 {
		return nil
	}
	stmt, values, err := s.rowsCall(to, args)
	if err != nil {
		return err
	}
	s.putOff(pgCall{stmt: stmt, redo: redoTaken}, values)
	return nil
}

func (s *pgSession) updateLater(to rowsOf, args []any) error {
	if len(args) == 0 {
		return nil
	}
	stmt, values, err := s.rowsCall(to, args)
	if err != nil {
		return err
	}
	s.putOff(pgCall{stmt: stmt, redo: redoMissed}, values)
	return nil
}

// rowsCall is the statement for so many rows, with its arguments in memory that
// the next call reuses.
func (s *pgSession) rowsCall(to rowsOf, args []any) (stmt *pgStmt, values [][]byte, err error) {
	in, err := s.stmtsOf(to)
	if err != nil {
		return nil, nil, err
	}
	if len(args) == len(to.columns) {
		values, err = s.arguments(in.one, args)
		return in.one, values, err
	}
	if stmt, err = s.many(in, to); err != nil {
		return nil, nil, err
	}
	values, err = s.columns(in.one.params, args)
	return stmt, values, err
}

// stmtsOf gives the statements. What the server says of the parameters of the
// first are the types of the columns.
func (s *pgSession) stmtsOf(to rowsOf) (*pgRowsStmts, error) {
	for _, in := range s.link.rows[to.table] {
		if in.verb == to.verb && slices.Equal(in.columns, to.columns) {
			return in, nil
		}
	}
	if err := to.check(); err != nil {
		return nil, err
	}
	places := make([]string, len(to.columns))
	for i := range places {
		places[i] = "$" + strconv.Itoa(i+1)
	}
	one, err := s.prepare(to.one(places), nil)
	if err != nil {
		return nil, err
	}
	in := &pgRowsStmts{verb: to.verb, columns: slices.Clone(to.columns), one: one}
	s.link.rows[to.table] = append(s.link.rows[to.table], in)
	return in, nil
}

func (s *pgSession) many(in *pgRowsStmts, to rowsOf) (*pgStmt, error) {
	if in.many != nil {
		return in.many, nil
	}
	types, places := make([]uint32, len(to.columns)), make([]string, len(to.columns))
	for i, t := range in.one.params {
		if types[i] = arrayOf(t); types[i] == 0 {
			return nil, fmt.Errorf("rows of type %d cannot be inserted together", t)
		}
		places[i] = "$" + strconv.Itoa(i+1)
	}
	many, err := s.prepare(to.many(places), types)
	if err != nil {
		return nil, err
	}
	many.formats = []int16{inBinary}
	in.many = many
	return many, nil
}

// one is the statement for one row, with the places of its values.
func (in rowsOf) one(places []string) string {
	if in.verb == update {
		return in.changes(func(i int) string { return places[i] }) + " WHERE " + in.columns[0] + " = " + places[0]
	}
	return in.inserts("VALUES (" + strings.Join(places, ", ") + ")")
}

// many is the statement for many rows, with the places of the columns' arrays.
func (in rowsOf) many(places []string) string {
	if in.verb == update {
		return in.changes(func(i int) string { return "new." + in.columns[i] }) +
			" FROM unnest(" + strings.Join(places, ", ") + ") AS new (" + strings.Join(in.columns, ", ") + ") WHERE " + in.table + "." + in.columns[0] + " = new." + in.columns[0]
	}
	// In the list the rows are not gathered first, as after FROM: an eighth cheaper.
	return in.inserts("SELECT unnest(" + strings.Join(places, "), unnest(") + ")")
}

func (in rowsOf) inserts(source string) string {
	text := "INSERT INTO " + in.table + " (" + strings.Join(in.columns, ", ") + ") " + source
	if in.verb == insertNew {
		text += " ON CONFLICT DO NOTHING"
	}
	return text
}

// columns makes an array of each column of the rows, in memory that the next
// call reuses.
func (s *pgSession) columns(types []uint32, args []any) ([][]byte, error) {
	for len(s.arrays) < len(types) {
		s.arrays = append(s.arrays, array{})
	}
	for i, t := range types {
		s.arrays[i].reset(t)
	}
	for i, a := range args {
		if err := s.arrays[i%len(types)].add(a); err != nil {
			return nil, fmt.Errorf("row %d, column %d: %w", i/len(types)+1, i%len(types)+1, err)
		}
	}
	s.values = s.values[:0]
	for i := range types {
		s.values = append(s.values, s.arrays[i].finish())
	}
	return s.values, nil
}
