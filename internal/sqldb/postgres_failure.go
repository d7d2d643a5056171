package sqldb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-chat/nova/internal/obs"
)

// judgePostgres reads the server's SQLSTATE. What the server says is kept only
// where the statement itself is wrong: other texts hold values.
func judgePostgres(e *pgconn.PgError) *failure {
	f := &failure{reason: obs.StoreUnknown, state: e.Code}
	switch class := e.Code[:min(2, len(e.Code))]; class {
	case "23":
		f.reason, f.unique, f.absent, f.null = obs.StoreConstraint, e.Code == "23505", e.Code == "23503", e.Code == "23502"
	case "42":
		f.text = e.Message
	case "40": // serialization failure, deadlock, unknown outcome
		f.reason, f.engine, f.retryable = obs.StoreBusy, true, e.Code != "40003"
	case "53":
		f.reason, f.engine = obs.StoreUnreachable, true
		if e.Code == "53100" {
			f.reason = obs.StoreFull
		}
	case "08", "57", "58":
		f.reason, f.engine, f.lost, f.retryable = obs.StoreUnreachable, true, true, true
	case "XX":
		f.reason, f.engine, f.lost = obs.StoreCorrupt, true, true
	}
	f.judgeState()
	if e.Code == "0A000" { // something that PostgreSQL cannot do, or tables that changed under a statement
		f.text = e.Message
		if e.Routine == "RevalidateCachedQuery" {
			f.reason, f.engine, f.lost, f.retryable = obs.StoreUnreachable, true, true, true
		}
	}
	return f
}

// judgeState knows the numbers that are unlike the rest of their class.
func (f *failure) judgeState() {
	switch f.state {
	case "55P03": // a lock was not to be had in time
		f.reason, f.engine, f.retryable = obs.StoreBusy, true, true
	case "57014": // the time of the statement is over
		f.reason, f.engine, f.lost, f.retryable = obs.StoreTimeout, true, false, false
	case "25P02", "25P03", // the transaction is over already
		"26000": // a prepared statement is gone
		f.reason, f.engine, f.lost, f.retryable = obs.StoreUnreachable, true, true, true
	}
}

// misfit is a server that must not be used, or an address that names none. It
// stays so until somebody changes something. The text names no address.
type misfit struct{ text, setting string }

// Error is part of error.
func (m *misfit) Error() string { return fmt.Sprintf("the setting %q: %s", m.setting, m.text) }

// WrongSetting says which setting to change, and why.
func (m *misfit) WrongSetting() (setting, detail string) { return m.setting, m.text }

// blame completes a misfit with the setting that the address came from.
func (db *DB) blame(err error) error {
	if m, ok := errors.AsType[*misfit](err); ok && m.setting == "" {
		return &misfit{m.text, db.setting}
	}
	return err
}

// definite are the refusals of a login that no waiting changes.
var definite = map[string]string{
	"28000": "PostgreSQL refuses the login (user, host or encryption: see its pg_hba.conf)",
	"28P01": "PostgreSQL refuses the login (user or its proof)",
	"3D000": "the database does not exist",
	"42501": "PostgreSQL allows too little to this user",
	"42704": "PostgreSQL does not know one of the options in the address",
	"22023": "PostgreSQL refuses one of the options in the address",
	"08P01": "what answers does not speak the protocol as PostgreSQL does; a pooler must be left out",
}

// unable says why no connection came about: a misfit, or a failure that may be
// over the next time.
func unable(err error) error {
	if e, ok := errors.AsType[*misfit](err); ok {
		return e
	}
	f, judged := errors.AsType[*failure](err)
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && !judged {
		f, judged = judgePostgres(e), true
	}
	if judged {
		if text := definite[f.state]; text != "" {
			return &misfit{text: text + " [" + f.state + "]"}
		}
		own := *f // others may look at it
		own.reason, own.engine, own.lost, own.retryable = obs.StoreUnreachable, true, true, true
		return &own
	}
	if untrusted(err) {
		return &misfit{text: "the connection cannot be encrypted as asked (sslmode, sslrootcert, name of the host)"}
	}
	return away(err)
}

// away is that no server answers, or not in time. What an error of the network
// says may hold addresses, so it goes no further.
func away(err error) *failure {
	cut := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err)
	return &failure{reason: obs.StoreUnreachable, engine: true, lost: true, retryable: true, cut: cut}
}

// untrusted says whether the server's certificate is why.
func untrusted(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	return strings.Contains(err.Error(), "server refused TLS connection")
}
