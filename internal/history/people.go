package history

// Whom messages may reach: I10 and I15. What users read: I11 and I12.

// visibility is I10.
func visibility(j *judge) {
	s := j.h.seats()
	for i := range j.h.recvs {
		r := &j.h.recvs[i]
		if r.src == resynced || !s.known[r.conv] {
			continue
		}
		j.judged(1)
		user := j.h.devices[r.dev].user
		if r.src == fetched {
			if first := s.since(r.conv, user); first == 0 || r.seq < first {
				j.broken([]uint32{r.line}, "%s read seq %d, which its history does not show", j.h.users.list[user], r.seq)
				continue
			}
		} else if in, line := s.at(r.conv, user, r.seq); !in {
			j.broken([]uint32{line, r.line}, "%s received seq %d and is no member there", j.h.users.list[user], r.seq)
			continue
		}
		if since, out := s.gone(r.conv, user, r.t); out && r.t > since.t+aSecond {
			j.broken([]uint32{since.line, r.line}, "%s received seq %d more than 1 s after it was removed", j.h.users.list[user], r.seq)
		}
	}
}

// revoked is I15.
func revoked(j *judge) {
	bySession := map[int32][]int{}
	for i, r := range j.h.revokes {
		bySession[r.session] = append(bySession[r.session], i)
	}
	if len(bySession) == 0 {
		return
	}
	used := map[int32]bool{}
	for _, s := range j.h.socks {
		used[s.session] = true
	}
	for _, r := range j.h.revokes {
		if used[r.session] {
			j.judged(1)
		}
	}
	for i := range j.h.recvs {
		r := &j.h.recvs[i]
		if r.sock < 0 || r.src == fetched {
			continue
		}
		for _, k := range bySession[j.h.socks[r.sock].session] {
			if v := j.h.revokes[k]; r.t > v.t+v.within {
				j.broken([]uint32{v.line, j.h.socks[r.sock].line, r.line}, "received %d ms after its session was ended", (r.t-v.t)/1e6)
			}
		}
	}
}

// readWrites is I11.
func readWrites(j *judge) {
	if len(j.h.reads) == 0 {
		return
	}
	pages := j.h.receptions(len(j.h.socks), func(r *reception) int32 {
		if r.src != fetched {
			return -1
		}
		return r.sock
	})
	timeline := j.h.timelines()
	for _, r := range j.h.reads {
		got, end := map[int64]bool{}, r.after
		for _, i := range pages[r.sock] {
			if e := &j.h.recvs[i]; e.conv == r.conv {
				got[e.seq] = true
				end = max(end, e.seq)
			}
		}
		top := timeline(r.conv).until(j.h, func(at int64) bool { return at < r.begin })
		if r.more {
			top = min(top, end)
		}
		j.page(r, got, top)
	}
}

func (j *judge) page(r reading, got map[int64]bool, top int64) {
	j.judged(1)
	for seq := r.after + 1; seq <= top; seq++ {
		at, known := j.h.spot(r.conv, seq)
		if !known && seq-r.after > nearby {
			return
		}
		if !known || got[seq] {
			continue
		}
		if o := &j.h.ops[at.op]; o.acked() && o.ackT < r.begin {
			j.broken([]uint32{o.ackLine, r.line}, "seq %d was answered before history was read on %s, and was not in it", seq, j.h.nodes.list[r.node])
			return
		}
	}
}
