package sqldb

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// pgSetting is set for a session and read back.
type pgSetting struct {
	name, value string
}

// oldestServer is the least version, as the server writes it in numbers.
const oldestServer = 150000

// settings are what every session has. A node that stops in the middle of a
// transaction holds its locks for all others, until the server ends its
// session; so the times are short.
func (e *postgres) settings() []pgSetting {
	list := []pgSetting{
		{"search_path", `"` + e.schema + `"`},
		{"client_encoding", "UTF8"},
		{"standard_conforming_strings", "on"},
		{"default_transaction_isolation", "read committed"},
		{"statement_timeout", "700ms"},
		{"lock_timeout", "650ms"},
		{"idle_in_transaction_session_timeout", "500ms"},
		{"enable_seqscan", "off"}, // a plan made while a table is small is kept while it grows
		{"jit", "off"},            // what is left without an index looks dear then
	}
	if !strings.HasPrefix(e.config.Host, "/") { // which has no TCP
		list = append(list, pgSetting{"tcp_user_timeout", "900"})
	}
	return list
}

// slowSettings gives the time that an index of a large table takes, but waits for
// a lock no longer than others can wait behind it.
func (e *postgres) slowSettings() []pgSetting {
	list := e.settings()
	for i, s := range list {
		switch s.name {
		case "statement_timeout":
			list[i].value = "0"
		case "idle_in_transaction_session_timeout":
			list[i].value = "1min"
		}
	}
	return list
}

// durable are the settings on which it hangs that a commit survives, with the
// values that will do.
var durable = []struct {
	name string
	good []string
}{
	{"fsync", []string{"on"}},
	{"full_page_writes", []string{"on"}},
	{"synchronous_commit", []string{"on", "remote_apply", "remote_write"}},
	{"data_sync_retry", []string{"off"}},
}

// apply sets the settings and, in a later transaction, reads them back with
// those that are the server's own. It gives the process id of the session.
func (e *postgres) apply(l *link, settings []pgSetting) (pid string, err error) {
	set, get := []string{"pg_backend_pid()"}, []string{"pg_backend_pid()"}
	for _, s := range settings {
		set = append(set, fmt.Sprintf("set_config('%s', '%s', false)", s.name, s.value))
		get = append(get, "current_setting('"+s.name+"')")
	}
	// What a session sets for itself, no reload of the server's files weakens.
	set = append(set, "set_config('synchronous_commit', current_setting('synchronous_commit'), false)")
	for _, d := range durable {
		get = append(get, "current_setting('"+d.name+"')")
	}
	get = append(get, "current_setting('server_version_num')", "current_setting('server_encoding')", "pg_is_in_recovery()::text", sqlHistory)
	first, err := row(l, "SELECT "+strings.Join(set, ", "))
	if err != nil {
		return "", err
	}
	second, err := row(l, "SELECT "+strings.Join(get, ", "))
	if err != nil {
		return "", err
	}
	if first[0] != second[0] {
		return "", errPooler
	}
	return first[0], e.judge(settings, second[1:])
}

// row gives the one row of a query.
func row(l *link, query string) ([]string, error) {
	rows, err := l.simple(query)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, errProtocol
	}
	return rows[0], nil
}

// judge refuses a session that is not as it should be.
func (e *postgres) judge(settings []pgSetting, got []string) error {
	n := len(settings)
	version, err := strconv.Atoi(got[n+len(durable)])
	if err != nil || version < oldestServer {
		return &misfit{text: fmt.Sprintf("the server is PostgreSQL %d; it must be 15 or newer", version/10000)}
	}
	for i, s := range settings {
		if !strings.EqualFold(got[i], s.value) {
			return &misfit{text: fmt.Sprintf("the session keeps %s at %q instead of %q", s.name, got[i], s.value)}
		}
	}
	if err := e.judgeDurability(got[n:]); err != nil {
		return err
	}
	if encoding := got[n+len(durable)+1]; encoding != "UTF8" {
		return &misfit{text: fmt.Sprintf("the encoding of the database is %s; it must be UTF8", encoding)}
	}
	if got[n+len(durable)+2] == "true" {
		return errStandby
	}
	return e.judgeHistory(got[n+len(durable)+3])
}

// sqlHistory tells apart servers and, after a standby was promoted or an older
// state restored, what came of one.
const sqlHistory = `CASE WHEN pg_is_in_recovery() THEN '' ELSE
	(SELECT system_identifier::text FROM pg_control_system()) || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END`

// judgeHistory refuses another history of the database than the process began
// with: commits that it knows of, and positions, may not be in that one.
func (e *postgres) judgeHistory(now string) error {
	if e.history.CompareAndSwap(nil, &now) || *e.history.Load() == now {
		return nil
	}
	f := &failure{reason: obs.StoreUnreachable, engine: true, lost: true, text: "a promoted standby, or a restored database"}
	e.db.seal(f, "another history of the database answers")
	return f
}

// judgeDurability refuses what could lose a commit, and shows it.
func (e *postgres) judgeDurability(got []string) error {
	for i, d := range durable {
		if !slices.Contains(d.good, got[i]) {
			e.weak.Store(true)
			e.db.obs.Metrics.DurabilityStrict.Set(0)
			return &misfit{text: fmt.Sprintf("the server is less than strictly durable: %s is %s, must be %s",
				d.name, got[i], d.good[0])}
		}
	}
	if e.weak.Swap(false) {
		e.db.obs.Metrics.DurabilityStrict.Set(1)
	}
	return nil
}

// errStandby: a failover may be under way, so this may pass.
var errStandby = &failure{reason: obs.StoreUnreachable, engine: true, lost: true, retryable: true, text: "the server is a standby"}

// errPooler: a pooler that gives a session to another after each transaction
// loses settings, prepared statements and locks. One that gives a session on as
// somebody left it is no better.
var errPooler = &misfit{text: "between here and PostgreSQL a pooler changes sessions after each transaction, or does not reset them; connect directly, or pool by session and reset"}

// alone refuses such a pooler. Any pooler shows a process id of its own making;
// whether it keeps sessions apart, a second connection shows: while that is in
// a transaction, neither may be on the other's server process.
func (e *postgres) alone(l *link, pid string, until time.Time) error {
	if strconv.FormatUint(uint64(l.pid), 10) == pid || e.direct.Load() {
		return nil
	}
	other, err := e.raw(until)
	if err != nil {
		return err
	}
	defer func() { _ = other.close() }()
	theirs, err := row(other, "BEGIN; SELECT pg_backend_pid()")
	if err != nil {
		return err
	}
	ours, err := row(l, "SELECT pg_backend_pid()")
	if err != nil {
		return err
	}
	if theirs[0] == pid || ours[0] != pid {
		return errPooler
	}
	e.direct.Store(true)
	return nil
}
