package messaging

import (
	"bytes"
	"context"
	"testing"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// stuck is a fan-out that takes nothing.
type stuck struct{ err error }

func (s stuck) Publish(context.Context, []bus.Envelope) error { return s.err }

func (s stuck) Subscribe(string, func(context.Context, []bus.Envelope)) func() { return func() {} }

// TestAnOutageHasNoLineForEachHint: the fan-out says once that it is down.
func TestAnOutageHasNoLineForEachHint(t *testing.T) {
	for code, lines := range map[fault.Code]int{fault.CodeUnavailable: 0, fault.CodeTooLarge: 3} {
		var out bytes.Buffer
		o, err := obs.New(obs.Config{Out: &out})
		if err != nil {
			t.Fatal(err)
		}
		s := &Service{obs: o, log: o.Log(obs.Messaging), fanout: stuck{fault.New(code, "no")}}
		for range 3 {
			s.publish(cause(), "K", hint{Frame: []byte(`{}`)})
		}
		if got := bytes.Count(out.Bytes(), []byte("\n")); got != lines {
			t.Errorf("%v: %d lines, want %d: %s", code, got, lines, out.String())
		}
	}
}
