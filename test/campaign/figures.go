package main

import "time"

// The figures, by the names under which they are broken.
const (
	figureReadiness = "readiness" // agrees within 2 s
	figureOutbox    = "outbox"    // is empty within 30 s
	figureAnswers   = "answers"   // within 1 s without PostgreSQL, and never sent; always sent without Redis and Kafka
	figureRepeats   = "repeats"   // succeed within 10 s
	figureTail      = "tail"      // across nodes within 2 s without Redis and Kafka
	figureFlow      = "flow"      // goes on within a minute
)

// figures takes the figures of all strokes.
func (p *play) figures() {
	var ready, recovery, drain, answers, tail []time.Duration
	for i, w := range p.windows {
		agreed := p.agreement(i)
		gone := max(p.drained[i], p.published(w))
		if p.drained[i] == never || gone > drainWithin {
			p.result.bad(figureOutbox, "%s: the outbox was not empty %s after it healed", w.text, drainWithin)
		}
		ready, drain = append(ready, agreed), append(drain, gone)
		recovery = append(recovery, p.sight.recoveries(w.healed)...)
		p.result.During += p.sight.between(w.begin, w.healed)
		p.result.Unknown += p.sight.open(w.begin-answerWithin, w.healed+answerWithin)
		answers = append(answers, p.refused(w)...)
		tail = append(tail, p.crossed(w)...)
		p.result.Strokes = append(p.result.Strokes, strokeResult{w.text, (w.to - w.from).Milliseconds(), agreed.Milliseconds(), gone.Milliseconds()})
	}
	p.result.Acked = len(p.sight.first)
	p.result.Agreement, p.result.Recovery, p.result.Drain = spread(ready), spread(recovery), spread(drain)
	if len(answers) > 0 {
		s := spread(answers)
		p.result.Answers = &s
	}
	if len(tail) > 0 {
		s := spread(tail)
		p.result.Tail = &s
		if s.P99 > tailWithin.Milliseconds() {
			p.result.bad(figureTail, "one of a hundred messages took %d ms to the other node without Redis and Kafka", s.P99)
		}
	}
}

// agreement judges readiness in and after a stroke, and gives the longest time
// that it took.
func (p *play) agreement(i int) (longest time.Duration) {
	w := p.windows[i]
	next := never
	if i+1 < len(p.windows) {
		next = p.windows[i+1].begin
	}
	for n, watch := range p.watches {
		for _, part := range []struct {
			when     string
			from, to time.Duration
			want     string
		}{
			{"in force", w.from, w.to, w.want[n]},
			{"healed", w.healed, next, ready},
		} {
			// A fault that is shorter than what readiness is given says nothing.
			if part.want == "" || part.to-part.from < agreeWithin && part.want != ready {
				continue
			}
			after, ok := agreement(watch.all(), part.from, part.to, part.want)
			if !ok && part.to-part.from >= agreeWithin {
				p.result.bad(figureReadiness, "%s, %s: node %d did not say %q %s later and from then on: %s", w.text, part.when, n+1, part.want, agreeWithin, said(watch.all(), part.from, part.to))
			}
			if ok {
				longest = max(longest, after)
			}
		}
	}
	return longest
}

// lateOneIn: the clients share the processors with everything else, so that one
// in a hundred may have been read late.
const lateOneIn = 100

// refused judges what was answered without PostgreSQL.
func (p *play) refused(w window) []time.Duration {
	if len(w.away) == 0 {
		return nil
	}
	r := p.sight.refusals(w)
	if r.late*lateOneIn > r.sends || r.false > 0 {
		p.result.bad(figureAnswers, "%s: of %d sends %d had no answer within %s, %d were answered with sent", w.text, r.sends, r.late, answerWithin, r.false)
	}
	if r.undone > 0 {
		p.result.bad(figureRepeats, "%s: of %d sends %d had not succeeded %s after it healed", w.text, r.sends, r.undone, repeatWithin)
	}
	return r.took
}

// crossed judges what was sent without Redis and Kafka.
func (p *play) crossed(w window) []time.Duration {
	if !w.alone {
		return nil
	}
	for _, t := range p.sight.tries {
		if t.t >= w.from && t.t < w.to && !t.stored {
			p.result.bad(figureAnswers, "%s: a send did not succeed, %s after", w.text, t.t-w.from)
			break
		}
	}
	return p.sight.crossings(w.from, w.to-tailWithin)
}

// published is how long after the healing the last event of what was answered
// before was in its topic.
func (p *play) published(w window) (longest time.Duration) {
	for id, t := range p.sight.first {
		if t < w.begin || t > w.healed {
			continue
		}
		if at, ok := p.arrivals[p.sight.at[id]]; ok {
			longest = max(longest, at.Sub(p.clock)-w.healed)
		}
	}
	return longest
}
