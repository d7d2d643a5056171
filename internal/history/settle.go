package history

import (
	"cmp"
	"slices"
)

// settle finishes the index when every line is in.
func (h *History) settle() {
	slices.SortFunc(h.faults, func(a, b window) int { return cmp.Compare(a.from, b.from) })
	slices.SortStableFunc(h.logs, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.conv, b.conv))
	})
	for i := range h.ops {
		if o := &h.ops[i]; o.sent() {
			h.convs[o.conv].ops = append(h.convs[o.conv].ops, int32(i))
		}
	}
	for i := range h.convs {
		slices.SortFunc(h.convs[i].ops, func(a, b int32) int { return cmp.Compare(h.ops[a].line, h.ops[b].line) })
	}
	h.fill()
}

// fill learns what each sequence holds. What a log says counts first, then what
// was received, then what was answered.
func (h *History) fill() {
	for _, e := range h.logs {
		h.know(e.conv, e.seq, spot{e.op, e.line, e.msg})
	}
	for _, r := range h.recvs {
		if r.src != resynced {
			h.know(r.conv, r.seq, spot{r.op, r.line, r.msg})
		}
	}
	for i := range h.ops {
		if o := &h.ops[i]; o.acked() && o.sent() {
			h.know(o.conv, o.seq, spot{int32(i), o.ackLine, o.msg})
		}
	}
}

func (h *History) know(conv int32, seq int64, at spot) {
	c := &h.convs[conv]
	i := seq - c.base - 1
	if _, known := c.spots.get(i); known {
		return
	}
	c.spots.put(i, at)
	c.last = max(c.last, seq)
	if o := &h.ops[at.op]; !o.acked() && o.seq == 0 {
		o.seq, o.msg = seq, at.msg // stored, though its answer never came
	}
}

func (h *History) spot(conv int32, seq int64) (spot, bool) {
	c := &h.convs[conv]
	return c.spots.get(seq - c.base - 1)
}

// span is a stretch of a sorted list.
type span struct{ from, to int }

// runs gives the stretches of n entries whose neighbours belong together.
func runs(n int, together func(i, j int) bool) func(func(span) bool) {
	return func(yield func(span) bool) {
		for from := 0; from < n; {
			to := from + 1
			for to < n && together(from, to) {
				to++
			}
			if !yield(span{from, to}) {
				return
			}
			from = to
		}
	}
}

// receptions gives the indexes of recvs by key, in the order of their lines
// within each. Those whose key is below 0 are left out.
func (h *History) receptions(keys int, key func(*reception) int32) [][]int32 {
	count := make([]int32, keys)
	for i := range h.recvs {
		if k := key(&h.recvs[i]); k >= 0 {
			count[k]++
		}
	}
	lists := make([][]int32, keys)
	for k, n := range count {
		lists[k] = make([]int32, 0, n)
	}
	for i := range h.recvs {
		if k := key(&h.recvs[i]); k >= 0 {
			lists[k] = append(lists[k], int32(i))
		}
	}
	return lists
}
