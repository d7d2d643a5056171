package outbox_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/test/servers"
)

// awayFor is how long the database does not answer: longer than the writer rests
// before it tries to reach the server again.
const awayFor = 300 * time.Millisecond

// drainThrough gives a process on PostgreSQL whose sink takes events when taken is
// closed, and the way to the server.
func drainThrough(t *testing.T, taken chan struct{}) (p *process, way *servers.Proxy) {
	u, err := url.Parse(servers.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	way = servers.StartProxy(t, u.Host)
	u.Host = way.Addr
	p = loadAt(t, u.String(), outbox.Config{Sinks: []outbox.Sink{{Name: "sink", Publish: func(ctx context.Context, _ []bus.Envelope) error {
		select {
		case <-taken:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}}})
	t.Cleanup(p.stop)
	if err := p.ob.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, way
}

// drained drains while the server is away and comes back, and checks that all is
// saved.
func drained(t *testing.T, p *process, way *servers.Proxy, away func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.ob.Drain(ctx) }()
	away()
	time.Sleep(awayFor)
	if err := way.Restore(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the drain gave %v", err)
	}
	if saved := p.count(`SELECT pos FROM outbox_cursors WHERE sink = 'sink'`); saved != 1 || p.ob.Left() != 0 {
		t.Errorf("the cursor is saved at %d, and %d are left", saved, p.ob.Left())
	}
}

// TestADrainOutlivesAnAbsence of the database: while it looks what there is to be
// drained, and while it saves how far it came.
func TestADrainOutlivesAnAbsence(t *testing.T) {
	t.Run("looking", func(t *testing.T) {
		taken := make(chan struct{})
		p, way := drainThrough(t, taken)
		p.emit(event("e1"))
		close(taken)
		if err := way.Refuse(); err != nil {
			t.Fatal(err)
		}
		drained(t, p, way, func() {})
	})
	t.Run("saving", func(t *testing.T) {
		taken := make(chan struct{})
		p, way := drainThrough(t, taken)
		p.emit(event("e1"))
		drained(t, p, way, func() {
			for end := time.Now().Add(patience); !p.ob.Waiting(); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the drain waits for nothing")
				}
			}
			if err := way.Refuse(); err != nil {
				t.Fatal(err)
			}
			close(taken)
		})
	})
}
