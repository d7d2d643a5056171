package auth

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// SeedOptions says what [Seed] makes.
type SeedOptions struct {
	Users      int
	Prefix     string        // names are PREFIX-000001 and so on
	AccessLife time.Duration // of the access proofs; 24 hours if 0
}

// SeededUser is an account with a session, for a load test.
type SeededUser struct {
	UserID, Username, DisplayName string
	SessionID, DeviceID           string
	CreatedAt                     time.Time
	Access                        obs.Secret
}

const (
	seedDevice = "seed"
	seedBatch  = 500
)

// Seed makes accounts with one session each straight in the store, for load
// tests: nobody can log in to them, since they have no password. It gives each
// to write, in the order of their names, after its commit.
//
// It may run beside a running server. Run again with the same prefix it takes
// the accounts that are there, with new sessions in place of the old; a server
// that does not share its database notices that these have ended when its long
// poll ends, some seconds later. A name
// that a person registered is never taken: that is an error (conflict), and
// what was written before it stays. It publishes no events: the caller writes
// the profiles (user.Seed).
func Seed(ctx context.Context, d Deps, opt SeedOptions, write func(SeededUser) error) error {
	if opt.AccessLife == 0 {
		opt.AccessLife = 24 * time.Hour
	}
	in := registration{username: seedName(opt.Prefix, opt.Users), password: obs.NewSecret("not used, for no one")}
	if err := in.check(); err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	s, err := New(d)
	if err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	s.cfg.AccessLife = opt.AccessLife
	for first := 1; first <= opt.Users; first += seedBatch {
		users, err := s.seed(ctx, opt.Prefix, first, min(first+seedBatch-1, opt.Users))
		if err != nil {
			return err
		}
		for _, u := range users {
			if err := write(u); err != nil {
				return fmt.Errorf("seed: %w", err)
			}
		}
	}
	return nil
}

func seedName(prefix string, n int) string { return fmt.Sprintf("%s-%06d", prefix, n) }

// seed makes the accounts first to last in one transaction.
func (s *Service) seed(ctx context.Context, prefix string, first, last int) ([]SeededUser, error) {
	now := time.Now()
	var grants []*grant
	err := s.deps.DB.Write(ctx, "auth.seed", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		grants, err = s.seedRows(ctx, tx, prefix, first, last, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	users := make([]SeededUser, len(grants))
	for i, g := range grants {
		access, err := s.ring().issue(g.session, now)
		if err != nil {
			return nil, fmt.Errorf("seed: %w", err)
		}
		users[i] = SeededUser{
			UserID: g.account.id, Username: g.account.username, DisplayName: g.account.displayName,
			SessionID: g.session.id, DeviceID: g.session.device, CreatedAt: g.account.created, Access: access,
		}
	}
	return users, nil
}

func (s *Service) seedRows(ctx context.Context, tx *sqldb.Tx, prefix string, first, last int, now time.Time) ([]*grant, error) {
	have, err := seededAccounts(ctx, tx, seedName(prefix, first), seedName(prefix, last))
	if err != nil {
		return nil, err
	}
	var grants []*grant
	var accounts, sessions []any
	for n := first; n <= last; n++ {
		name := seedName(prefix, n)
		acct, ok := have[name]
		if !ok {
			acct = account{id: id.New(), username: name, displayName: name, verifier: noEntry, created: now}
			accounts = append(accounts, acct.id, acct.username, acct.displayName, acct.verifier, now.UnixMilli())
		} else if acct.verifier != noEntry {
			return nil, fault.Newf(fault.CodeConflict, "somebody registered the name %s: choose another prefix", name)
		}
		g := s.newSession(acct, seedDevice, now)
		grants = append(grants, g)
		sessions = append(sessions, g.session.args()...)
	}
	if err := s.endSeeded(ctx, tx, have, now); err != nil {
		return nil, err
	}
	if len(accounts) > 0 {
		if err := tx.Insert(ctx, "accounts", []string{"id", "username", "display_name", "verifier", "created_ms"}, accounts); err != nil {
			return nil, err
		}
	}
	return grants, tx.Insert(ctx, "sessions", sessionInsert, sessions)
}

// seededAccounts gives the accounts whose names lie between two, by name.
func seededAccounts(ctx context.Context, tx *sqldb.Tx, from, to string) (map[string]account, error) {
	rows, err := tx.Query(ctx, `SELECT `+accountColumns+` FROM accounts a WHERE a.username >= $1 AND a.username <= $2`, from, to)
	all, err := collect(rows, err, func(rows *sqldb.Rows) (a account, err error) { return a, a.scan(rows) })
	byName := make(map[string]account, len(all))
	for _, a := range all {
		byName[a.username] = a
	}
	return byName, err
}

// endSeeded ends the sessions that an earlier run made for these accounts.
func (s *Service) endSeeded(ctx context.Context, tx *sqldb.Tx, have map[string]account, now time.Time) error {
	if len(have) == 0 {
		return nil
	}
	var ids []any
	for _, a := range have {
		ids = append(ids, a.id)
	}
	rows, err := tx.Query(ctx, `SELECT `+sessionColumns+` FROM sessions s WHERE s.account_id IN `+sqldb.In(len(ids), 1), ids...)
	old, err := collect(rows, err, func(rows *sqldb.Rows) (x session, err error) { return x, x.scan(rows) })
	if err != nil {
		return err
	}
	return s.end(ctx, tx, old, now)
}
