package messaging

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/mutant"
)

// ids turns positions into message identifiers and back, and signs cursors.
// An identifier holds the time in the clear, as all identifiers do, and the
// position under a mask that depends on the time, so that it tells nobody how
// many messages there are.
type ids struct {
	block cipher.Block
	sign  []byte
}

func newIDs(mask string) (*ids, error) {
	seed, err := hex.DecodeString(mask)
	if err != nil || len(seed) != 32 {
		return nil, errors.New("the store's mask is malformed")
	}
	block, err := aes.NewCipher(seed[:16])
	if err != nil {
		return nil, fmt.Errorf("mask: %w", err)
	}
	return &ids{block, seed[16:]}, nil
}

// id is the identifier of the message at pos, made at that millisecond.
func (m *ids) id(pos int64, created time.Time) string {
	var tail [10]byte
	binary.BigEndian.PutUint64(tail[2:], uint64(pos))
	m.mask(&tail, created)
	return id.Make(created, tail)
}

// pos finds the position again; ok is false for what id never made.
func (m *ids) pos(s string) (pos int64, created time.Time, ok bool) {
	created, tail, ok := id.Split(s)
	if !ok {
		return 0, created, false
	}
	m.mask(&tail, created)
	pos = int64(binary.BigEndian.Uint64(tail[2:]))
	return pos, created, tail[0] == 0 && tail[1] == 0 && pos > 0
}

func (m *ids) mask(tail *[10]byte, created time.Time) {
	var block [16]byte
	binary.BigEndian.PutUint64(block[:], uint64(created.UnixMilli()))
	m.block.Encrypt(block[:], block[:])
	for i := range tail {
		tail[i] ^= block[i]
	}
}

// cursor makes the opaque cursor of one list of one user.
func (m *ids) cursor(user, list string, at int64) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at))
	b = append(b, m.mac(user, list, b)...)
	return strings.ToUpper(hex.EncodeToString(b))
}

var errCursor = fault.OnField(fault.CodeBadCursor, "cursor", "must be a next_cursor of this list")

// parseCursor accepts only what cursor made for the same user and list.
func (m *ids) parseCursor(user, list, s string) (int64, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 || strings.ToUpper(s) != s {
		return 0, errCursor
	}
	if !hmac.Equal(b[8:], m.mac(user, list, b[:8])) {
		return 0, errCursor
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func (m *ids) mac(user, list string, b []byte) []byte {
	h := hmac.New(sha256.New, m.sign)
	h.Write([]byte(user + "\x00" + list + "\x00"))
	h.Write(b)
	return h.Sum(nil)[:8]
}

// fingerprint tells two requests apart that use the same identifier.
func fingerprint(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// deviceHash stands for a user's device in the dedupe index. Two devices with
// the same hash would still have to use the same client_msg_id to get in each
// other's way, and the second would then be refused, not mixed up.
func deviceHash(user, device string) int64 {
	if mutant.DedupePerNode {
		device += strconv.Itoa(os.Getpid())
	}
	sum := sha256.Sum256([]byte(user + "\x00" + device))
	return int64(binary.BigEndian.Uint64(sum[:]))
}
