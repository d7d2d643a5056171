package load

import (
	"context"
	"time"
)

// push makes one more message due at that moment.
func (d *device) push(due time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended && !d.closed {
		d.queue = append(d.queue, due)
		d.wake.Signal()
	}
}

// send writes what is due until the run ends. One goroutine per sending device,
// so that a device's messages leave in their order.
func (d *device) send(context.Context) {
	var frame []byte
	for {
		d.writing.Lock()
		m, s, link, ok := d.take()
		if ok && m != nil {
			d.run.journal.send(d.index, link, m)
			frame = appendSend(frame[:0], m)
			_ = s.WriteText(frame) // on failure the reader notices, and it is sent again
		}
		d.writing.Unlock()
		if !ok {
			return
		}
		if m == nil && !d.wait() {
			return
		}
	}
}

// take gives the next message to write, nil if there is none now; ok is false
// at the end.
func (d *device) take() (m *message, s socket, link string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ended || d.gone:
		return nil, s, "", false
	case !d.live:
		return nil, s, "", true
	case len(d.retries) > 0 && !d.retries[0].at.After(time.Now()):
		m = d.retries[0].m
		d.retries = d.retries[1:]
	case len(d.queue) > 0:
		m = d.sends.conv.make(d.sends, d.queue[0])
		d.queue = d.queue[1:]
		d.run.meter.outstanding.Add(1)
	default:
		return nil, s, "", true
	}
	d.pending[m.number] = m
	return m, d.sock, d.link, true
}

// wait blocks until there may be something to write; false at the end.
func (d *device) wait() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.ended && !d.gone && !d.due() {
		d.wake.Wait()
	}
	return !d.ended && !d.gone
}

func (d *device) due() bool {
	return d.live && (len(d.queue) > 0 || len(d.retries) > 0 && !d.retries[0].at.After(time.Now()))
}

// discard drops what was due and never written, says how much it was, and lets
// nothing more become due.
func (d *device) discard() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.queue)
	d.queue, d.closed = nil, true
	return n
}

// tend does what comes with time: acknowledgements (every fourth call), repeats
// of what was refused for the moment, leaving after a drain frame.
func (d *device) tend(now time.Time, acks bool) {
	d.mu.Lock()
	s, live := d.sock, d.live
	leave := !d.leaveAt.IsZero() && now.After(d.leaveAt)
	if d.due() {
		d.wake.Signal()
	}
	d.mu.Unlock()
	if s == nil {
		return
	}
	if leave {
		_ = s.Close(closeGoingAway, "") // the reader goes on to the server's answer
		return
	}
	if acks && live {
		d.acknowledge(s)
	}
}

func (d *device) acknowledge(s socket) {
	for id, in := range d.inboxes {
		if seq := in.toReport(); seq > 0 && s.WriteText(appendAck(nil, id, seq)) != nil {
			return
		}
	}
}

const closeGoingAway = 1001

// pace makes messages due at a steady rate, whatever becomes of them.
func (r *runner) pace(ctx context.Context, senders []*device) {
	const step = time.Millisecond
	begin, n := time.Now(), 0
	for {
		for ; ; n++ {
			due := begin.Add(time.Duration(float64(n) / r.opts.Rate * float64(time.Second)))
			if due.After(time.Now()) {
				break
			}
			if r.meter.outstanding.Load() > maxOutstanding {
				r.saturated.Store(true)
				return
			}
			senders[n%len(senders)].push(due)
		}
		if !sleep(ctx, step) {
			return
		}
	}
}

// maxOutstanding ends an open loop that the target cannot follow any more.
const maxOutstanding = 500_000
