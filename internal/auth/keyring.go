package auth

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/token"
)

const (
	purposeSign   = "sign"   // the seed of an Ed25519 key; the newest signs, all verify
	purposeDerive = "derive" // 32 bytes from which refresh proofs are derived
	deriveName    = "derive-1"
)

// keyring is what the service signs and derives with.
type keyring struct {
	issuer *token.Issuer
	derive []byte
	jwks   []byte
}

// sealedKey is a row of sealed_keys.
type sealedKey struct {
	name, purpose, sealed string
	created               int64
}

// openKeys opens the keys in the database; where there are none it makes them.
// Both happen in one transaction, so that two processes end up with the same.
func (s *Service) openKeys(ctx context.Context) error {
	box, raw, err := openSeal(s.deps.KeysDir)
	if err != nil {
		return err
	}
	s.hide(raw)
	var rows []sealedKey
	err = s.deps.DB.Read(ctx, "auth.signers", func(ctx context.Context, tx *sqldb.Tx) error {
		rows, err = readKeys(ctx, tx)
		return err
	})
	if err == nil && len(rows) == 0 {
		rows, err = s.makeKeys(ctx, box)
	}
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return s.useKeys(box, rows)
}

// hide keeps raw bytes out of the log, whatever anybody does with them.
func (s *Service) hide(raw []byte) { s.deps.Obs.Hide(obs.NewSecret(string(raw))) }

func (s *Service) makeKeys(ctx context.Context, box *seal) ([]sealedKey, error) {
	now, kid := time.Now().UnixMilli(), id.New()
	fresh := []sealedKey{
		{kid, purposeSign, box.close(kid, randomBytes(ed25519.SeedSize)), now},
		{deriveName, purposeDerive, box.close(deriveName, randomBytes(32)), now},
	}
	var rows []sealedKey
	err := s.deps.DB.Write(ctx, "auth.make_signers", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		if rows, err = readKeys(ctx, tx); err != nil || len(rows) > 0 {
			return err
		}
		var args []any
		for _, k := range fresh {
			args = append(args, k.name, k.purpose, k.sealed, k.created)
		}
		rows = fresh
		return tx.Insert(ctx, "sealed_keys", []string{"name", "purpose", "sealed", "created_ms"}, args)
	})
	return rows, err
}

func readKeys(ctx context.Context, tx *sqldb.Tx) ([]sealedKey, error) {
	rows, err := tx.Query(ctx, `SELECT name, purpose, sealed, created_ms FROM sealed_keys ORDER BY created_ms, name`)
	return collect(rows, err, func(rows *sqldb.Rows) (k sealedKey, err error) {
		return k, rows.Scan(&k.name, &k.purpose, &k.sealed, &k.created)
	})
}

// useKeys opens the rows, oldest first, and makes the keyring of them.
func (s *Service) useKeys(box *seal, rows []sealedKey) error {
	var ring keyring
	public := map[string]ed25519.PublicKey{}
	for _, row := range rows {
		raw, err := box.open(row.name, row.sealed)
		if err != nil {
			return err
		}
		s.hide(raw)
		if row.purpose == purposeDerive {
			ring.derive = raw
			continue
		}
		private := ed25519.NewKeyFromSeed(raw)
		ring.issuer = token.NewIssuer(row.name, private)
		public[row.name], _ = private.Public().(ed25519.PublicKey)
	}
	if ring.issuer == nil || ring.derive == nil {
		return fault.New(fault.CodeInternal, "the table sealed_keys is incomplete")
	}
	set := token.NewKeys()
	if err := set.Set(public); err != nil {
		return err
	}
	ring.jwks = set.JWKS()
	s.keys = ring
	return nil
}

// mac is the keyed hash of the parts, each behind a zero byte. At most one part
// of those that a caller gives can contain one, so that none runs into another.
func (r *keyring) mac(purpose string, parts ...string) []byte {
	h := hmac.New(sha256.New, r.derive)
	h.Write([]byte(purpose))
	for _, p := range parts {
		h.Write([]byte{0})
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// issue signs the access proof that ends when the session's row says.
func (r *keyring) issue(x session, now time.Time) (obs.Secret, error) {
	return r.issuer.Issue(token.Identity{UserID: x.account, SessionID: x.id, DeviceID: x.device, ExpiresAt: x.accessUntil}, now)
}
