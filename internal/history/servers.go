package history

import (
	"cmp"
	"slices"
)

// What the servers say of themselves: I13, I16 and I17.

// eventsMatch is I13.
func eventsMatch(j *judge) {
	rows := slices.Clone(j.h.events)
	slices.SortStableFunc(rows, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	published := j.published(rows)
	if len(j.h.topics) > 0 {
		j.unpublished(published)
	}
	for _, e := range j.h.handled {
		j.judged(1)
		if !e.done {
			j.broken([]uint32{e.line}, "%s has not done what the event about %s asks for", e.service, e.id)
		}
	}
	last := map[string]depth{}
	for _, d := range j.h.outboxes {
		if before, ok := last[d.service]; !ok || d.t >= before.t {
			last[d.service] = d
		}
	}
	for _, d := range last {
		j.judged(1)
		if d.n > 0 {
			j.broken([]uint32{d.line}, "the outbox of %s still has %d events", d.service, d.n)
		}
	}
}

// published judges the order of the messages in a topic, each counted where it
// is first, and gives those that are there.
func (j *judge) published(rows []event) map[int32]bool {
	type stream struct{ topic, conv int32 }
	seen, last, all := map[uint64]bool{}, map[stream]event{}, map[int32]bool{}
	for _, e := range rows {
		if e.op < 0 || seen[e.id] {
			continue
		}
		seen[e.id] = true
		all[e.op] = true
		j.judged(1)
		k := stream{e.topic, e.conv}
		if before, ok := last[k]; ok && before.seq >= e.seq {
			j.broken([]uint32{before.line, e.line}, "the event of seq %d comes after that of seq %d", e.seq, before.seq)
			continue
		}
		last[k] = e
	}
	return all
}

// unpublished looks for stored messages of which there is no event.
func (j *judge) unpublished(published map[int32]bool) {
	seen := map[int32]bool{}
	for _, e := range j.h.logs {
		if seen[e.op] {
			continue
		}
		seen[e.op] = true
		j.judged(1)
		if !published[e.op] {
			j.broken([]uint32{e.line}, "seq %d is stored, and no topic that was read has its event", e.seq)
		}
	}
}

// tally is what the clients counted.
type tally struct{ tries, answered, refused, open int64 }

func (h *History) tally() tally {
	t := tally{tries: int64(len(h.subs)), open: h.leftOpen, answered: int64(len(h.repeats))}
	for _, o := range h.ops {
		t.refused += int64(o.refused)
		if o.acked() {
			t.answered++
		}
	}
	return t
}

// accounts is I16. Tries that nobody answered may be in any counter, so each
// counter is judged within their number.
func accounts(j *judge) {
	if len(j.h.metrics) == 0 {
		return
	}
	sum, lines := map[string]int64{}, []uint32{}
	for _, m := range j.h.metrics {
		lines = append(lines, m.line)
		for name, n := range m.delta {
			sum[name] += n
		}
	}
	t := j.h.tally()
	silent := t.tries - t.answered - t.refused - t.open
	within := func(name string, n, least, most int64) {
		j.judged(1)
		if n < least || n > most {
			j.broken(lines, "%s rose by %d, the clients saw %d to %d", name, n, least, most)
		}
	}
	stored := sum["messages_committed_total"] + sum["messages_repeated_total"]
	within("messages_committed_total and messages_repeated_total", stored, t.answered, t.answered+silent)
	within("messages_rejected_total", sum["messages_rejected_total"], t.refused, t.refused+silent)
	within("messages_unknown_total", sum["messages_unknown_total"], t.open, t.open+silent)
	within("messages_accepted_total", sum["messages_accepted_total"], t.tries-silent, t.tries)
	if all := stored + sum["messages_rejected_total"] + sum["messages_unknown_total"]; all != sum["messages_accepted_total"] {
		j.broken(lines, "messages_accepted_total rose by %d, its parts by %d", sum["messages_accepted_total"], all)
	}
	if n, unsure := j.h.rows(); n >= 0 {
		within("messages_committed_total", sum["messages_committed_total"], n-unsure-silent, n)
	}
	if _, said := sum["message_deliveries_total"]; said {
		within("message_deliveries_total", sum["message_deliveries_total"], j.h.carried(), 1<<62)
	}
	within("message_delivery_failures_total of reason unknown", sum["message_delivery_failures_total.unknown"], 0, 0)
}

// rows counts the stored messages; -1 if a log was not read. Of some it is not
// sure that the server knows which try stored them: one whose outcome it could
// not tell is counted as that, and the next one as a repeat.
func (h *History) rows() (n, unsure int64) {
	read := map[int32]bool{}
	for _, l := range h.logged {
		read[l.conv] = true
	}
	if len(read) < len(h.convs) {
		return -1, 0
	}
	seen := map[[2]int64]bool{}
	for _, e := range h.logs {
		row := [2]int64{int64(e.conv), e.seq}
		if !seen[row] && h.ops[e.op].open > 0 {
			unsure++
		}
		seen[row] = true
	}
	return int64(len(seen)), unsure
}

// carried counts what came over sockets.
func (h *History) carried() (n int64) {
	for i := range h.recvs {
		if s := h.recvs[i].src; s == live || s == resumed {
			n++
		}
	}
	return n
}

// ledgers is I17.
func ledgers(j *judge) {
	for _, s := range j.h.shutdowns {
		j.judged(1)
		lines := []uint32{s.line}
		if s.accepted != s.committed+s.rejected+s.unknown {
			j.broken(lines, "%s accepted %d sends, and committed %d, rejected %d, left open %d", s.node, s.accepted, s.committed, s.rejected, s.unknown)
		}
		if s.answers > s.committed {
			j.broken(lines, "%s acknowledged %d sends and committed %d", s.node, s.answers, s.committed)
		}
		if s.exit != 0 || s.goroutines > 0 {
			j.broken(lines, "%s ended with exit code %d and %d goroutines left", s.node, s.exit, s.goroutines)
		}
	}
}
