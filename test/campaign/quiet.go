package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/web"
	"github.com/nova-chat/nova/test/process"
	"github.com/nova-chat/nova/test/servers"
)

// topics are those that events about messages are in.
var topics = []string{"nova.messaging"}

// depth gives the events that wait, by service, summed over the nodes: one of
// them relays and can tell. ok is false while a node cannot be asked.
func (d *deployment) depth(ctx context.Context) (depth map[string]int64, ok bool) {
	depth = map[string]int64{}
	for _, n := range d.nodes {
		client, err := web.NewClient("http://"+n.Admin, web.ClientOptions{Timeout: pollTime})
		if err != nil {
			return nil, false
		}
		answer, err := client.Raw(ctx, http.MethodGet, "/metrics", nil, nil)
		client.Close()
		if err != nil || answer.Status != http.StatusOK {
			return nil, false
		}
		readDepth(answer.Body, depth)
	}
	return depth, len(depth) > 0
}

func readDepth(metrics []byte, into map[string]int64) {
	for line := range bytes.Lines(metrics) {
		series, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		service, found := strings.CutPrefix(series, `outbox_unpublished_events{service="`)
		n, err := strconv.ParseFloat(value, 64)
		if found && err == nil {
			into[strings.TrimSuffix(service, `"}`)] += int64(n)
		}
	}
}

// drain waits until the outbox is empty after a fault.
func (p *play) drain(ctx context.Context, healed time.Duration) {
	empty := func() bool {
		depth, ok := p.depth(ctx)
		for _, n := range depth {
			ok = ok && n == 0
		}
		return ok
	}
	took := never
	if await(ctx, drainWithin-(p.journal.now()-healed), empty) {
		took = p.journal.now() - healed
	}
	p.drained = append(p.drained, took)
}

// never is a time that did not end.
const never = time.Hour

// quiet writes down what is left when nobody sends any more: the outbox, and
// all events of the chapter.
func (p *play) quiet(ctx context.Context) error {
	var depth map[string]int64
	await(ctx, drainWithin, func() bool {
		left, ok := p.depth(ctx)
		if ok {
			depth = left
		}
		for _, n := range left {
			ok = ok && n == 0
		}
		return ok
	})
	if depth == nil {
		return errors.New("no node says what waits in the outbox")
	}
	for service, n := range depth {
		p.journal.row("outbox", fields{"service": service, "depth": n, "t": p.journal.now()})
	}
	end, err := p.kafka.End(ctx, topics...)
	if err != nil {
		return err
	}
	const patience = time.Minute
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.kafka.Records(limited, p.topics, end, p.event); err != nil {
		return err
	}
	for _, topic := range topics {
		p.journal.row("events", fields{"topic": topic, "t": p.journal.now()})
	}
	return nil
}

// event writes down a record. One that cannot be read has no message, and then
// the message that it should have been is missed.
func (p *play) event(r servers.KafkaRecord) {
	row := fields{}
	if m := (message{}); r.Headers["type"] == "message.sent" && json.Unmarshal(r.Value, &m) == nil {
		if !p.sight.convs[m.ConversationID] {
			return
		}
		row = m.row(p.journal)
		p.arrivals[place{m.ConversationID, m.Seq}] = r.At
	}
	row["topic"], row["partition"], row["offset"], row["id"], row["type"] = r.Topic, r.Partition, r.Offset, r.Headers["id"], r.Headers["type"]
	p.journal.row("event", row)
}

// shutdown writes down how a node ended in order. Without a ledger the numbers
// cannot balance, so that the line breaks what it should.
func (j *journal) shutdown(node string, e process.Ended) {
	row := fields{"node": node, "accepted": 1, "committed": 0, "rejected": 0, "unknown": 0, "exit": max(e.Code, 0), "t": j.now()}
	if e.Hung || e.Code < 0 {
		row["exit"] = 255
	}
	if l := e.Ledger(); l != nil {
		row["accepted"], row["committed"], row["rejected"], row["unknown"] = l.Accepted, l.Committed, l.Rejected, l.Unknown
		row["acknowledged"], row["duration_ms"] = l.Acknowledged, l.Duration
		if l.OutboxLeft != nil {
			row["outbox_left"] = *l.OutboxLeft
		}
		if l.GoroutinesLeft != nil {
			row["goroutines_left"] = *l.GoroutinesLeft
		}
	}
	j.row("shutdown", row)
}

// epilogue ends the nodes of a deployment in order and judges their ledgers.
func (c *campaign) epilogue(ctx context.Context, d *deployment) (chapter, error) {
	name := fmt.Sprintf("end-%d", len(d.kafka.Nodes))
	one := chapter{Name: name, Cycles: 1, Files: []string{c.file(name, ".own")}}
	j, err := newJournal(one.Files[0], id.New(), time.Now())
	if err != nil {
		return one, err
	}
	for _, n := range d.nodes {
		j.shutdown(n.name, n.Stop(syscall.SIGTERM))
	}
	if err := j.close(); err != nil {
		return one, err
	}
	return one, one.check(ctx, []string{"I17"})
}
