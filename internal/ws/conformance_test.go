package ws

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/obs"
)

// exchange is a row of the conformance table: what the client sends after the
// upgrade, and all that the server sends until the connection ends.
type exchange struct {
	name string
	send [][]byte
	want []got
	why  obs.CloseReason
}

const bye = "bye"

// ended adds a close frame to what is sent, and its echo to what is wanted, so
// that rows that end in order need not say so.
func ended(name string, send [][]byte, want ...got) exchange {
	body := closeBody(1000, bye)
	return exchange{name, append(send, fr(opClose, body)), append(want, got{opClose, closeBody(1000, "")}), obs.CloseClient}
}

func failed(name string, why obs.CloseReason, send ...[]byte) exchange {
	v := verdictOf(why)
	return exchange{name, send, []got{{opClose, closeBody(v.code, v.text)}}, why}
}

func in(b ...[]byte) [][]byte { return b }

func echo(s string) got { return got{opText, s} }

func basics() []exchange {
	var all []exchange
	for _, n := range []int{0, 1, 125, 126, 127, 128, 1000, 4096, 16383, 16384, 16385, 65535, 65536} {
		s := strings.Repeat("x", n)
		all = append(all, ended(fmt.Sprintf("text of %d bytes", n), in(fr(opText, s)), echo(s)))
	}
	for _, n := range []int{0, 1, 124, 125} {
		s := strings.Repeat("p", n)
		all = append(all, ended(fmt.Sprintf("ping of %d bytes", n), in(fr(opPing, s)), got{opPong, s}))
	}
	return append(all,
		ended("pong that nobody asked for", in(fr(opPong, "x"), fr(opText, "a")), echo("a")),
		ended("two messages in one segment", in(fr(opText, "a"), fr(opText, "b")), echo("a"), echo("b")),
		ended("ping with bytes that are no text", in(fr(opPing, "\x00\xff\xfe")), got{opPong, "\x00\xff\xfe"}),
	)
}

func framing() []exchange {
	all := []exchange{
		failed("unmasked text", obs.CloseProtocol, newFrame(opText, []byte("a")).wire),
		failed("unmasked ping", obs.CloseProtocol, newFrame(opPing, nil).wire),
		failed("unmasked close", obs.CloseProtocol, newFrame(opClose, nil).wire),
		failed("unmasked, first two bytes only", obs.CloseProtocol, []byte{0x81, 0x05}),
		failed("binary", obs.CloseBinary, fr(opBinary, "a")),
		failed("binary, first byte only", obs.CloseBinary, []byte{0x82}),
		failed("fragmented binary", obs.CloseBinary, part(opBinary, "a"), fr(opContinue, "b")),
		failed("ping of 126 bytes", obs.CloseProtocol, fr(opPing, strings.Repeat("x", 126))),
		failed("pong of 126 bytes", obs.CloseProtocol, fr(opPong, strings.Repeat("x", 126))),
		failed("close of 126 bytes", obs.CloseProtocol, fr(opClose, closeBody(1000, strings.Repeat("x", 124)))),
		failed("ping with a 64-bit length", obs.CloseProtocol, []byte{0x89, 0xff}),
		failed("16-bit length that is too long for 125", obs.CloseProtocol, []byte{0x81, 0xfe, 0, 125, 1, 2, 3, 4}),
		failed("16-bit length of 0", obs.CloseProtocol, []byte{0x81, 0xfe, 0, 0}),
		failed("64-bit length of 65535", obs.CloseProtocol, []byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff}),
		failed("64-bit length of 1", obs.CloseProtocol, []byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1}),
		failed("64-bit length with the top bit", obs.CloseProtocol, []byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}),
		failed("the top bit alone", obs.CloseProtocol, []byte{0x81, 0xff, 0x80}),
	}
	for bit, name := range map[byte]string{0x40: "RSV1", 0x20: "RSV2", 0x10: "RSV3", 0x70: "all RSV"} {
		all = append(all,
			failed(name+" on text", obs.CloseProtocol, flip(fr(opText, "a"), bit)),
			failed(name+" on ping", obs.CloseProtocol, flip(fr(opPing, "a"), bit)))
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF} {
		all = append(all, failed(fmt.Sprintf("reserved opcode %X", op), obs.CloseProtocol, fr(op, "a")))
	}
	return all
}

func fragmentation() []exchange {
	many := func(n int) [][]byte {
		all := in(part(opText, "x"))
		for range n - 2 {
			all = append(all, part(opContinue, "x"))
		}
		return append(all, fr(opContinue, "x"))
	}
	tooMany := many(maxFragments + 1)
	return []exchange{
		ended("two fragments", in(part(opText, "a"), fr(opContinue, "b")), echo("ab")),
		ended("three fragments, the middle one empty", in(part(opText, "a"), part(opContinue, ""), fr(opContinue, "b")), echo("ab")),
		ended("fragments that are all empty", in(part(opText, ""), part(opContinue, ""), fr(opContinue, "")), echo("")),
		ended("a ping between fragments", in(part(opText, "a"), fr(opPing, "p"), fr(opContinue, "b")), got{opPong, "p"}, echo("ab")),
		ended("a pong between fragments", in(part(opText, "a"), fr(opPong, ""), fr(opContinue, "b")), echo("ab")),
		ended("a second fragmented message", in(part(opText, "a"), fr(opContinue, "b"), part(opText, "c"), fr(opContinue, "d")), echo("ab"), echo("cd")),
		ended("as many fragments as allowed", many(maxFragments), echo(strings.Repeat("x", maxFragments))),
		{"close between fragments", in(part(opText, "a"), fr(opClose, "")), []got{{opClose, ""}}, obs.CloseClient},
		failed("one fragment more than allowed", obs.CloseTooBig, tooMany...),
		failed("continuation first", obs.CloseProtocol, fr(opContinue, "a")),
		failed("continuation first, not final", obs.CloseProtocol, part(opContinue, "a")),
		{
			"continuation after a whole message", in(part(opText, "a"), fr(opContinue, "b"), fr(opContinue, "c")),
			[]got{echo("ab"), {opClose, closeBody(1002, "protocol error")}},
			obs.CloseProtocol,
		},
		failed("new text inside of a fragmented message", obs.CloseProtocol, part(opText, "a"), fr(opText, "b")),
		failed("new fragmented text inside of one", obs.CloseProtocol, part(opText, "a"), part(opText, "b")),
		failed("fragmented ping", obs.CloseProtocol, part(opPing, "a")),
		failed("fragmented pong", obs.CloseProtocol, part(opPong, "a")),
		failed("fragmented close", obs.CloseProtocol, part(opClose, "")),
	}
}

func texts() []exchange {
	all := []exchange{
		ended("a rune across fragments", in(part(opText, "\xe2\x82"), fr(opContinue, "\xac")), echo("€")),
		ended("a rune in four fragments", in(part(opText, "\xf0"), part(opContinue, "\x9f"), part(opContinue, "\x98"), fr(opContinue, "\x80")), echo("😀")),
		ended("U+0000 and U+10FFFF", in(fr(opText, "\x00\U0010ffff")), echo("\x00\U0010ffff")),
		ended("a noncharacter", in(fr(opText, "\uffff")), echo("\uffff")),
		failed("not complete at the end", obs.CloseUTF8, part(opText, "a"), fr(opContinue, "\xe2\x82")),
		failed("wrong in the first fragment, the last never comes", obs.CloseUTF8, part(opText, "\xff")),
		failed("wrong second byte across fragments", obs.CloseUTF8, part(opText, "\xe2"), part(opContinue, "\x28")),
		failed("above U+10FFFF as soon as the second byte tells", obs.CloseUTF8, part(opText, "\xf4\x90")),
		failed("surrogate across fragments", obs.CloseUTF8, part(opText, "\xed"), part(opContinue, "\xa0")),
	}
	for name, s := range map[string]string{
		"continuation byte alone": "\x80", "0xFF": "a\xff", "0xC0": "\xc0\x80", "overlong slash": "\xc0\xaf", "overlong of 3": "\xe0\x80\xaf",
		"surrogate": "\xed\xa0\x80", "too high": "\xf4\x90\x80\x80", "5 bytes": "\xf8\x88\x80\x80\x80", "cut": "\xce\xba\xe1", "deep in ASCII": strings.Repeat("a", 300) + "\xfe",
	} {
		all = append(all, failed("bad UTF-8: "+name, obs.CloseUTF8, fr(opText, s)))
	}
	return all
}

func closes() []exchange {
	all := []exchange{
		{"close without a body", in(fr(opClose, "")), []got{{opClose, ""}}, obs.CloseClient},
		{"text of 123 bytes", in(fr(opClose, closeBody(1000, strings.Repeat("x", 123)))), []got{{opClose, closeBody(1000, "")}}, obs.CloseClient},
		{"frames after a close are not looked at", in(fr(opClose, closeBody(1000, "")), fr(opText, "late"), fr(opPing, "late")), []got{{opClose, closeBody(1000, "")}}, obs.CloseClient},
		{"a second close is not answered", in(fr(opClose, ""), fr(opClose, "")), []got{{opClose, ""}}, obs.CloseClient},
		{"what came before is answered first", in(fr(opText, "a"), fr(opClose, "")), []got{echo("a"), {opClose, ""}}, obs.CloseClient},
		failed("close of one byte", obs.CloseProtocol, fr(opClose, "\x03")),
		failed("close text that is not UTF-8", obs.CloseUTF8, fr(opClose, closeBody(1000, "\xff"))),
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		all = append(all, exchange{fmt.Sprint("close code ", code), in(fr(opClose, closeBody(code, ""))), []got{{opClose, closeBody(code, "")}}, obs.CloseClient})
	}
	for _, code := range []uint16{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		all = append(all, failed(fmt.Sprint("close code ", code), obs.CloseProtocol, fr(opClose, closeBody(code, ""))))
	}
	return all
}

func sizes() []exchange {
	big := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, n) }
	half := strings.Repeat("x", 40000)
	return []exchange{
		failed("one byte too many, announced", obs.CloseTooBig, big(64<<10+1)),
		failed("one byte too many, sent", obs.CloseTooBig, fr(opText, strings.Repeat("x", 64<<10+1))),
		failed("2^62 bytes announced", obs.CloseTooBig, big(1<<62)),
		failed("2^63-1 bytes announced", obs.CloseTooBig, big(1<<63-1)),
		failed("too big in two fragments", obs.CloseTooBig, part(opText, half), part(opContinue, half)),
		failed("too big in two fragments, the second only announced", obs.CloseTooBig, part(opText, half), fr(opContinue, half)[:4]),
		ended("just not too big in two fragments", in(part(opText, half), fr(opContinue, half[:64<<10-40000])), echo(strings.Repeat("x", 64<<10))),
	}
}

// TestConformance plays every row three times: in one segment with the upgrade
// request, in one segment after it, and byte by byte where that is bearable.
func TestConformance(t *testing.T) {
	b := newBench(t, Config{CloseWait: 5 * time.Second})
	for group, rows := range map[string][]exchange{
		"basic": basics(), "framing": framing(), "fragmentation": fragmentation(), "text": texts(), "close": closes(), "size": sizes(),
	} {
		for _, row := range rows {
			all := concat(row.send...)
			t.Run(group+"/"+row.name, func(t *testing.T) {
				b.t = t
				judge(t, b, row, b.raw(all))
				p := b.raw()
				p.send(all)
				judge(t, b, row, p)
				if len(all) < 2000 {
					p := b.raw()
					for i := range all {
						p.send(all[i : i+1])
					}
					judge(t, b, row, p)
				}
			})
		}
	}
	b.t = t
}

func judge(t *testing.T, b *bench, row exchange, p *peer) {
	t.Helper()
	if diff := cmp.Diff(row.want, p.transcript(), cmp.AllowUnexported(got{})); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	_ = p.nc.Close()
	b.wantEnd(row.why)
}
