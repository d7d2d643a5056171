package history

import (
	"errors"
	"fmt"
	"math"
)

// What is read from the servers, and what was done to them.

func (b *builder) fault(l *line) error {
	b.h.faults = append(b.h.faults, window{string(l.text[fName]), l.num[fT], math.MaxInt64, l.number})
	return nil
}

func (b *builder) heal(l *line) error {
	name := string(l.text[fName])
	for i := len(b.h.faults) - 1; i >= 0; i-- {
		if w := &b.h.faults[i]; w.name == name && w.to == math.MaxInt64 {
			w.to = l.num[fT]
			return nil
		}
	}
	return errors.New("heals a fault that no line before it begins")
}

func (b *builder) log(l *line) error {
	by, conv, err := b.where(l, fBy)
	if err != nil {
		return err
	}
	if !b.above(conv, l.num[fSeq]) {
		return nil
	}
	b.h.logs = append(b.h.logs, entry{
		b.h.nodes.number(l.text[fNode]), conv, b.message(by, l.text[fCmid]),
		l.num[fSeq], l.opt(fVersion, 0), digest(l.text[fMsg]), digest(l.text[fHash]), l.number,
	})
	return nil
}

func (b *builder) logged(l *line) error {
	conv, err := b.conv(l)
	if err != nil {
		return err
	}
	b.h.logged = append(b.h.logged, logRead{b.h.nodes.number(l.text[fNode]), conv, l.number})
	return nil
}

// aMessage are the fields of an event that is about a message.
var aMessage = of(fConv, fSeq, fMsg, fCmid, fBy, fHash)

func (b *builder) event(l *line) error {
	e := event{topic: b.h.topicList.number(l.text[fTopic]), partition: int32(l.num[fPartition]), offset: l.num[fOffset], id: digest(l.text[fID]), conv: -1, op: -1, line: l.number}
	if l.has&aMessage == 0 {
		b.h.events = append(b.h.events, e)
		return nil
	}
	if lacks := aMessage &^ l.has; lacks != 0 {
		return errors.New("is an event about a message and lacks the field " + fields[lacks.first()].name)
	}
	by, conv, err := b.where(l, fBy)
	if err != nil {
		return err
	}
	if !b.above(conv, l.num[fSeq]) {
		return nil
	}
	e.conv, e.op, e.seq = conv, b.message(by, l.text[fCmid]), l.num[fSeq]
	e.msg, e.hash = digest(l.text[fMsg]), digest(l.text[fHash])
	b.h.events = append(b.h.events, e)
	return nil
}

func (b *builder) events(l *line) error {
	b.h.topics[b.h.topicList.number(l.text[fTopic])] = l.number
	return nil
}

func (b *builder) handled(l *line) error {
	kind := string(l.text[fKind])
	if kind != "done" && kind != "missing" {
		return fmt.Errorf("has the kind %.40q: done or missing", kind)
	}
	b.h.handled = append(b.h.handled, handling{string(l.text[fService]), string(l.text[fID]), kind == "done", l.number})
	return nil
}

func (b *builder) outbox(l *line) error {
	b.h.outboxes = append(b.h.outboxes, depth{string(l.text[fService]), l.num[fDepth], l.num[fT], l.number})
	return nil
}

func (b *builder) metrics(l *line) error {
	m := metric{string(l.text[fNode]), map[string]int64{}, l.number}
	for _, p := range l.pairs {
		m.delta[string(p.name)] = p.n
	}
	b.h.metrics = append(b.h.metrics, m)
	return nil
}

func (b *builder) shutdown(l *line) error {
	b.h.shutdowns = append(b.h.shutdowns, shutdown{
		node: string(l.text[fNode]), accepted: l.num[fAccepted], committed: l.num[fCommitted], rejected: l.num[fRejected],
		unknown: l.num[fUnknown], answers: l.opt(fAcknowledged, 0), goroutines: l.opt(fGoroutinesLeft, 0), exit: l.num[fExit], line: l.number,
	})
	return nil
}
