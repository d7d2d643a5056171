package messaging

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/ws"
)

// TestNoWriteIsNeededToGoOn: catching up may look at the queue just between the
// moment when the socket tells of its last write and the moment when the queue
// is shorter by it. No other write follows then, and it must go on all the same.
func TestNoWriteIsNeededToGoOn(t *testing.T) {
	r := single(t)
	ctx, cancel := context.WithTimeout(cause(), patience)
	defer cancel()
	so := &socket{s: r.s, opened: time.Now(), phase: catching}
	told, asleep := make(chan struct{}), make(chan struct{})
	opened := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, err := r.s.sockets.Upgrade(w, req, obs.NewCorrelation(), ws.Handler{
			Opened: func(c *ws.Conn) { so.conn = c; close(opened) },
			Written: func(_ *ws.Conn, frames []*ws.Frame, at time.Time) {
				so.written(frames, at)
				close(told) // once: all of it goes in one write
				<-asleep
			},
			Closed: func(_ *ws.Conn, why obs.CloseReason, unsent []*ws.Frame) { so.closed(why, unsent) },
		})
		if err != nil {
			r.Errorf("upgrade: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	client, err := ws.Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"), ws.DialOptions{})
	r.must(err)
	t.Cleanup(client.Drop)
	<-opened
	for range catchUpPage {
		so.conn.Queue(ws.NewFrame([]byte(`{"op":"message"}`), ws.Message, time.Now()))
	}
	r.s.sockets.Kick()
	<-told
	c := catcher{so: so, missed: &missed{}}
	waited := make(chan error, 1)
	go func() { waited <- c.wait(ctx) }()
	for !so.waits() {
		r.must(pause(ctx, time.Millisecond))
	}
	close(asleep)
	if err := <-waited; err != nil {
		t.Errorf("catching up hangs on a queue that is empty: %v", err)
	}
}

// waits says whether catching up waits for a write.
func (so *socket) waits() bool {
	so.mu.Lock()
	defer so.mu.Unlock()
	return so.room != nil
}

// TestANewDeviceStartsWhereTheHubIs: what is committed and not handed out yet comes
// after what it starts with.
func TestANewDeviceStartsWhereTheHubIs(t *testing.T) {
	r := single(t)
	alice, bob := somebody("a"), somebody("b")
	k := r.room(alice, bob)
	for range 3 {
		r.post(alice, k, "x")
	}
	r.apply(1000)
	for range 2 {
		r.post(alice, k, "not handed out")
	}
	so := r.held(bob)
	c := catcher{so: so, missed: &missed{}}
	r.must(c.toward(cause(), r.s.hub.position()))
	if got := c.missed.from[k]; got != 3 {
		t.Errorf("it starts after %d, want 3", got)
	}
}
