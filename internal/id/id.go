package id

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// Len is the length of every identifier in characters.
const Len = 26

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// New makes an identifier of the present moment.
func New() string {
	var tail [10]byte
	_, _ = rand.Read(tail[:]) // never fails: see crypto/rand
	return Make(time.Now(), tail)
}

// Make makes the identifier of a moment and 80 bits.
func Make(at time.Time, tail [10]byte) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(at.UnixMilli())<<16)
	copy(b[6:], tail[:])
	return string(encode(b))
}

// Split takes an identifier apart again; ok is false if it is malformed.
func Split(s string) (at time.Time, tail [10]byte, ok bool) {
	b, ok := decode(s)
	if !ok {
		return time.Time{}, tail, false
	}
	copy(tail[:], b[6:])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:8]) >> 16)), tail, true
}

// Valid says whether s has the form of an identifier.
func Valid(s string) bool {
	_, ok := decode(s)
	return ok
}

// encode writes 128 bits as 26 characters of 5 bits, the first of which has 3.
func encode(b [16]byte) []byte {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	out := make([]byte, Len)
	for i := Len - 1; i >= 0; i-- {
		out[i] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return out
}

func decode(s string) (b [16]byte, ok bool) {
	if len(s) != Len || s[0] > '7' {
		return b, false
	}
	var hi, lo uint64
	for i := range Len {
		v := digits[s[i]]
		if v == bad {
			return b, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return b, true
}

const bad = 0xff

// digits maps a character to its value. Only what New writes is accepted:
// Crockford's lower case and look-alikes would give one thing two names.
var digits = func() (t [256]byte) {
	for i := range t {
		t[i] = bad
	}
	for i := range alphabet {
		t[alphabet[i]] = byte(i)
	}
	return t
}()
