package load

import (
	"context"
	"strconv"
	"time"

	"github.com/nova-chat/nova/internal/fault"
)

// handle takes one frame from the server.
func (d *device) handle(ctx context.Context, frame []byte) {
	switch string(op(frame)) {
	case "message":
		d.message(frame)
	case "sent":
		d.sent(frame)
	case "error":
		d.refused(frame)
	case "welcome":
		d.mu.Lock()
		d.epoch = string(text(frame, keyEpoch))
		d.mu.Unlock()
		d.opened(frame)
	case "drain":
		d.mu.Lock()
		d.live = false // finish what is under way, send nothing new
		d.leaveAt = time.Now().Add(time.Duration(number(frame, keyHint)) * time.Millisecond)
		d.mu.Unlock()
	case "resync":
		d.run.meter.fail("resync", "the server asked to reload over REST")
		d.run.journal.resync(d.link, text(frame, keyConv))
		d.reload(ctx)
	}
}

func (d *device) message(frame []byte) {
	e, ok := readEvent(frame)
	if !ok {
		d.run.meter.fail("unreadable", "a message event without its fields")
		return
	}
	in := d.inboxes[string(e.conversation)]
	if in == nil {
		return // a conversation of another run
	}
	d.run.journal.recv(d.index, d.link, e, d.catching)
	d.received(in, in.conv.receive(in, e.seq, e.clientID, e.body, true))
}

// received counts a message that is new here.
func (d *device) received(in *inbox, m *message) {
	if m == nil || m.from == in {
		return
	}
	r := d.run
	r.meter.delivered.Add(1)
	if r.meter.measuring.Load() {
		r.meter.deliveredIn.Add(1)
		r.meter.delivery.observe(d.index, time.Since(m.due))
	}
	r.step(m)
}

func (d *device) sent(frame []byte) {
	m := d.answered(frame)
	if m == nil {
		return
	}
	d.run.journal.ack(d.index, d.link, m, text(frame, keyMsg), number(frame, keySeq))
	if !m.conv.answer(m, number(frame, keySeq)) {
		return
	}
	r := d.run
	r.meter.acked.Add(1)
	if r.meter.measuring.Load() {
		r.meter.ackedIn.Add(1)
		r.meter.ack.observe(d.index, time.Since(m.due))
	}
	r.step(m)
}

// answered takes the message that a frame answers out of those under way.
func (d *device) answered(frame []byte) *message {
	n, err := strconv.Atoi(string(text(frame, keyID)))
	if err != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.pending[n]
	delete(d.pending, n)
	if m != nil && string(op(frame)) == "sent" {
		d.done = m
	}
	return m
}

// refused takes an error frame. What may be repeated is, with the same
// identifier; otherwise the message is done with.
func (d *device) refused(frame []byte) {
	name := string(text(frame, keyCode))
	code, known := fault.ParseCode(name)
	d.run.meter.fail(name, string(frame))
	m := d.answered(frame)
	if m == nil {
		return
	}
	d.run.journal.fail(d.index, d.link, m, name, known && !leavesOpen(code))
	m.conv.refuse(m, known && !leavesOpen(code))
	if !known || !code.Retryable() {
		d.run.abandon(m)
		return
	}
	const shortest = 100 * time.Millisecond
	wait := max(time.Duration(number(frame, keyRetry))*time.Millisecond, shortest)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retries = append(d.retries, retry{time.Now().Add(wait), m})
}

// leavesOpen says whether an answer leaves open if the message is stored.
func leavesOpen(c fault.Code) bool {
	return c == fault.CodeUnavailable || c == fault.CodeTimeout || c == fault.CodeInternal || c == fault.CodeCanceled
}

// reload reads over REST what the socket will not bring any more.
func (d *device) reload(ctx context.Context) {
	for id, in := range d.inboxes {
		in.conv.mu.Lock()
		after := in.prefix
		in.conv.mu.Unlock()
		err := d.run.target.history(ctx, []Session{d.account()}, id, after, func(page []logged) {
			d.run.journal.fetched(d.index, "", id, page)
			for _, e := range page {
				d.received(in, in.conv.receive(in, e.Seq, []byte(e.ClientMsgID), []byte(e.Body), false))
			}
		})
		if err != nil {
			d.run.meter.fail("reload", err.Error())
		}
	}
}
