package history

import (
	"cmp"
	"slices"
)

// What the logs must say: I1 to I4 and I7.

// copyOf is one node's log of one conversation, in the order in which it came.
type copyOf struct {
	node, conv int32
	rows       []entry
	line       uint32 // that says that it was read whole; 0 = it was not
}

// copies gives the logs by node and conversation.
func (h *History) copies() []copyOf {
	whole := map[[2]int32]uint32{}
	for _, l := range h.logged {
		whole[[2]int32{l.node, l.conv}] = l.line
	}
	var all []copyOf
	for s := range runs(len(h.logs), func(i, j int) bool { return h.logs[i].node == h.logs[j].node && h.logs[i].conv == h.logs[j].conv }) {
		k := [2]int32{h.logs[s.from].node, h.logs[s.from].conv}
		all = append(all, copyOf{k[0], k[1], h.logs[s.from:s.to], whole[k]})
		delete(whole, k)
	}
	for k, line := range whole { // logs without a row
		all = append(all, copyOf{k[0], k[1], nil, line})
	}
	slices.SortFunc(all, func(a, b copyOf) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.conv, b.conv))
	})
	return all
}

// noLoss is I1.
func noLoss(j *judge) {
	found := make([]int32, len(j.h.ops)) // 1 + row
	for _, c := range j.h.copies() {
		if c.line == 0 {
			continue
		}
		for i, e := range c.rows {
			if o := &j.h.ops[e.op]; found[e.op] == 0 || e.seq == o.seq && e.msg == o.msg {
				found[e.op] = int32(i) + 1
			}
		}
		for _, i := range j.h.convs[c.conv].ops {
			if o := &j.h.ops[i]; o.acked() && o.seq > j.h.convs[c.conv].base {
				j.judged(1)
				j.stored(c, o, found[i]-1)
			}
		}
		for _, e := range c.rows {
			found[e.op] = 0
		}
	}
}

func (j *judge) stored(c copyOf, o *op, row int32) {
	node := j.h.nodes.list[c.node]
	if row < 0 {
		j.broken([]uint32{o.line, o.ackLine, c.line}, "acknowledged as seq %d, and not in the log that %s shows", o.seq, node)
		return
	}
	if e := c.rows[row]; e.seq != o.seq || e.msg != o.msg {
		j.broken([]uint32{o.line, o.ackLine, e.line}, "acknowledged as seq %d, and stored as seq %d or under another id on %s", o.seq, e.seq, node)
	}
}

// noPhantom is I2.
func noPhantom(j *judge) {
	for _, e := range j.h.logs {
		j.origin("stored", e.op, e.conv, e.hash, e.line)
	}
	for _, r := range j.h.recvs {
		if r.src != resynced {
			j.origin("received", r.op, r.conv, r.hash, r.line)
		}
	}
	for _, e := range j.h.events {
		if e.op >= 0 {
			j.origin("published", e.op, e.conv, e.hash, e.line)
		}
	}
}

func (j *judge) origin(what string, i, conv int32, hash uint64, line uint32) {
	j.judged(1)
	o := &j.h.ops[i]
	switch {
	case !o.sent():
		j.broken([]uint32{line}, "%s, and never sent by %s", what, j.h.devices[o.dev].name)
	case o.conv != conv:
		j.broken([]uint32{o.line, line}, "%s in another conversation than it was sent to", what)
	case !o.is(hash):
		j.broken([]uint32{o.line, line}, "%s with another body than it was sent with", what)
	case !o.acked() && o.refused > 0 && o.refused >= o.sends:
		j.broken([]uint32{o.line, line}, "%s, and definitely refused", what)
	}
}

// once is I3.
func once(j *judge) {
	for _, o := range j.h.ops {
		if o.acked() {
			j.judged(1)
		}
	}
	for _, a := range j.h.repeats {
		if o := &j.h.ops[a.op]; a.seq != o.seq || a.msg != o.msg {
			j.broken([]uint32{o.line, o.ackLine, a.line}, "answered as seq %d, and when repeated as seq %d or under another id", o.seq, a.seq)
		}
	}
	seen := make([]uint32, len(j.h.ops))
	for _, c := range j.h.copies() {
		for _, e := range c.rows {
			if seen[e.op] > 0 {
				j.broken([]uint32{j.h.ops[e.op].line, seen[e.op], e.line}, "stored more than once on %s", j.h.nodes.list[c.node])
			}
			seen[e.op] = e.line
		}
		j.judged(len(c.rows))
		for _, e := range c.rows {
			seen[e.op] = 0
		}
	}
}

// dense is I4.
func dense(j *judge) {
	for _, c := range j.h.copies() {
		if c.line == 0 {
			continue
		}
		next, before := j.h.convs[c.conv].base+1, c.line
		for _, e := range c.rows {
			j.judged(1)
			if e.seq != next {
				j.broken([]uint32{before, e.line}, "seq %d follows where %d should be, in the log that %s shows", e.seq, next, j.h.nodes.list[c.node])
			}
			next, before = e.seq+1, e.line
		}
	}
}

// agreement is I7. Bodies are compared with what was sent, by I2.
func agreement(j *judge) {
	one := func(conv int32, seq int64, op int32, msg uint64, line uint32) {
		at, ok := j.h.spot(conv, seq)
		if !ok || at.line == line {
			return
		}
		j.judged(1)
		if at.op != op || at.msg != msg {
			j.broken([]uint32{at.line, line}, "seq %d of %s is two messages", seq, j.h.convs[conv].name)
		}
	}
	for _, e := range j.h.logs {
		one(e.conv, e.seq, e.op, e.msg, e.line)
	}
	for _, r := range j.h.recvs {
		if r.src != resynced {
			one(r.conv, r.seq, r.op, r.msg, r.line)
		}
	}
	for _, e := range j.h.events {
		if e.op >= 0 {
			one(e.conv, e.seq, e.op, e.msg, e.line)
		}
	}
}
