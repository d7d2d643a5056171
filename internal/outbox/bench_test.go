package outbox

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
)

// BenchmarkHandOver is what 100 committed events cost from the hook of their
// commit until two sinks have them, one of which wants another type.
func BenchmarkHandOver(b *testing.B) {
	o, err := obs.New(obs.Config{})
	if err != nil {
		b.Fatal(err)
	}
	g := run.New(o)
	var taken atomic.Int64
	wake := make(chan struct{}, 1)
	publish := func(_ context.Context, batch []bus.Envelope) error {
		taken.Add(int64(len(batch)))
		select {
		case wake <- struct{}{}:
		default:
		}
		return nil
	}
	db, err := sqldb.Open(b.Context(), o, g, sqldb.Config{Service: obs.Messaging, URL: filepath.Join(b.TempDir(), "nova.db")})
	if err != nil {
		b.Fatal(err)
	}
	ob := New(o, g, db, Config{Service: obs.Messaging, Sinks: []Sink{
		{Name: "fanout", Publish: publish},
		{Name: "events", Types: []string{"user.registered"}, Publish: publish},
	}})
	for _, r := range ob.relays {
		g.Worker("relay "+r.sink.Name, relayStop, r.run)
	}
	batch := make([]bus.Envelope, 100)
	for i := range batch {
		batch[i] = bus.Envelope{ID: "01JD0000000000000000000000", Type: "message.sent", Key: "k", Correlation: "test-123", Payload: make([]byte, 200)}
	}
	var pos int64
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			pos++
			batch[i].Pos = pos
		}
		ob.hand(batch)
		for taken.Load() < pos {
			<-wake
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(pos), "ns/event")
	b.StopTimer()
	if err := g.Stop(context.Background()).Err(); err != nil {
		b.Fatal(err)
	}
}
