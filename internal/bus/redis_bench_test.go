package bus_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/test/servers"
)

// BenchmarkRedisFanout publishes batches and waits until another node has them,
// both in this process. Figures are per envelope.
func BenchmarkRedisFanout(b *testing.B) {
	for _, size := range []int{1, 16, 512} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) { benchRedis(b, size) })
	}
}

func benchRedis(b *testing.B, size int) {
	url := servers.Redis(b)
	var nodes []bus.Fanout
	for range 2 {
		o, err := obs.New(obs.Config{})
		if err != nil {
			b.Fatal(err)
		}
		g := run.New(o)
		b.Cleanup(func() { g.Stop(context.Background()) })
		r, err := bus.NewRedis(context.Background(), o, g, at(url))
		if err != nil {
			b.Fatal(err)
		}
		nodes = append(nodes, r.Fanout())
	}
	var arrived atomic.Int64
	wake := make(chan struct{}, 1)
	b.Cleanup(nodes[1].Subscribe("bench", func(_ context.Context, batch []bus.Envelope) {
		arrived.Add(int64(len(batch)))
		select {
		case wake <- struct{}{}:
		default:
		}
	}))
	batch := make([]bus.Envelope, size)
	for i := range batch {
		batch[i] = event(i + 1)
		batch[i].Key, batch[i].Payload = "019a0000000000000000000000", make([]byte, 300)
	}
	b.ReportAllocs()
	b.ResetTimer()
	sent := int64(0)
	for ; sent < int64(b.N); sent += int64(size) {
		if err := nodes[0].Publish(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	for arrived.Load() < sent {
		<-wake
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "envelopes/s")
}
