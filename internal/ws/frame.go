package ws

import (
	"encoding/binary"
	"time"
	"unicode/utf8"
)

// FrameKind says how much a frame matters.
type FrameKind uint8

// The kinds of frames.
const (
	Message   FrameKind = iota // a message to a recipient: reported when written or unsent
	Control                    // an answer or an event that must arrive
	Ephemeral                  // dropped first when a socket does not keep up

	// What follows is the edge's own and never leaves it.
	kindPing
	kindPong
	kindClose
)

// opcodes of RFC 6455, 5.2.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
)

const finBit = 0x80

// Frame is a complete text frame as it goes over the wire. It never changes, so
// that one Frame can be queued on any number of sockets.
type Frame struct {
	wire     []byte
	accepted time.Time
	head     uint8 // bytes of the header
	kind     FrameKind
}

// NewFrame encodes a text frame around a copy of payload. accepted is when the
// server accepted what the frame tells; zero if that does not matter.
func NewFrame(payload []byte, kind FrameKind, accepted time.Time) *Frame {
	f := newFrame(opText, payload)
	f.kind, f.accepted = kind, accepted
	return f
}

// HeadRoom is how many bytes [FrameOf] needs for a header.
const HeadRoom = 10

// FrameOf is [NewFrame] for a payload that follows HeadRoom bytes of any content. It
// copies nothing: b is the frame's from then on.
func FrameOf(b []byte, kind FrameKind, accepted time.Time) *Frame {
	var head [HeadRoom]byte
	h := appendHeader(head[:0], opText, len(b)-HeadRoom, 0)
	wire := b[HeadRoom-len(h):]
	copy(wire, h)
	return &Frame{wire: wire, head: uint8(len(h)), kind: kind, accepted: accepted}
}

// Payload is the frame's payload; it must not be changed.
func (f *Frame) Payload() []byte { return f.wire[f.head:] }

// Accepted is the time that was given to [NewFrame].
func (f *Frame) Accepted() time.Time { return f.accepted }

// Kind is the kind that was given to [NewFrame].
func (f *Frame) Kind() FrameKind { return f.kind }

// Len is the number of bytes on the wire.
func (f *Frame) Len() int { return len(f.wire) }

func newFrame(op byte, payload []byte) *Frame {
	var head [10]byte
	h := appendHeader(head[:0], op, len(payload), 0)
	wire := make([]byte, len(h)+len(payload))
	copy(wire[copy(wire, h):], payload)
	return &Frame{wire: wire, head: uint8(len(h))}
}

// appendHeader writes the header of a final frame of n bytes. mask is 0x80 for
// frames from a client, whose masking bytes follow.
func appendHeader(b []byte, op byte, n int, mask byte) []byte {
	b = append(b, finBit|op)
	switch {
	case n < 126:
		return append(b, mask|byte(n))
	case n < 1<<16:
		return append(b, mask|126, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
}

func pingFrame() *Frame {
	f := newFrame(opPing, nil)
	f.kind = kindPing
	return f
}

func pongFrame(payload []byte) *Frame {
	f := newFrame(opPong, payload)
	f.kind = kindPong
	return f
}

// maxCloseText is what a control frame leaves for the text of a close.
const maxCloseText = 123

// closeFrame makes a close frame; code 0 makes one without a code.
func closeFrame(code uint16, text string) *Frame {
	var payload []byte
	if code != 0 {
		payload = append(binary.BigEndian.AppendUint16(payload, code), clip(text)...)
	}
	f := newFrame(opClose, payload)
	f.kind = kindClose
	return f
}

// clip shortens a text to what fits in a close frame, at the border of a rune.
func clip(s string) string {
	if len(s) <= maxCloseText {
		return s
	}
	n := maxCloseText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
