package load

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// rig is a conversation of three devices; the first sends.
type rig struct {
	c        *conversation
	from, to *inbox
	third    *inbox
}

func newRig() *rig {
	c := newConversation("K", 10, []byte("..."))
	return &rig{c, c.join(0), c.join(1), c.join(2)}
}

func (r *rig) send() *message { return r.c.make(r.from, time.Time{}) }

func (r *rig) deliver(in *inbox, m *message, seq int64) *message {
	return r.c.receive(in, seq, []byte(m.id.String()), m.body(nil), true)
}

// pass sends a message with everything in order.
func (r *rig) pass(seq int64) *message {
	m := r.send()
	r.c.answer(m, seq)
	r.deliver(r.to, m, seq)
	r.deliver(r.third, m, seq)
	return m
}

func (r *rig) log(ms ...*message) []logged {
	var all []logged
	for _, m := range ms {
		all = append(all, logged{Seq: m.seq, ClientMsgID: m.id.String(), Body: string(m.body(nil))})
	}
	return all
}

func TestLedgerOfDefects(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(r *rig, l *Ledger)
		want Ledger
	}{
		{
			"all in order",
			func(r *rig, l *Ledger) { r.c.reconcile(l, r.log(r.pass(11), r.pass(12))) },
			Ledger{Sent: 2, Acked: 2, Stored: 2, Due: 4, Delivered: 4},
		},
		{
			"what was there before the run is not judged",
			func(r *rig, _ *Ledger) {
				r.c.receive(r.to, 10, []byte("old"), []byte("old"), true)
				r.pass(11)
			},
			Ledger{Sent: 1, Acked: 1, Due: 2, Delivered: 2},
		},
		{
			"an event overtaken by the answer",
			func(r *rig, _ *Ledger) {
				m := r.send()
				r.deliver(r.to, m, 11)
				r.deliver(r.third, m, 11)
				r.c.answer(m, 11)
			},
			Ledger{Sent: 1, Acked: 1, Due: 2, Delivered: 2},
		},
		{
			"lost on the way",
			func(r *rig, _ *Ledger) {
				m := r.send()
				r.c.answer(m, 11)
				r.deliver(r.to, m, 11)
			},
			Ledger{Sent: 1, Acked: 1, Due: 2, Delivered: 1, Lost: 1},
		},
		{
			"due at a device that is gone",
			func(r *rig, _ *Ledger) {
				r.third.gone = true
				m := r.send()
				r.c.answer(m, 11)
				r.deliver(r.to, m, 11)
			},
			Ledger{Sent: 1, Acked: 1, Due: 2, Delivered: 1, Unfetched: 1},
		},
		{
			"acknowledged and not stored",
			func(r *rig, l *Ledger) {
				r.pass(11)
				r.c.reconcile(l, nil)
			},
			Ledger{Sent: 1, Acked: 1, AckedNotStored: 1, Due: 2, Delivered: 2, Lost: 1},
		},
		{
			"stored twice under two sequences",
			func(r *rig, l *Ledger) {
				m := r.pass(11)
				r.c.reconcile(l, append(r.log(m), logged{Seq: 12, ClientMsgID: m.id.String(), Body: string(m.body(nil))}))
			},
			Ledger{Sent: 1, Acked: 1, Stored: 1, Due: 4, Delivered: 2, Lost: 2, Duplicates: 1},
		},
		{
			"delivered under two sequences",
			func(r *rig, _ *Ledger) {
				m := r.pass(11)
				r.deliver(r.to, m, 12)
				r.deliver(r.third, m, 12)
			},
			Ledger{Sent: 1, Acked: 1, Due: 4, Delivered: 4, Duplicates: 1},
		},
		{
			"twice on one socket",
			func(r *rig, _ *Ledger) { r.deliver(r.to, r.pass(11), 11) },
			Ledger{Sent: 1, Acked: 1, Due: 2, Delivered: 2, Duplicates: 1},
		},
		{
			"own message on the socket that got its answer",
			func(r *rig, _ *Ledger) { r.deliver(r.from, r.pass(11), 11) },
			Ledger{Sent: 1, Acked: 1, Due: 2, Delivered: 2, Duplicates: 1},
		},
		{
			"again after a reconnect is no defect",
			func(r *rig, _ *Ledger) {
				m := r.pass(11)
				r.to.resume()
				r.from.resume()
				r.deliver(r.to, m, 11)
				r.deliver(r.from, m, 11)
			},
			Ledger{Sent: 1, Acked: 1, Due: 2, Delivered: 2, DuplicatesOnWire: 2},
		},
		{
			"reordered on a socket",
			func(r *rig, _ *Ledger) {
				a, b := r.send(), r.send()
				r.c.answer(a, 11)
				r.c.answer(b, 12)
				for _, in := range []*inbox{r.to, r.third} {
					r.deliver(in, b, 12)
					r.deliver(in, a, 11)
				}
			},
			Ledger{Sent: 2, Acked: 2, Due: 4, Delivered: 4, Misordered: 2},
		},
		{
			"sequences against the sender's order",
			func(r *rig, _ *Ledger) {
				a, b := r.send(), r.send()
				r.c.answer(a, 12)
				r.c.answer(b, 11)
				for _, in := range []*inbox{r.to, r.third} {
					r.deliver(in, b, 11)
					r.deliver(in, a, 12)
				}
			},
			Ledger{Sent: 2, Acked: 2, Due: 4, Delivered: 4, Misordered: 1},
		},
		{
			"a repeat after a refusal may change its place",
			func(r *rig, _ *Ledger) {
				a, b := r.send(), r.send()
				r.c.refuse(a, true)
				r.c.answer(b, 11)
				r.c.answer(a, 12)
				for _, in := range []*inbox{r.to, r.third} {
					r.deliver(in, b, 11)
					r.deliver(in, a, 12)
				}
			},
			Ledger{Sent: 2, Acked: 2, Due: 4, Delivered: 4},
		},
		{
			"a phantom at one device",
			func(r *rig, _ *Ledger) {
				r.c.receive(r.to, 11, []byte(newUUID().String()), []byte("boo"), true)
			},
			Ledger{Unexpected: 1},
		},
		{
			"a phantom in the log",
			func(r *rig, l *Ledger) { r.c.reconcile(l, []logged{{Seq: 11, ClientMsgID: "x", Body: "boo"}}) },
			Ledger{Unexpected: 1},
		},
		{
			"an altered body",
			func(r *rig, _ *Ledger) {
				m := r.send()
				r.c.answer(m, 11)
				r.deliver(r.third, m, 11)
				r.c.receive(r.to, 11, []byte(m.id.String()), []byte(m.id.String()+"..!"), true)
			},
			Ledger{Sent: 1, Acked: 1, Due: 2, Delivered: 2, Unexpected: 1},
		},
		{
			"one sequence for two messages",
			func(r *rig, _ *Ledger) {
				r.pass(11)
				r.c.answer(r.send(), 11)
			},
			Ledger{Sent: 2, Acked: 2, Due: 2, Delivered: 2, Misordered: 1, Unexpected: 1},
		},
		{
			"an absurd sequence",
			func(r *rig, _ *Ledger) { r.deliver(r.to, r.send(), 1<<40) },
			Ledger{Sent: 1, Indeterminate: 1, Unexpected: 1},
		},
		{
			"a hole in the log",
			func(r *rig, l *Ledger) { r.c.reconcile(l, r.log(r.pass(11), r.pass(13))) },
			Ledger{Sent: 2, Acked: 2, Stored: 2, Due: 4, Delivered: 4, Holes: 1},
		},
		{
			"a log out of order",
			func(r *rig, l *Ledger) {
				a, b := r.pass(11), r.pass(12)
				r.c.reconcile(l, append(r.log(a, b), r.log(a)...))
			},
			Ledger{Sent: 2, Acked: 2, Stored: 2, Due: 4, Delivered: 4, Misordered: 1},
		},
		{
			"refused and stored all the same",
			func(r *rig, l *Ledger) {
				m := r.send()
				r.c.refuse(m, true)
				r.c.reconcile(l, []logged{{Seq: 11, ClientMsgID: m.id.String(), Body: string(m.body(nil))}})
			},
			Ledger{Sent: 1, Refused: 1, RefusedStored: 1, Stored: 1, Due: 2, Lost: 2, Unexpected: 1},
		},
		{
			"without an answer: neither lost nor fine",
			func(r *rig, l *Ledger) {
				stored, vanished := r.send(), r.send()
				r.deliver(r.to, stored, 11)
				r.deliver(r.third, stored, 11)
				r.c.refuse(vanished, false)
				r.c.reconcile(l, r.log(stored))
			},
			Ledger{Sent: 2, Indeterminate: 2, Stored: 1, IndeterminateStored: 1, Due: 2, Delivered: 2},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got Ledger
			r := newRig()
			c.do(r, &got)
			r.c.account(&got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			bad := c.want.Lost+c.want.Duplicates+c.want.Misordered+c.want.Unexpected+c.want.Holes > 0
			if got.OK() == bad {
				t.Errorf("OK() = %v", got.OK())
			}
		})
	}
}

func TestPrefixIsContiguous(t *testing.T) {
	r := newRig()
	if r.to.toReport() != 0 {
		t.Error("something to acknowledge before anything came")
	}
	a, b, c := r.send(), r.send(), r.send()
	r.deliver(r.to, a, 11)
	r.deliver(r.to, c, 13)
	if got := r.to.toReport(); got != 11 {
		t.Errorf("acknowledges %d with 12 missing, want 11", got)
	}
	if got := r.to.resume(); got != 11 {
		t.Errorf("resumes from %d, want 11", got)
	}
	r.deliver(r.to, b, 12)
	if got := r.to.toReport(); got != 13 {
		t.Errorf("acknowledges %d, want 13", got)
	}
	if r.to.toReport() != 0 {
		t.Error("acknowledges the same twice")
	}
}

func TestFirstReceiptOnly(t *testing.T) {
	r := newRig()
	m := r.send()
	if m.left.Load() != 3 {
		t.Errorf("a message waits for %d events, want its answer and two receipts", m.left.Load())
	}
	if !r.c.answer(m, 11) || r.c.answer(m, 11) {
		t.Error("the repeat of an answer must not count")
	}
	if r.deliver(r.to, m, 11) != m || r.deliver(r.to, m, 11) != nil {
		t.Error("the repeat of an event must not count")
	}
}
