package load

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// uuid is a client message identifier in raw form: UUIDv7, RFC 9562 section 5.7.
type uuid [16]byte

func newUUID() uuid {
	var u uuid
	binary.BigEndian.PutUint64(u[:8], uint64(time.Now().UnixMilli())<<16)
	_, _ = rand.Read(u[6:]) // never fails: see crypto/rand
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	return u
}

const uuidLen = 36

// appendTo appends the 36 characters of the usual form.
func (u uuid) appendTo(b []byte) []byte {
	b = append(hex.AppendEncode(b, u[:4]), '-')
	b = append(hex.AppendEncode(b, u[4:6]), '-')
	b = append(hex.AppendEncode(b, u[6:8]), '-')
	b = append(hex.AppendEncode(b, u[8:10]), '-')
	return hex.AppendEncode(b, u[10:])
}

func (u uuid) String() string { return string(u.appendTo(nil)) }

// parseUUID reads the usual form; ok is false for everything else, upper case too.
func parseUUID(s []byte) (u uuid, ok bool) {
	if len(s) != uuidLen {
		return u, false
	}
	n, high := 0, true
	for i, c := range s {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return u, false
			}
			continue
		}
		var v byte
		switch {
		case c >= '0' && c <= '9':
			v = c - '0'
		case c >= 'a' && c <= 'f':
			v = c - 'a' + 10
		default:
			return u, false
		}
		if high {
			u[n] = v << 4
		} else {
			u[n] |= v
			n++
		}
		high = !high
	}
	return u, true
}
