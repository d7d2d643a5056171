package history

import (
	"cmp"
	"slices"
	"sort"
)

// timeline is what was answered in a conversation, by time.
type timeline struct {
	acks []int32 // ops, by the time of their answer
	high []int64 // greatest sequence of those so far
}

func (h *History) timeline(conv int32) timeline {
	var t timeline
	for _, k := range h.convs[conv].ops {
		if h.ops[k].acked() {
			t.acks = append(t.acks, k)
		}
	}
	slices.SortFunc(t.acks, func(a, b int32) int { return cmp.Compare(h.ops[a].ackT, h.ops[b].ackT) })
	high := int64(0)
	for _, k := range t.acks {
		high = max(high, h.ops[k].seq)
		t.high = append(t.high, high)
	}
	return t
}

// timelines makes each conversation's when it is first asked for.
func (h *History) timelines() func(conv int32) timeline {
	made := map[int32]timeline{}
	return func(conv int32) timeline {
		t, ok := made[conv]
		if !ok {
			t = h.timeline(conv)
			made[conv] = t
		}
		return t
	}
}

// until is the greatest sequence that was answered while the condition, which
// must hold for the earlier ones first, holds for the answer's time; 0 = none.
func (t timeline) until(h *History, holds func(at int64) bool) int64 {
	n := sort.Search(len(t.acks), func(i int) bool { return !holds(h.ops[t.acks[i]].ackT) })
	if n == 0 {
		return 0
	}
	return t.high[n-1]
}

// seats are who is a member of what, as the history says.
type seats struct {
	of    map[[2]int32][]member // by conversation and user, ascending by seq
	known map[int32]bool        // conversations of which the history says anything
}

func (h *History) seats() seats {
	s := seats{map[[2]int32][]member{}, map[int32]bool{}}
	for _, m := range h.members {
		k := [2]int32{m.conv, m.user}
		s.of[k] = append(s.of[k], m)
		s.known[m.conv] = true
	}
	for _, list := range s.of {
		slices.SortStableFunc(list, func(a, b member) int {
			return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.t, b.t))
		})
	}
	return s
}

// at says whether a user is a member at a sequence, and by which line. Where
// the history says nothing, everybody is.
func (s seats) at(conv, user int32, seq int64) (in bool, line uint32) {
	if !s.known[conv] {
		return true, 0
	}
	for _, m := range s.of[[2]int32{conv, user}] {
		if m.seq >= seq {
			break
		}
		in, line = m.added, m.line
	}
	return in, line
}

// gone says since when a user is out at a moment; ok is false if he is in.
func (s seats) gone(conv, user int32, now int64) (since member, ok bool) {
	for _, m := range s.of[[2]int32{conv, user}] {
		if m.t <= now {
			since, ok = m, !m.added
		}
	}
	return since, ok
}

// since is the first sequence that a member's history shows.
func (s seats) since(conv, user int32) int64 {
	first := int64(0)
	for _, m := range s.of[[2]int32{conv, user}] {
		if m.added && (first == 0 || m.since < first) {
			first = m.since
		}
	}
	return first
}
