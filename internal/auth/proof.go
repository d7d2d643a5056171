package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
)

// refreshProof is what a device keeps to get the next access proof. On the wire
// it is SESSION~BASE64URL(nonce, tag). The tag is a keyed hash over the session
// and the nonce: it tells a proof that was once given out, however long ago,
// from one that never was, without a row for each. The tilde keeps it from
// passing as a correlation ID.
type refreshProof struct {
	session string
	nonce   string // 32 bytes
}

const (
	nonceLen = 32
	tagLen   = 16
	proofLen = id.Len + 1 + (nonceLen+tagLen)/3*4
)

// newRefresh makes the first proof of a session.
func newRefresh(session string) refreshProof {
	return refreshProof{session, string(randomBytes(nonceLen))}
}

// successor is the proof that replaces p. Every node derives the same one.
func (r *keyring) successor(p refreshProof) refreshProof {
	return refreshProof{p.session, string(r.mac("successor", p.session, p.nonce))}
}

func (r *keyring) tag(p refreshProof) []byte { return r.mac("tag", p.session, p.nonce)[:tagLen] }

func (r *keyring) write(p refreshProof) obs.Secret {
	body := append([]byte(p.nonce), r.tag(p)...)
	return obs.NewSecret(p.session + "~" + base64.RawURLEncoding.EncodeToString(body))
}

// read takes a proof apart; ok is false if this server never gave it out.
func (r *keyring) read(s obs.Secret) (p refreshProof, ok bool) {
	raw := s.Reveal()
	session, rest, found := strings.Cut(raw, "~")
	if len(raw) != proofLen || !found || !id.Valid(session) {
		return p, false
	}
	body, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil || len(body) != nonceLen+tagLen {
		return p, false
	}
	p = refreshProof{session, string(body[:nonceLen])}
	return p, hmac.Equal(body[nonceLen:], r.tag(p))
}

// digest is what is stored of a proof or ticket.
func digest(s obs.Secret) string {
	sum := sha256.Sum256([]byte(s.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newTicket makes a one-time ticket: 256 bits behind a tilde.
func newTicket() obs.Secret {
	return obs.NewSecret("t~" + base64.RawURLEncoding.EncodeToString(randomBytes(32)))
}
