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
	fresh   bool // leaves out rows which a unique index has already
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
