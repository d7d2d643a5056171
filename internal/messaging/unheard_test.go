package messaging

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/messaging/inbound"
	"github.com/nova-chat/nova/internal/ws"
)

// TestNobodyTellsWhichSessionsEnded: then there are no new sockets, and after
// 30 s no old ones.
func TestNobodyTellsWhichSessionsEnded(t *testing.T) {
	r := single(t)
	so, c := r.connect(somebody("laptop"))
	if !so.admit() {
		t.Fatal("not admitted")
	}
	late, lateClient := r.connect(somebody("phone"))
	heard := func(ago time.Duration) {
		r.s.revocations.Heard(time.Now().Add(-ago))
		r.s.revocations.Unheard()
	}
	heard(maxSilence - 5*time.Second)
	_, err := ws.Dial(t.Context(), "ws"+strings.TrimPrefix(r.http.URL, "http")+"/api/v1/ws", ws.DialOptions{})
	if refused, ok := errors.AsType[*ws.RefusedError](err); !ok || refused.Status != 503 {
		t.Errorf("a new one: %v", err)
	}
	late.greet(context.Background(), &inbound.Frame{})
	if _, err := lateClient.Read(); ws.CloseCode(err) != 1013 {
		t.Errorf("the hello of one that was let in before: %v", err)
	}
	r.s.sweepUnheard()
	so.conn.Send(liveFrame)
	if f, err := c.Read(); err != nil || string(f) != `{"op":"live"}` {
		t.Fatalf("after 25 s: %s, %v", f, err)
	}
	heard(maxSilence)
	r.s.sweepUnheard()
	if _, err := c.Read(); ws.CloseCode(err) != 1013 {
		t.Errorf("after 30 s: %v", err)
	}
	r.s.revocations.Heard(time.Now())
	if _, c := r.connect(somebody("tablet")); c == nil {
		t.Error("not let in again")
	}
}
