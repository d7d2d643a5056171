package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pgInsert is the two prepared statements that fill a table: one row by values,
// any number by an array for each column, so that the text stays the same.
type pgInsert struct {
	fresh     bool
	columns   []string
	one, many *pgStmt
}

func (s *pgSession) insert(ctx context.Context, to rowsOf, args []any) (int64, error) {
	if len(args) == 0 {
		return 0, nil
	}
	release := s.watch(ctx)
	defer release()
	call, err := s.insertCall(to, args)
	if err != nil {
		return 0, because(ctx, err)
	}
	rows, err := s.execute(call.stmt, call.values)
	if err != nil {
		return 0, because(ctx, err)
	}
	return rows.affected, nil
}

func (s *pgSession) insertLater(to rowsOf, args []any) error {
	if len(args) == 0 {
		return nil
	}
	if s.held {
		if err := s.sendAhead(); err != nil {
			return err
		}
	}
	call, err := s.insertCall(to, args)
	if err != nil {
		return err
	}
	call.insert = true
	s.putOff(call)
	s.arrays, s.spare, s.held = s.spare, s.arrays, true
	return nil
}

// insertCall is the statement for so many rows, with its arguments in memory that
// the next call reuses.
func (s *pgSession) insertCall(to rowsOf, args []any) (c pgCall, err error) {
	in, err := s.insertOf(to)
	if err != nil {
		return c, err
	}
	if c.stmt = in.one; len(args) == len(to.columns) {
		c.values, err = s.arguments(in.one, args)
	} else if c.stmt, err = s.many(in, to); err == nil {
		c.values, err = s.columns(in.one.params, args)
	}
	return c, err
}

// insertOf gives the statements. What the server says of the parameters of the
// first are the types of the columns.
func (s *pgSession) insertOf(to rowsOf) (*pgInsert, error) {
	for _, in := range s.link.inserts[to.table] {
		if in.fresh == to.fresh && slices.Equal(in.columns, to.columns) {
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
	one, err := s.prepare(to.text("VALUES ("+strings.Join(places, ", ")+")"), nil)
	if err != nil {
		return nil, err
	}
	in := &pgInsert{fresh: to.fresh, columns: slices.Clone(to.columns), one: one}
	s.link.inserts[to.table] = append(s.link.inserts[to.table], in)
	return in, nil
}

func (s *pgSession) many(in *pgInsert, to rowsOf) (*pgStmt, error) {
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
	many, err := s.prepare(to.text("SELECT * FROM unnest("+strings.Join(places, ", ")+")"), types)
	if err != nil {
		return nil, err
	}
	many.formats = []int16{inBinary}
	in.many = many
	return many, nil
}

// text is the statement with its source.
func (in rowsOf) text(source string) string {
	text := "INSERT INTO " + in.table + " (" + strings.Join(in.columns, ", ") + ") " + source
	if in.fresh {
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
