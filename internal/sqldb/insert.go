package sqldb

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

var errInsertArgs = errors.New("the arguments of an insert must fill whole rows")

// verb is what is done with rows.
type verb uint8

const (
	insertAll verb = iota
	insertNew      // leaves out rows which a unique index has already
	update         // changes the rows that have the value of the first column, see [Tx.UpdateLater]
)

// was stands in an update before the columns that are set.
const was = "was"

// rowsOf says what is done with rows, and where.
type rowsOf struct {
	verb    verb
	table   string
	columns []string
}

// changes is what an update does to a row, with values that value gives.
func (in rowsOf) changes(value func(column int) string) string {
	set := make([]string, 0, len(in.columns))
	for i, name := range in.columns[2:] {
		set = append(set, name+" = "+value(i+2))
	}
	first, own := in.columns[2], in.table+"."+in.columns[2]
	set[0] = first + " = CASE WHEN " + own + " = " + value(1) + " THEN " + value(2) + " ELSE NULLIF(" + own + ", " + own + ") END"
	return "UPDATE " + in.table + " SET " + strings.Join(set, ", ")
}

// check refuses names that would have to be quoted.
func (in rowsOf) check() error {
	for _, name := range append([]string{in.table}, in.columns...) {
		if !identifier.MatchString(name) {
			return fmt.Errorf("%q is no name for a table or column", name)
		}
	}
	return nil
}
