package history

import (
	"cmp"
	"slices"
)

// What users have read, and what each node says of it: I12.

// marksRise is I12: marks never go back, are equal at the end wherever they are
// asked for, and the numbers of unread messages fit them. Rows of a log that
// carry a version carry the same one on every node.
func marksRise(j *judge) {
	rows := slices.Clone(j.h.marks)
	slices.SortStableFunc(rows, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.conv, b.conv), cmp.Compare(a.begin, b.begin))
	})
	for s := range runs(len(rows), func(i, j int) bool { return rows[i].user == rows[j].user && rows[i].conv == rows[j].conv }) {
		j.rising(rows[s.from:s.to])
		j.final(rows[s.from:s.to])
	}
	j.versions()
}

// rising sweeps the marks of one user and conversation, which are ascending by
// their begin, beside the greatest that was there before.
func (j *judge) rising(byBegin []mark) {
	byEnd := slices.Clone(byBegin)
	slices.SortStableFunc(byEnd, func(a, b mark) int { return cmp.Compare(a.t, b.t) })
	var high *mark
	next := 0
	for _, m := range byBegin {
		for ; next < len(byEnd) && byEnd[next].t < m.begin; next++ {
			if high == nil || byEnd[next].seq > high.seq {
				high = &byEnd[next]
			}
		}
		if high == nil {
			continue
		}
		j.judged(1)
		if !m.set && m.seq < high.seq {
			j.broken([]uint32{high.line, m.line}, "the read mark of %s went back from %d to %d", j.h.users.list[m.user], high.seq, m.seq)
		}
	}
}

func (j *judge) final(rows []mark) {
	var first *mark
	for i := range rows {
		m := &rows[i]
		if !m.final {
			continue
		}
		j.judged(1)
		if first == nil {
			first = m
		} else if m.seq != first.seq {
			j.broken([]uint32{first.line, m.line}, "the read mark of %s is %d and %d at the end", j.h.users.list[m.user], first.seq, m.seq)
		}
		if m.unread < 0 || m.seq < j.h.convs[m.conv].base {
			continue
		}
		if n := j.h.unread(m); n != m.unread {
			j.broken([]uint32{m.line}, "%s has %d unread messages, and is told %d", j.h.users.list[m.user], n, m.unread)
		}
	}
}

// unread counts what others sent above a mark.
func (h *History) unread(m *mark) (n int64) {
	c := &h.convs[m.conv]
	for seq := max(m.seq, c.base) + 1; seq <= c.base+int64(len(c.spots.near)); seq++ {
		if at, ok := h.spot(m.conv, seq); ok && h.devices[h.ops[at.op].dev].user != m.user {
			n++
		}
	}
	return n
}

func (j *judge) versions() {
	type at struct {
		conv int32
		seq  int64
	}
	first := map[at]entry{}
	for _, e := range j.h.logs {
		if e.version == 0 {
			continue
		}
		k := at{e.conv, e.seq}
		if before, ok := first[k]; !ok {
			first[k] = e
		} else if j.judged(1); before.version != e.version {
			j.broken([]uint32{before.line, e.line}, "seq %d has version %d and %d at the end", e.seq, before.version, e.version)
		}
	}
}
