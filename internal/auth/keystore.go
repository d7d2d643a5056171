package auth

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// openKeys opens the keys in the database; where there are none it makes them.
// Both happen in one transaction, so that all processes end up with the same.
func (s *Service) openKeys(ctx context.Context) error {
	box, err := openSeal(s.deps.Seal, s.deps.KeysDir)
	if err != nil {
		return err
	}
	s.hide(box.raw)
	if !s.deps.Seal.Empty() {
		s.deps.Obs.Hide(s.deps.Seal)
	}
	s.box = box
	rows, err := s.sealedKeys(ctx)
	if err == nil && len(rows) == 0 {
		rows, err = s.makeKeys(ctx)
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	err = s.useKeys(rows, time.Now())
	if errors.Is(err, errNoFit) {
		err = s.reseal(ctx, err)
	}
	return s.box.noFit(err)
}

// hide keeps raw bytes out of the log, whatever anybody does with them.
func (s *Service) hide(raw []byte) { s.deps.Obs.Hide(obs.NewSecret(string(raw))) }

func (s *Service) sealedKeys(ctx context.Context) (rows []sealedKey, err error) {
	err = s.deps.DB.Read(ctx, "auth.signers", func(ctx context.Context, tx *sqldb.Tx) error {
		rows, err = readKeys(ctx, tx)
		return err
	})
	return rows, err
}

func readKeys(ctx context.Context, tx *sqldb.Tx) ([]sealedKey, error) {
	rows, err := tx.Query(ctx, `SELECT name, purpose, sealed, created_ms FROM sealed_keys ORDER BY created_ms, name`)
	return collect(rows, err, func(rows *sqldb.Rows) (k sealedKey, err error) {
		return k, rows.Scan(&k.name, &k.purpose, &k.sealed, &k.created)
	})
}

func (s *Service) newKey(name, purpose string, size int, now time.Time) sealedKey {
	return sealedKey{name, purpose, s.box.close(purpose, name, randomBytes(size)), now.UnixMilli()}
}

// addKeys leaves what is there already as it is.
func addKeys(ctx context.Context, tx *sqldb.Tx, fresh ...sealedKey) error {
	var args []any
	for _, k := range fresh {
		args = append(args, k.name, k.purpose, k.sealed, k.created)
	}
	_, err := tx.InsertNew(ctx, "sealed_keys", []string{"name", "purpose", "sealed", "created_ms"}, args)
	return err
}

func (s *Service) makeKeys(ctx context.Context) (rows []sealedKey, err error) {
	now := time.Now()
	fresh := []sealedKey{s.newKey(id.New(), purposeSign, ed25519.SeedSize, now), s.newKey(deriveName, purposeDerive, 32, now)}
	err = s.deps.DB.Write(ctx, "auth.make_signers", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if rows, err = readKeys(ctx, tx); err != nil || len(rows) > 0 {
			return err // somebody else was first
		}
		if err = addKeys(ctx, tx, fresh...); err != nil {
			return err
		}
		rows, err = readKeys(ctx, tx)
		return err
	})
	return rows, err
}

// reseal closes all rows with the seal of the setting if the one of this
// machine's file opens them: so an installation whose seal was a file goes over
// to the setting, once. Otherwise it gives back what was wrong.
func (s *Service) reseal(ctx context.Context, wrong error) error {
	old, ok := oldSeal(s.deps.KeysDir)
	if s.box.file || !ok {
		return wrong
	}
	var rows []sealedKey
	err := s.deps.DB.Write(ctx, "auth.reseal", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if rows, err = readKeys(ctx, tx); err != nil {
			return err
		}
		for i := range rows {
			if _, err := s.box.open(rows[i]); err == nil {
				continue // another process has done it
			}
			raw, err := old.open(rows[i])
			if err != nil {
				return wrong
			}
			rows[i].sealed = s.box.close(rows[i].purpose, rows[i].name, raw)
			if _, err := tx.Exec(ctx, `UPDATE sealed_keys SET sealed = $1 WHERE name = $2`, rows[i].sealed, rows[i].name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.useKeys(rows, time.Now())
}

// useKeys makes the keyring of the rows, unless they make the one in use.
func (s *Service) useKeys(rows []sealedKey, now time.Time) error {
	if old := s.ring(); old != nil && old.still(rows, now) {
		same := *old
		same.readAt = now
		s.keys.Store(&same)
		return nil
	}
	ring, err := openRing(s.box, rows, now, s.hide)
	if err == nil {
		s.keys.Store(ring)
	}
	return err
}

// ring is what to sign and derive with now.
func (s *Service) ring() *keyring { return s.keys.Load() }

// tend keeps the keyring in step with the database and rotates in time.
func (s *Service) tend(ctx context.Context) {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := s.turnKeys(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.deps.Obs.Log(obs.Auth).LogAttrs(ctx, slog.LevelWarn, "what signs stays as it was: the rows cannot be read or changed", slog.String("op", "auth.signers"), obs.Cause(err))
		}
	}
}

// turnKeys takes over what other processes have changed, makes a new signing key
// if it is time, and removes those that are past.
func (s *Service) turnKeys(ctx context.Context, now time.Time) error {
	rows, err := s.sealedKeys(ctx)
	if err != nil {
		return err
	}
	signers := withPurpose(rows, purposeSign)
	if _, past := schedule(signers, now); past > 0 || due(signers, now) {
		if rows, err = s.rotateKeys(ctx, now); err != nil {
			return err
		}
	}
	return s.useKeys(rows, now)
}

// rotateKeys looks again: another process may have done it.
func (s *Service) rotateKeys(ctx context.Context, now time.Time) (rows []sealedKey, err error) {
	fresh := s.newKey(id.New(), purposeSign, ed25519.SeedSize, now)
	err = s.deps.DB.Write(ctx, "auth.rotate_signers", func(ctx context.Context, tx *sqldb.Tx) error {
		if rows, err = readKeys(ctx, tx); err != nil {
			return err
		}
		signers := withPurpose(rows, purposeSign)
		_, past := schedule(signers, now)
		for _, k := range signers[:past] {
			if _, err := tx.Exec(ctx, `DELETE FROM sealed_keys WHERE name = $1`, k.name); err != nil {
				return err
			}
		}
		if due(signers, now) {
			if err := addKeys(ctx, tx, fresh); err != nil {
				return err
			}
		}
		rows, err = readKeys(ctx, tx)
		return err
	})
	return rows, err
}

// freshKeys gives the public halves, read anew if another process may have
// changed them meanwhile: who asks may have met one that is unknown here.
func (s *Service) freshKeys(ctx context.Context) ([]byte, error) {
	if s.shared && s.reading.TryLock() {
		defer s.reading.Unlock()
		if now := time.Now(); now.Sub(s.ring().readAt) >= keysFresh {
			rows, err := s.sealedKeys(ctx)
			if err == nil {
				err = s.useKeys(rows, now)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return s.ring().jwks, nil
}
