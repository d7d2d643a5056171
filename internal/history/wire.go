package history

// What a socket must carry: I8, and whom it may carry it to: I10 and I15.

// track is what one socket has of one conversation.
type track struct {
	last int64 // -1 = whatever comes first is right
	line uint32
}

// wireOrder is I8.
func wireOrder(j *judge) {
	lists := j.h.receptions(len(j.h.socks), func(r *reception) int32 {
		if r.src == fetched {
			return -1
		}
		return r.sock
	})
	submitted := j.h.submitted()
	for i, list := range lists {
		j.socket(int32(i), list, submitted)
	}
}

// sockets says by which line each message was submitted on which socket,
// besides its first.
type sockets map[[2]int32]uint32

func (h *History) submitted() sockets {
	on := sockets{}
	for _, s := range h.subs {
		k := [2]int32{s.op, s.sock}
		if _, known := on[k]; !known && s.sock >= 0 && s.sock != h.ops[s.op].sock {
			on[k] = s.line
		}
	}
	return on
}

// own says whether a socket had submitted a message by then, so that it gets
// the answer in place of the message.
func (h *History) own(i, sock int32, by uint32, submitted sockets) bool {
	if o := &h.ops[i]; o.sock == sock {
		return o.line < by
	}
	line, ok := submitted[[2]int32{i, sock}]
	return ok && line < by
}

func (j *judge) socket(sock int32, list []int32, submitted sockets) {
	tracks := map[int32]track{}
	for _, p := range j.h.socks[sock].from {
		tracks[p.conv] = track{p.seq, j.h.socks[sock].line}
	}
	for _, i := range list {
		r := &j.h.recvs[i]
		if r.src == resynced {
			if r.conv < 0 {
				clear(tracks)
			} else {
				tracks[r.conv] = track{-1, r.line}
			}
			continue
		}
		at, ok := tracks[r.conv]
		if !ok {
			at = track{-1, 0}
		}
		tracks[r.conv] = j.next(sock, r, at, submitted)
	}
}

// next judges one message on a socket and gives where the socket is after it.
func (j *judge) next(sock int32, r *reception, at track, submitted sockets) track {
	j.judged(1)
	if o := &j.h.ops[r.op]; o.sent() && o.sock == sock && !o.roamed {
		j.broken([]uint32{o.line, r.line}, "seq %d came over the socket that sent it", r.seq)
	}
	if at.last < 0 {
		return track{r.seq, r.line}
	}
	if r.seq <= at.last {
		j.broken([]uint32{at.line, r.line}, "seq %d came after seq %d", r.seq, at.last)
		return at
	}
	for seq := at.last + 1; seq < r.seq; seq++ {
		s, known := j.h.spot(r.conv, seq)
		if known && !j.h.own(s.op, sock, r.line, submitted) {
			j.broken([]uint32{at.line, r.line, s.line}, "seq %d was left out between %d and %d", seq, at.last, r.seq)
		}
		if !known && seq-at.last > nearby {
			break // nothing is known that far out
		}
	}
	return track{r.seq, r.line}
}
