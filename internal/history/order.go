package history

import (
	"cmp"
	"math"
	"slices"
)

// What the sequences must say: I5 and I6.

// realTime is I5. It sweeps the sends of a conversation by time, beside the
// greatest sequence that was answered before.
func realTime(j *judge) {
	for i := range j.h.convs {
		ops := j.h.convs[i].ops
		sends, acks := make([]int32, 0, len(ops)), make([]int32, 0, len(ops))
		for _, k := range ops {
			o := &j.h.ops[k]
			if o.seq > 0 {
				sends = append(sends, k)
			}
			if o.acked() {
				acks = append(acks, k)
			}
		}
		slices.SortFunc(sends, func(a, b int32) int { return cmp.Compare(j.h.ops[a].sendT, j.h.ops[b].sendT) })
		slices.SortFunc(acks, func(a, b int32) int { return cmp.Compare(j.h.ops[a].ackT, j.h.ops[b].ackT) })
		j.sweep(sends, acks)
	}
}

func (j *judge) sweep(sends, acks []int32) {
	var high *op
	next := 0
	for _, k := range sends {
		o := &j.h.ops[k]
		for ; next < len(acks) && j.h.ops[acks[next]].ackT < o.sendT; next++ {
			if a := &j.h.ops[acks[next]]; high == nil || a.seq > high.seq {
				high = a
			}
		}
		if high == nil {
			continue
		}
		j.judged(1)
		if o.seq <= high.seq && o != high {
			j.broken([]uint32{high.ackLine, o.line}, "seq %d was answered before seq %d was sent", high.seq, o.seq)
		}
	}
}

// fifo is I6. A message that was refused or lost its answer, and was repeated,
// may rightly come later, so it is left out.
func fifo(j *judge) {
	type stream struct{ sock, conv int32 }
	last := map[stream]int32{}
	for _, s := range j.h.subs {
		o := &j.h.ops[s.op]
		if s.sock < 0 || s.again || o.sends > 1 || o.refused+o.open > 0 || o.seq == 0 {
			continue
		}
		k := stream{s.sock, o.conv}
		if before, ok := last[k]; ok {
			j.judged(1)
			if b := &j.h.ops[before]; b.seq > o.seq {
				j.broken([]uint32{b.line, o.line}, "sent one after the other on one socket, stored as seq %d and %d", b.seq, o.seq)
				continue
			}
		}
		last[k] = s.op
	}
}

// How long a device may lack what was acknowledged, in nanoseconds.
const (
	patience     = 10 * aSecond // each
	usualPatient = 3 * aSecond  // 99 of 100
	enough       = 100          // instances for a statement about one of a hundred
)

// due is when everybody online should have what was acknowledged at t: within
// the patience, counted from the end of any fault that falls into that time.
func (h *History) due(t int64) int64 {
	end := t + patience
	for _, w := range h.faults {
		if w.from > end || w.to < t {
			continue
		}
		if w.to >= math.MaxInt64-patience {
			return math.MaxInt64 // it never healed
		}
		end = max(end, w.to+patience)
	}
	return end
}
