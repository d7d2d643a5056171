package auth

import (
	"context"
	"errors"
	"time"

	"github.com/nova-chat/nova/internal/sqldb"
)

// account is a row of accounts.
type account struct {
	id, username, displayName string
	verifier                  string
	rev                       int64 // of the verifier
	created                   time.Time
}

const accountColumns = `a.id, a.username, a.display_name, a.verifier, a.verifier_rev, a.created_ms`

func (a *account) scan(row interface{ Scan(...any) error }, more ...any) error {
	var ms int64
	err := row.Scan(append([]any{&a.id, &a.username, &a.displayName, &a.verifier, &a.rev, &ms}, more...)...)
	a.created = time.UnixMilli(ms)
	return err
}

// collect reads all rows and closes them.
func collect[T any](rows *sqldb.Rows, err error, scan func(*sqldb.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// absent turns "no such row" into ok = false.
func absent(err error) (ok bool, _ error) {
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func accountNamed(ctx context.Context, tx *sqldb.Tx, username string) (a account, ok bool, err error) {
	ok, err = absent(a.scan(tx.QueryRow(ctx, `SELECT `+accountColumns+` FROM accounts a WHERE a.username = $1`, username)))
	return a, ok, err
}

func accountByID(ctx context.Context, tx *sqldb.Tx, id string) (a account, ok bool, err error) {
	ok, err = absent(a.scan(tx.QueryRow(ctx, `SELECT `+accountColumns+` FROM accounts a WHERE a.id = $1`, id)))
	return a, ok, err
}

// insertAccount says whether the name was free. It asks and inserts at once, so
// that of many at the same moment one is told yes.
func insertAccount(ctx context.Context, tx *sqldb.Tx, a account) (free bool, err error) {
	n, err := tx.Exec(ctx, `INSERT INTO accounts (id, username, display_name, verifier, created_ms)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (username) DO NOTHING`, a.id, a.username, a.displayName, a.verifier, a.created.UnixMilli())
	return n == 1, err
}

// session is a row of sessions.
type session struct {
	id, account, device    string
	refresh, previous      string // digests
	rotated, created, used time.Time
	accessUntil            time.Time
}

const sessionColumns = `s.id, s.account_id, s.device_id, s.refresh_hash, s.previous_hash, s.rotated_ms, s.created_ms, s.used_ms, s.access_until_ms`

func (s *session) scan(row interface{ Scan(...any) error }) error {
	var rotated, created, used, until int64
	err := row.Scan(&s.id, &s.account, &s.device, &s.refresh, &s.previous, &rotated, &created, &used, &until)
	s.rotated, s.created, s.used = time.UnixMilli(rotated), time.UnixMilli(created), time.UnixMilli(used)
	s.accessUntil = time.UnixMilli(until)
	return err
}

func (s *session) args() []any {
	return []any{s.id, s.account, s.device, s.refresh, s.previous, s.rotated.UnixMilli(), s.created.UnixMilli(), s.used.UnixMilli(), s.accessUntil.UnixMilli()}
}

var sessionInsert = []string{"id", "account_id", "device_id", "refresh_hash", "previous_hash", "rotated_ms", "created_ms", "used_ms", "access_until_ms"}

func sessionByID(ctx context.Context, tx *sqldb.Tx, id string) (s session, ok bool, err error) {
	ok, err = absent(s.scan(tx.QueryRow(ctx, `SELECT `+sessionColumns+` FROM sessions s WHERE s.id = $1`, id)))
	return s, ok, err
}

// sessionsOf lists an account's sessions, least recently used first.
func sessionsOf(ctx context.Context, tx *sqldb.Tx, account string) ([]session, error) {
	rows, err := tx.Query(ctx, `SELECT `+sessionColumns+` FROM sessions s WHERE s.account_id = $1 ORDER BY s.used_ms, s.id`, account)
	return collect(rows, err, func(rows *sqldb.Rows) (s session, err error) { return s, s.scan(rows) })
}

// insertRevocations gives each session the next position of the log.
func insertRevocations(ctx context.Context, tx *sqldb.Tx, ended []session, until func(session) time.Time) error {
	var last int64
	if err := tx.QueryRow(ctx, `UPDATE revocation_counter SET last = last + $1 WHERE one = 1 RETURNING last`, len(ended)).Scan(&last); err != nil {
		return err
	}
	var args []any
	for i, s := range ended {
		args = append(args, last-int64(len(ended)-1-i), s.id, until(s).UnixMilli())
	}
	return tx.Insert(ctx, "revocations", []string{"pos", "session_id", "until_ms"}, args)
}

func deleteSessions(ctx context.Context, tx *sqldb.Tx, ended []session) error {
	args := make([]any, len(ended))
	for i, s := range ended {
		args[i] = s.id
	}
	_, err := tx.Exec(ctx, `DELETE FROM sessions WHERE id IN `+sqldb.In(len(args), 1), args...)
	return err
}
