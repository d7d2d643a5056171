package sqldb

import (
	"errors"
	"fmt"
	"regexp"
)

var identifier = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

var errInsertArgs = errors.New("the arguments of an insert must fill whole rows")

// rowsOf says where an insert puts its rows.
type rowsOf struct {
	table   string
	columns []string
	taken   taken
}

// taken is what comes of rows that a unique index has already.
type taken int

const (
	fails    taken = iota
	leftOut        // the others are added
	hardlyIs       // some of the others are added, or none
)

// check refuses names that would have to be quoted.
func (in rowsOf) check() error {
	for _, name := range append([]string{in.table}, in.columns...) {
		if !identifier.MatchString(name) {
			return fmt.Errorf("%q is no name for a table or column", name)
		}
	}
	return nil
}
