package auth

import (
	"context"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
)

// changePassword replaces the caller's password and ends all other sessions.
// The present one is proved as at a login, failures counted alike, so that a
// found device cannot be used to guess it.
func (s *Service) changePassword(ctx context.Context, who token.Identity, old, fresh obs.Secret) error {
	var bad problems
	bad.password("old", old, 1)
	bad.password("new", fresh, minPassword)
	if err := bad.err(); err != nil {
		return err
	}
	acct, ok, err := s.account(ctx, who.UserID)
	if err != nil {
		return err
	}
	if !ok {
		return refused()
	}
	in := attempt{op: "auth.change_verifier", username: acct.username, device: who.DeviceID, password: old}
	if _, err := s.prove(ctx, &in); err != nil {
		return err
	}
	verifier, err := s.hasher.hash(ctx, fresh, always)
	if err != nil {
		return err
	}
	return s.storePassword(ctx, who, &in, verifier)
}

func (s *Service) account(ctx context.Context, id string) (a account, ok bool, err error) {
	err = s.deps.DB.Read(ctx, "auth.account", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		a, ok, err = accountByID(ctx, tx, id)
		return err
	})
	return a, ok, err
}

func (s *Service) storePassword(ctx context.Context, who token.Identity, in *attempt, verifier string) error {
	var ended []session
	ctx, cancel := finish(ctx)
	defer cancel()
	err := s.deps.DB.Write(ctx, in.op, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE accounts SET verifier = $1, verifier_rev = verifier_rev + 1 WHERE id = $2 AND verifier_rev = $3`,
			verifier, in.account.id, in.account.rev)
		if err != nil {
			return err
		}
		if n == 0 {
			return refused() // changed by somebody else meanwhile
		}
		if err := pardon(ctx, tx, in.mac); err != nil {
			return err
		}
		have, err := sessionsOf(ctx, tx, in.account.id)
		if err != nil {
			return err
		}
		ended = slices.DeleteFunc(have, func(x session) bool { return x.id == who.SessionID })
		return s.end(ctx, tx, ended, time.Now())
	})
	if err == nil {
		s.tell(ctx, ended)
	}
	return err
}
