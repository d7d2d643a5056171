package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// sight is what figures need of a history: who sent when, and what came of it.
type sight struct {
	convs map[string]bool
	tries []try
	first map[string]time.Duration   // the first answer to a message, by device and cmid
	at    map[string]place           // where it is stored
	acks  map[string][]time.Duration // by device
	recvs []delivery
}

// try is one send over a socket.
type try struct {
	message  string // device and cmid
	node     string
	t        time.Duration
	answered time.Duration // 0 = never, or with the loss of the socket
	stored   bool          // the answer was sent
	open     bool          // nobody can tell
}

type place struct {
	conv string
	seq  int64
}

// delivery is one message at one device.
type delivery struct {
	message, node string
	t             time.Duration
}

// line is a line of the generator's history, as far as it matters here.
type line struct {
	Op, Dev, Sock, Node, Conv, Cmid, By, Kind, Reason, Src string
	Seq                                                    int64
	T                                                      time.Duration
}

func readSight(r io.Reader) (*sight, error) {
	s := &sight{convs: map[string]bool{}, first: map[string]time.Duration{}, at: map[string]place{}, acks: map[string][]time.Duration{}}
	nodes, waiting, conv := map[string]string{}, map[string]int{}, map[string]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("a line of a history: %w", err)
		}
		id := l.Dev + "/" + l.Cmid
		switch l.Op {
		case "conv":
			s.convs[l.Conv] = true
		case "open":
			nodes[l.Sock] = l.Node
		case "send":
			conv[id] = l.Conv
			waiting[l.Sock+"/"+l.Cmid] = len(s.tries)
			s.tries = append(s.tries, try{message: id, node: nodes[l.Sock], t: l.T})
		case "ack", "fail":
			s.answer(waiting, l, id)
			if l.Op == "ack" {
				s.at[id] = place{conv[id], l.Seq}
			}
		case "recv":
			if l.Src != "history" {
				s.recvs = append(s.recvs, delivery{l.By + "/" + l.Cmid, nodes[l.Sock], l.T})
			}
		}
	}
	return s, lines.Err()
}

func (s *sight) answer(waiting map[string]int, l line, id string) {
	if l.Op == "ack" {
		if _, known := s.first[id]; !known {
			s.first[id] = l.T
			s.acks[l.Dev] = append(s.acks[l.Dev], l.T)
		}
	}
	i, known := waiting[l.Sock+"/"+l.Cmid]
	if !known {
		return
	}
	delete(waiting, l.Sock+"/"+l.Cmid)
	t := &s.tries[i]
	t.stored, t.open = l.Op == "ack", l.Kind == "indeterminate"
	if l.Reason != "socket_lost" {
		t.answered = l.T
	}
}

// between counts the messages that were answered first in a stretch of time.
func (s *sight) between(from, to time.Duration) (n int) {
	for _, t := range s.first {
		if t >= from && t < to {
			n++
		}
	}
	return n
}

// open counts the tries in a stretch of time of which nobody can tell.
func (s *sight) open(from, to time.Duration) (n int) {
	for _, t := range s.tries {
		if t.open && t.t >= from && t.t < to {
			n++
		}
	}
	return n
}

// recoveries are how long it took each sender to be answered after a moment.
func (s *sight) recoveries(healed time.Duration) (all []time.Duration) {
	for _, acks := range s.acks {
		if i := slices.IndexFunc(acks, func(t time.Duration) bool { return t >= healed }); i >= 0 {
			all = append(all, acks[i]-healed)
		}
	}
	return all
}

const (
	// answerWithin is how soon a send is answered while PostgreSQL is away, and
	// repeatWithin how soon after that its repeat has succeeded.
	answerWithin = time.Second
	repeatWithin = 10 * time.Second
	// tailWithin is how soon a message crosses nodes without Redis.
	tailWithin = 2 * time.Second
)

// refusals judges the sends over nodes from which PostgreSQL is away.
type refusals struct {
	sends  int
	late   int // not answered within a second
	false  int // answered with sent
	lost   int // the socket ended instead
	undone int // the repeat did not succeed in time
	took   []time.Duration
}

func (s *sight) refusals(w window) (r refusals) {
	failed := map[string]bool{}
	for _, t := range s.tries {
		if !slices.Contains(w.away, t.node) || t.t < w.from || t.t > w.to-answerWithin {
			continue
		}
		r.sends++
		failed[t.message] = true
		switch {
		case t.answered == 0 && t.open:
			r.lost++
		case t.answered == 0 || t.answered-t.t > answerWithin:
			r.late++
		}
		if t.stored && t.answered < w.to {
			r.false++
		}
		if t.answered > 0 {
			r.took = append(r.took, t.answered-t.t)
		}
	}
	for message := range failed {
		if at, ok := s.first[message]; !ok || at > w.healed+repeatWithin {
			r.undone++
		}
	}
	return r
}

// crossings are how long messages took from their answer to devices on the other
// node, of those that were answered in a stretch of time.
func (s *sight) crossings(from, to time.Duration) (all []time.Duration) {
	node := map[string]string{}
	for _, t := range s.tries {
		node[t.message] = t.node
	}
	for _, d := range s.recvs {
		at, ok := s.first[d.message]
		if ok && at >= from && at < to && node[d.message] != d.node {
			all = append(all, max(0, d.t-at))
		}
	}
	return all
}

// quantile is the smallest of which at least the part q is not above it.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
