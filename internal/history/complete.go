package history

import (
	"cmp"
	"math"
	"slices"
)

// What devices must have in the end: I9.

// complete is I9, in two parts: what devices have when the history ends, and
// what sockets had carried when they ended, before any reconnect repaired it.
func complete(j *judge) {
	c := &completeness{j: j, seats: j.h.seats(), timeline: j.h.timelines(), online: j.h.lastSockets(), began: j.h.began()}
	c.ends()
	c.sockets()
}

type completeness struct {
	j        *judge
	seats    seats
	timeline func(int32) timeline
	online   []int32 // by device: its last socket, -1 = none
	began    map[[2]int32]int64
	had      []bool // scratch
	took     []int64
}

// lastSockets gives each device's last socket.
func (h *History) lastSockets() []int32 {
	last := make([]int32, len(h.devices))
	for i := range last {
		last[i] = -1
	}
	for i := range h.socks {
		s := &h.socks[i]
		if s.page {
			continue
		}
		if at := last[s.dev]; at < 0 || s.openT >= h.socks[at].openT {
			last[s.dev] = int32(i)
		}
	}
	return last
}

func (c *completeness) ends() {
	h := c.j.h
	lists := h.receptions(len(h.devices), func(r *reception) int32 {
		if r.src == resynced {
			return -1
		}
		return r.dev
	})
	rows := slices.Clone(h.caught)
	slices.SortStableFunc(rows, func(a, b caughtUp) int { return cmp.Compare(a.dev, b.dev) })
	for s := range runs(len(rows), func(i, j int) bool { return rows[i].dev == rows[j].dev }) {
		list := lists[rows[s.from].dev]
		slices.SortStableFunc(list, func(a, b int32) int { return cmp.Compare(h.recvs[a].conv, h.recvs[b].conv) })
		for _, row := range rows[s.from:s.to] {
			from, _ := slices.BinarySearchFunc(list, row.conv, func(i, conv int32) int { return cmp.Compare(h.recvs[i].conv, conv) })
			c.end(row, list[from:])
		}
	}
	slices.Sort(c.took)
	if n := len(c.took); n >= enough && c.took[n*99/100] > usualPatient {
		c.j.broken(nil, "one of a hundred devices took %d ms or more to catch up", c.took[n*99/100]/1e6)
	}
}

// end judges one device and conversation. list begins with its receptions.
func (c *completeness) end(row caughtUp, list []int32) {
	h := c.j.h
	sock := c.online[row.dev]
	if sock < 0 || h.socks[sock].closed && h.socks[sock].closeT <= row.t {
		return // away
	}
	base := max(h.socks[sock].openT, h.healed())
	missing, late := c.lacks(row, list, base)
	switch {
	case missing.line > 0 && row.t-max(base, h.lastAnswer(row.conv)) < patience:
		c.j.undecided()
		return
	case missing.line > 0:
		c.j.broken([]uint32{missing.line, h.socks[sock].line, row.line}, "%s never got a message of %s", h.devices[row.dev].name, h.convs[row.conv].name)
	case row.seq < h.convs[row.conv].last:
		c.j.broken([]uint32{row.line}, "%s says it has everything to seq %d, and there are %d", h.devices[row.dev].name, row.seq, h.convs[row.conv].last)
	case late.by > patience:
		c.j.broken([]uint32{h.socks[sock].line, late.line, row.line}, "%s caught up only after %d ms", h.devices[row.dev].name, late.by/1e6)
	}
	c.j.judged(1)
	c.took = append(c.took, late.by)
}

// lateness is how long after its answer a message came.
type lateness struct {
	by   int64
	line uint32
}

// lacks gives the first message that a device should have and has not, and how
// late the latest of the others was, counted from base on.
func (c *completeness) lacks(row caughtUp, list []int32, base int64) (missing spot, late lateness) {
	h := c.j.h
	conv := &h.convs[row.conv]
	near := int64(len(conv.spots.near)) // beyond it are wrong sequences, which others judge
	c.had = append(c.had[:0], make([]bool, near)...)
	for _, i := range list {
		r := &h.recvs[i]
		if r.conv != row.conv {
			break
		}
		if at := r.seq - conv.base - 1; at < near && !c.had[at] {
			c.had[at] = true
			if o := &h.ops[r.op]; o.acked() && r.t-max(base, o.ackT) > late.by {
				late = lateness{r.t - max(base, o.ackT), r.line}
			}
		}
	}
	first, ok := c.began[[2]int32{row.dev, row.conv}]
	if !ok {
		first = conv.base
	}
	for seq := first + 1; seq <= conv.base+near; seq++ {
		at, known := h.spot(row.conv, seq)
		if !known || c.had[seq-conv.base-1] || h.ops[at.op].dev == row.dev {
			continue
		}
		if in, _ := c.seats.at(row.conv, h.devices[row.dev].user, seq); in {
			return at, late
		}
	}
	return spot{}, late
}

// began is where each device began in each conversation: what its first socket
// resumed from.
func (h *History) began() map[[2]int32]int64 {
	first := map[[2]int32]int64{}
	for _, s := range h.socks {
		for _, p := range s.from {
			k := [2]int32{s.dev, p.conv}
			if _, known := first[k]; !known {
				first[k] = p.seq
			}
		}
	}
	return first
}

func (h *History) lastAnswer(conv int32) (t int64) {
	for _, k := range h.convs[conv].ops {
		t = max(t, h.ops[k].ackT)
	}
	return t
}

// healed is when the last fault ended.
func (h *History) healed() (t int64) {
	for _, w := range h.faults {
		t = max(t, w.to)
	}
	return t
}

// sockets judges those that ended, long after something was answered that they
// should have carried.
func (c *completeness) sockets() {
	h := c.j.h
	lists := h.receptions(len(h.socks), func(r *reception) int32 {
		if r.src == fetched {
			return -1
		}
		return r.sock
	})
	submitted := h.submitted()
	for i := range h.socks {
		s := &h.socks[i]
		if !s.closed || h.due(s.openT) >= s.closeT {
			continue
		}
		reached := map[int32]int64{}
		for _, p := range s.from {
			reached[p.conv] = p.seq
		}
		for _, k := range lists[i] {
			r := &h.recvs[k]
			if r.src == resynced {
				clear(reached) // the rest comes over REST
				continue
			}
			if _, begun := reached[r.conv]; begun {
				reached[r.conv] = max(reached[r.conv], r.seq)
			}
		}
		for conv, seq := range reached {
			c.tail(int32(i), conv, seq, submitted)
		}
	}
}

func (c *completeness) tail(sock, conv int32, reached int64, submitted sockets) {
	h := c.j.h
	s := &h.socks[sock]
	top := c.timeline(conv).until(h, func(at int64) bool { return h.due(at) < s.closeT })
	if top <= h.convs[conv].base {
		return
	}
	c.j.judged(1)
	for seq := reached + 1; seq <= top; seq++ {
		at, known := h.spot(conv, seq)
		if !known && seq-reached > nearby {
			return
		}
		if !known || h.own(at.op, sock, math.MaxUint32, submitted) {
			continue
		}
		if in, _ := c.seats.at(conv, h.devices[s.dev].user, seq); in {
			c.j.broken([]uint32{h.ops[at.op].ackLine, at.line, s.line}, "seq %d never came over a socket that was open for long after", seq)
			return
		}
	}
}
