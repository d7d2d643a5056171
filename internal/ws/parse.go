package ws

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/nova-chat/nova/internal/obs"
)

// header is the fixed part of a client's frame.
type header struct {
	fin  bool
	op   byte
	size int    // bytes of the header, masking bytes included; 0 = not all there yet
	n    uint64 // bytes of the payload; 0 if not known yet
	mask uint32
}

// parseFirst reads the first byte of a frame and refuses what no frame begins with.
func parseFirst(b byte) (h header, ok bool) {
	h.fin, h.op = b&finBit != 0, b&0x0f
	reserved := b&0x70 != 0 || h.op > opPong || h.op > opBinary && h.op < opClose
	return h, !reserved && (h.fin || h.op < opClose)
}

// parseRest reads as much of the rest of a header as there is, and refuses what
// is wrong as soon as the byte that is wrong has come.
func parseRest(h header, b []byte) (header, bool) {
	if len(b) < 2 {
		return h, true
	}
	short := b[1] & 0x7f
	if b[1]&0x80 == 0 || h.op >= opClose && short > 125 {
		return h, false
	}
	return parseLength(h, b, short)
}

func parseLength(h header, b []byte, short byte) (header, bool) {
	size := 6
	switch {
	case short < 126:
		h.n = uint64(short)
	case short == 126:
		if size = 8; len(b) < 4 {
			return h, true
		}
		if h.n = uint64(binary.BigEndian.Uint16(b[2:])); h.n < 126 {
			return h, false
		}
	default:
		if size = 14; len(b) < 10 {
			return h, len(b) < 3 || b[2]&0x80 == 0
		}
		if h.n = binary.BigEndian.Uint64(b[2:]); h.n>>63 != 0 || h.n < 1<<16 {
			return h, false
		}
	}
	if len(b) >= size {
		h.size, h.mask = size, binary.LittleEndian.Uint32(b[size-4:])
	}
	return h, true
}

// unmask changes p in place; 32 bytes at a time is what the compiler makes most of.
func unmask(p []byte, mask uint32) {
	m := uint64(mask) | uint64(mask)<<32
	for len(p) >= 32 {
		q := p[:32:32]
		binary.LittleEndian.PutUint64(q, binary.LittleEndian.Uint64(q)^m)
		binary.LittleEndian.PutUint64(q[8:], binary.LittleEndian.Uint64(q[8:])^m)
		binary.LittleEndian.PutUint64(q[16:], binary.LittleEndian.Uint64(q[16:])^m)
		binary.LittleEndian.PutUint64(q[24:], binary.LittleEndian.Uint64(q[24:])^m)
		p = p[32:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^m)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(mask >> (8 * uint(i&3)))
	}
}

// validSoFar says whether b is the beginning of UTF-8 text, and how much of it
// need not be looked at again: all but a rune at the end that is not complete.
func validSoFar(b []byte) (n int, ok bool) {
	n = len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				n -= i
			}
			break
		}
	}
	return n, utf8.Valid(b[:n])
}

// closePayload checks the payload of a close frame (RFC 6455, 5.5.1).
func closePayload(p []byte) (code uint16, why obs.CloseReason, ok bool) {
	switch {
	case len(p) == 0:
		return 0, 0, true
	case len(p) == 1:
		return 0, obs.CloseProtocol, false
	}
	code = binary.BigEndian.Uint16(p)
	if !validCode(code) {
		return 0, obs.CloseProtocol, false
	}
	if !utf8.Valid(p[2:]) {
		return 0, obs.CloseUTF8, false
	}
	return code, 0, true
}
