package sqldb

import (
	"fmt"
	"strings"
)

// setting is a PRAGMA that is set on each connection and read back.
type setting struct {
	name  string
	value string // as it is set
	want  string // as it reads back
}

// walPages is the length in pages that the write-ahead log may reach before a
// commit has to copy it into the database.
const walPages = 16384

// strict is what every connection must have; durability hangs on the first two.
// The page cache and the place of temporary tables are for speed alone. The log
// keeps its size after it was copied, for overwriting is quicker than growing.
var strict = []setting{
	{"busy_timeout", "1000", "1000"}, // first: the others may meet a lock
	{"journal_mode", "WAL", "wal"},
	{"synchronous", "FULL", "2"},
	{"foreign_keys", "ON", "1"},
	{"wal_autocheckpoint", "16384", "16384"},
	{"journal_size_limit", "134217728", "134217728"},
	{"temp_store", "MEMORY", "2"},
}

// writing and reading are what the two kinds of connections have besides.
var (
	writing = []setting{{"cache_size", "-65536", "-65536"}, {"query_only", "OFF", "0"}}
	reading = []setting{{"cache_size", "-16384", "-16384"}, {"query_only", "ON", "1"}}
)

// apply sets the settings and reads each back, after all of them were set.
func (c *conn) apply(settings []setting) error {
	for _, s := range settings {
		if _, err := c.pragma(s.name + "=" + s.value); err != nil {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	return c.verify(settings)
}

// verify refuses a connection on which a setting is not what was asked for.
func (c *conn) verify(settings []setting) error {
	for _, s := range settings {
		got, err := c.pragma(s.name)
		if err != nil {
			return fmt.Errorf("read %s: %w", s.name, err)
		}
		if !strings.EqualFold(got, s.want) {
			return fmt.Errorf("the database connection is not strict: %s is %s, must be %s", s.name, got, s.want)
		}
	}
	return nil
}
