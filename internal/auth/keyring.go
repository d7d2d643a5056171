package auth

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/token"
)

const (
	purposeSign   = "sign"   // the seed of an Ed25519 key; one signs, all verify
	purposeDerive = "derive" // 32 bytes from which refresh proofs are derived
	deriveName    = "derive-1"
)

const (
	keysEvery   = time.Minute         // how often a process looks for what others have changed
	keysFresh   = 2 * time.Second     // whoever asks for the public halves sooner gets the same
	rotateEvery = 30 * 24 * time.Hour // a new one is made then

	// overlap is how long a new one is published before it signs, so that
	// everybody who verifies knows it by then. It covers clocks that differ.
	overlap = 10 * time.Minute

	// keepAfter is how long one is published after it signed for the last time:
	// as long as the longest proof lives, and until the slowest process has
	// noticed that it was the last.
	keepAfter = token.MaxLife + overlap
)

// sealedKey is a row of sealed_keys.
type sealedKey struct {
	name, purpose, sealed string
	created               int64 // milliseconds
}

func (k sealedKey) at() time.Time { return time.UnixMilli(k.created) }

// schedule says, of the rows that can sign, oldest first, which one signs at a
// moment and how many at the front are past: nothing that they signed is alive.
func schedule(signers []sealedKey, now time.Time) (signs, past int) {
	for i := 1; i < len(signers); i++ {
		begins := signers[i].at().Add(overlap)
		if !begins.After(now) {
			signs = i
		}
		if !begins.Add(keepAfter).After(now) {
			past = i
		}
	}
	return signs, past
}

// due says whether it is time for a new one.
func due(signers []sealedKey, now time.Time) bool {
	return len(signers) == 0 || !signers[len(signers)-1].at().Add(rotateEvery).After(now)
}

func withPurpose(rows []sealedKey, purpose string) (out []sealedKey) {
	for _, k := range rows {
		if k.purpose == purpose {
			out = append(out, k)
		}
	}
	return out
}

// keyring is what the service signs and derives with at a moment. It never
// changes; a new one takes its place.
type keyring struct {
	issuer *token.Issuer
	signs  string // name of the one that signs
	public map[string]ed25519.PublicKey
	derive []byte
	jwks   []byte
	rows   []sealedKey // of which it was made
	readAt time.Time   // when they were read
}

// still says whether the rows would make the same keyring now.
func (r *keyring) still(rows []sealedKey, now time.Time) bool {
	if !slices.Equal(rows, r.rows) {
		return false
	}
	signers := withPurpose(rows, purposeSign) // not empty: a keyring was made of them
	signs, past := schedule(signers, now)
	return signers[signs].name == r.signs && len(signers)-past == len(r.public)
}

// openRing opens the rows, oldest first; hide is told each value.
func openRing(box *seal, rows []sealedKey, now time.Time, hide func([]byte)) (*keyring, error) {
	ring := &keyring{public: map[string]ed25519.PublicKey{}, rows: rows, readAt: now}
	signers := withPurpose(rows, purposeSign)
	signs, past := schedule(signers, now)
	for i, row := range signers[past:] {
		raw, err := box.open(row)
		if err != nil {
			return nil, err
		}
		hide(raw)
		private := ed25519.NewKeyFromSeed(raw)
		ring.public[row.name], _ = private.Public().(ed25519.PublicKey)
		if past+i == signs {
			ring.issuer, ring.signs = token.NewIssuer(row.name, private), row.name
		}
	}
	for _, row := range withPurpose(rows, purposeDerive) {
		raw, err := box.open(row)
		if err != nil {
			return nil, err
		}
		hide(raw)
		ring.derive = raw
	}
	if ring.issuer == nil || ring.derive == nil {
		return nil, fault.New(fault.CodeInternal, "what signs and derives is incomplete in the database")
	}
	set := token.NewKeys()
	if err := set.Set(ring.public); err != nil {
		return nil, err
	}
	ring.jwks = set.JWKS()
	return ring, nil
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
