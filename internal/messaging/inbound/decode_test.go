package inbound

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

const someID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

var frameSeeds = []string{
	`{"op":"hello","id":"1"}`, `{"op":"hello","id":"1","ticket":"t~x","resume":{"epoch":"E","conversations":{"` + someID + `":2}}}`,
	`{"op":"hello","resume":null}`, `{"op":"hello","resume":{"epoch":"E","more":1}}`, `{"op":"hello","resume":{"epoch":"E","conversations":{"a":1,"a":2}}}`,
	`{"op":"send","id":"2","cid":"c","conversation_id":"` + someID + `","client_msg_id":"m","body":"b"}`,
	`{"op":"send","conversation_id":5,"id":"7"}`, `{"op":"send","id":"7","conversation_id":"x","body":"\ud800"}`, `{"op":"send","body":"\u0000"}`,
	`{"op":"send","id":"1","op":"ping"}`, `{"id":"2","op":"send"}`, ` {"op" : "ping" , "id" : "1" } `,
	`{"op":"ack","conversation_id":"` + someID + `","seq":9223372036854775807}`, `{"op":"ack","conversation_id":"` + someID + `","seq":1.5}`,
	`{"op":"read","id":"3","conversation_id":"` + someID + `","seq":-1}`, `{"op":"read","conversation_id":"` + someID + `"}`,
	`{"op":"typing","conversation_id":"` + someID + `","on":true}`, `{"op":"typing","conversation_id":"../..","on":false}`,
	`{"op":"ping"}`, `{"op":"ping","id":"` + strings.Repeat("7", 65) + `"}`, `{"op":"ping","cid":"a b"}`, `{"op":"presence","id":"1"}`, `{"op":5,"id":"7","cid":"c"}`,
	`{"op":"ping","OP":"x"}`, `{"op":"ping","x":` + strings.Repeat("[", 9999) + strings.Repeat("]", 9999) + `}`, `{"op":"ping","x":` + strings.Repeat("[", 20_000),
	``, ` `, `null`, `[]`, `"op"`, `{`, `{}`, `{"op"}`, `{"op":}`, `{"op":"ping"} {}`, `{"op":5} {}`, `{"op":5,"id":"7"`, "\ufeff{}", "{\"op\":\"\xff\"}",
}

// codes are all that decode may refuse with.
var frameCodes = map[fault.Code]bool{
	fault.CodeBadFrame: true, fault.CodeUnknownOp: true, fault.CodeUnknownField: true,
	fault.CodeBadID: true, fault.CodeInvalid: true, fault.CodeTooLong: true,
}

// judge holds what decode says about a frame against an oracle: the frame read
// as an object of anything.
func judge(t *testing.T, payload []byte) {
	t.Helper()
	const upgrade, n = obs.Correlation("upgrade"), 7
	before := string(payload)
	in, err := Decode(payload, upgrade, n)
	if string(payload) != before {
		t.Fatalf("%q: the payload was changed to %q", before, payload)
	}
	var members map[string]jsontext.Value
	object := json.Unmarshal(payload, &members) == nil && members != nil
	if !object && err == nil {
		t.Fatalf("%q is no object and was accepted", payload)
	}
	if err != nil {
		if f, ok := errors.AsType[*fault.Error](err); !ok || !frameCodes[f.Code] {
			t.Fatalf("%q: %v", payload, err)
		}
		if object && errors.Is(err, ErrNoObject) {
			t.Fatalf("%q is an object and closes the socket", payload)
		}
	}
	if object {
		wantEcho(t, payload, &in, members, upgrade.Child(n))
	}
	if err == nil {
		wantFieldsKept(t, payload, &in, members)
	}
}

// wantEcho wants the id and the cid of the frame, wherever they stand and
// whatever else is wrong.
func wantEcho(t *testing.T, payload []byte, in *Frame, members map[string]jsontext.Value, child obs.Correlation) {
	t.Helper()
	id, cid := text(members["id"]), child
	if c, ok := obs.ParseCorrelation(text(members["cid"])); ok {
		cid = c
	}
	if len(id) > maxFrameID {
		id = "" // it is not repeated, it is at fault
	}
	if in.ID != id || in.CID != cid {
		t.Fatalf("%q: id %q and cid %q, want %q and %q", payload, in.ID, in.CID, id, cid)
	}
}

func text(v jsontext.Value) (s string) {
	if v.Kind() == jsontext.KindString {
		_ = json.Unmarshal(v, &s) // it was read as part of the object
	}
	return s
}

// wantFieldsKept reads the accepted fields by another way and compares them.
func wantFieldsKept(t *testing.T, payload []byte, in *Frame, members map[string]jsontext.Value) {
	t.Helper()
	var seq int64
	var on bool
	_ = json.Unmarshal(members["seq"], &seq)
	_ = json.Unmarshal(members["on"], &on)
	got := []any{in.Op.String(), in.ConversationID, in.ClientMsgID, in.Body, in.Ticket, in.Seq, in.On}
	want := []any{text(members["op"]), text(members["conversation_id"]), text(members["client_msg_id"]), text(members["body"]), text(members["ticket"]), seq, on}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%q (-want +got):\n%s", payload, diff)
	}
	if raw, ok := members["resume"]; ok && raw.Kind() == jsontext.KindBeginObject {
		var r Resume
		if err := json.Unmarshal(raw, &r, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%q: resume was accepted: %v", payload, err)
		}
		if diff := cmp.Diff(&r, in.Resume); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", payload, diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range frameSeeds {
		if len(s) < 1<<10 { // the deep ones are for TestFrames: making them smaller takes the fuzzer's time
			f.Add([]byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) <= 64<<10 {
			judge(t, payload)
		}
	})
}

func TestFrames(t *testing.T) {
	for _, s := range frameSeeds {
		judge(t, []byte(s))
	}
}

func TestWhatClosesASocket(t *testing.T) {
	for _, c := range []struct {
		payload string
		want    error // nil: some other refusal
	}{
		{``, ErrNoObject},
		{`[]`, ErrNoObject},
		{`{"op":`, ErrNoObject},
		{`{"op":"ping"} x`, ErrNoObject},
		{`{"op":5,"id":"7"`, ErrNoObject},
		{`{"op":"send","conversation_id":5`, ErrNoObject},
		{"{\"op\":\"dance\",\"x\":\"\xff\"}", ErrNoObject},
		{`{"op":5,"id":"7"}`, nil},
		{`{"op":"ping","id":"7","id":"8"}`, nil},
		{`{"op":"dance"}`, nil},
	} {
		_, err := Decode([]byte(c.payload), "u", 1)
		if err == nil || errors.Is(err, ErrNoObject) != errors.Is(c.want, ErrNoObject) {
			t.Errorf("%s: %v", c.payload, err)
		}
	}
}

// TestRefusalsRepeatNothing: the text of an error may name a field, and nothing
// that a client wrote beside it.
func TestRefusalsRepeatNothing(t *testing.T) {
	const canary = "c4n4ry value"
	for _, payload := range []string{
		`{"op":"` + canary + `"}`, `{"op":"send","conversation_id":["` + canary + `"]}`, `{"op":"ping","` + canary + `":1}`, `{"op":"ping","x":"` + canary + `"}`,
		`{"op":"read","conversation_id":"` + canary + `","seq":1}`, `{"op":"hello","resume":"` + canary + `"}`, `{"op":"ping","` + canary + `":1,"` + canary + `":1}`,
	} {
		_, err := Decode([]byte(payload), "u", 1)
		if err == nil || strings.Contains(err.Error(), canary) || strings.Contains(fault.From(err).Detail, canary) {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestAllocationsOfARefusedFrame(t *testing.T) {
	payload := []byte(`{"op":"dance","id":"7"}`)
	got := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _ = Decode(payload, "upgrade", 7)
		}
	})
	if n := got.AllocedBytesPerOp(); n > 4<<10 {
		t.Errorf("a refused frame allocates %d bytes, at most 4096 are allowed", n)
	}
}
