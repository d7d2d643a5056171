package inbound

import (
	"testing"

	"github.com/go-json-experiment/json"
)

var sendSeeds = []string{
	`{"op":"send","id":"1","cid":"c","conversation_id":"K","client_msg_id":"m","body":"hello"}`,
	`{"op":"send","id":"1","body":"a\n\"b\" \u00e9 \ud83d\ude00"}`,
	`{"op":"send","body":"\u0000"}`, `{"op":"send","body":"\ud800"}`, `{"op":"send","body":"x","body":"y"}`,
	`{"op":"send","id":5}`, `{"op":"send","seq":1}`, `{"op":"send" ,"id":"1"}`, `{"op":"send"} `, `{"op":"send",}`,
	`{"op":"send","id":"\u0031"}`, `{"op":"send","body":"tab	inside"}`, `{}`, `{"op"}`, `{"op":"send","body":"\q"}`, `{"op":"send","body":"\`,
	"{\"op\":\"send\",\"body\":\"\xff\"}", `{"op":"send","OP":"x"}`, `{"op":null}`,
}

// compareScan checks that what scanSend accepts the decoder accepts as well,
// with the same result.
func compareScan(t *testing.T, payload []byte) {
	t.Helper()
	got, ok := scanSend(payload)
	if !ok {
		return
	}
	var want sendFrame
	if err := json.Unmarshal(payload, &want, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%q: scanned, but the decoder says %v", payload, err)
	}
	if got != want {
		t.Fatalf("%q: scanned %+v, the decoder reads %+v", payload, got, want)
	}
}

func TestScanSendAgreesWithTheDecoder(t *testing.T) {
	for _, s := range sendSeeds {
		compareScan(t, []byte(s))
	}
	for _, i := range []int{0, 1} {
		if _, ok := scanSend([]byte(sendSeeds[i])); !ok {
			t.Errorf("the usual form %s should be scanned", sendSeeds[i])
		}
	}
}

func FuzzScanSend(f *testing.F) {
	for _, s := range sendSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compareScan(t, b) })
}

func BenchmarkDecodeSend(b *testing.B) {
	frame := []byte(`{"op":"send","id":"17","conversation_id":"01M838WTVFKPG8VBG3JA84564B","client_msg_id":"019aaf5e-9a5b-7c3e-8a51-1f0c7c2e5b7d","body":"PB1:0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(frame, "upgrade", 7); err != nil {
			b.Fatal(err)
		}
	}
}
