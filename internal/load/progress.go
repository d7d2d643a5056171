package load

import (
	"context"
	"fmt"
	"time"
)

// tend ticks for all devices: acknowledgements every 200 ms, the rest every 50.
func (r *runner) tend(ctx context.Context) {
	const tick, acksEvery = 50 * time.Millisecond, 4
	t := time.NewTicker(tick)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case now := <-t.C:
			for _, d := range r.devices {
				d.tend(now, n%acksEvery == 0)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (r *runner) progress(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	last := r.state()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		now := r.state()
		if r.opts.Report != nil {
			phase, _ := r.phase.Load().(string)
			r.opts.Report(Progress{
				Phase: phase, At: time.Since(r.begin), Sends: now.acked - last.acked, Deliveries: now.delivered - last.delivered,
				Outstanding: now.outstanding, Connected: now.connected, Reconnects: now.reconnects,
				Errors: r.meter.errorCount(), Ack: r.meter.ack.latency(), Delivery: r.meter.delivery.latency(),
			})
		}
		last = now
	}
}

// String is one line for people.
func (p Progress) String() string {
	if p.Phase == "connect" {
		return fmt.Sprintf("%-8s %6d connected", p.Phase, p.Connected)
	}
	return fmt.Sprintf("%-8s %4.0f s  %7d sends/s  %8d deliveries/s  under way %6d  ack p50 %.2f p99 %.2f ms  delivery p99 %.2f ms  connected %d  reconnects %d  errors %d",
		p.Phase, p.At.Seconds(), p.Sends, p.Deliveries, p.Outstanding, p.Ack.P50, p.Ack.P99, p.Delivery.P99, p.Connected, p.Reconnects, p.Errors)
}
