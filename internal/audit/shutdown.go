package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nova-chat/nova/internal/load"
)

const (
	restartWithin = 2 * time.Minute // for the command, and then for the node to be ready
	trafficBefore = time.Second     // under traffic before the restart
	trafficAfter  = 2 * time.Second // and after it
	socketRate    = 40              // messages a second over sockets, all probes together
	postEvery     = 50 * time.Millisecond
)

// shutdown restarts the node under numbered traffic and reconciles: everything
// that was acknowledged must be stored, and delivered after the resume.
func (t *target) shutdown(ctx context.Context, c *Check) error {
	if t.opts.Restart == nil {
		return cannot("no --restart-cmd: nothing was restarted")
	}
	people, err := t.accounts(ctx, 4)
	if err != nil {
		return err
	}
	group, err := people[0].converse(ctx, "Audit", people[1:]...)
	if err != nil {
		return err
	}
	before, err := t.scrape(ctx)
	if err != nil {
		return err
	}
	tr := &traffic{t: t, posts: poster{from: people[0], conversation: group, acked: map[string]message{}}}
	tr.start(ctx, people)
	restarted := tr.restart(ctx)
	result, err := tr.stop()
	if restarted != nil {
		return restarted
	}
	if err != nil {
		return fmt.Errorf("the traffic over sockets: %w", err)
	}
	after, err := t.scrape(ctx)
	if err != nil {
		return err
	}
	if d := delta(before, after, "process_start_time_seconds"); d == 0 {
		return cannot("the command ended well, but the node is the same process as before")
	}
	judgeSockets(c, result)
	if err := tr.posts.judge(ctx, c, people[1]); err != nil {
		return err
	}
	return t.judgeLedger(c)
}

func judgeSockets(c *Check, r load.Result) {
	l := r.Ledger
	c.note("over %d sockets: sent %d = acknowledged %d + refused %d + indeterminate %d; stored %d", r.Devices, l.Sent, l.Acked, l.Refused, l.Indeterminate, l.Stored)
	c.fact(l.Acked > 0, "messages acknowledged over sockets: %d", l.Acked)
	equal(c, "over sockets, acknowledged and not stored", l.AckedNotStored, 0)
	equal(c, "over sockets, lost (acknowledged or stored, and not delivered after the resume)", l.Lost, 0)
	equal(c, "over sockets, deliveries due at devices that could not come back", l.Unfetched, 0)
	equal(c, "over sockets, duplicates after removing repeats by sequence", l.Duplicates, 0)
	equal(c, "over sockets, misordered", l.Misordered, 0)
	equal(c, "over sockets, never sent or altered", l.Unexpected, 0)
	equal(c, "over sockets, sequences left out", l.Holes, 0)
	if len(r.Closes) == 0 {
		c.notJudged("close codes: no socket was closed by the restart")
		return
	}
	for _, code := range slices.Sorted(maps.Keys(r.Closes)) {
		c.fact(code == 1012 || code == 1001, "%d sockets ended with close code %d, and it must be 1012 or 1001", r.Closes[code], code)
	}
}

// judge compares what was acknowledged with the log, and with what a device of
// somebody else gets when it resumes from the beginning.
func (p *poster) judge(ctx context.Context, c *Check, other *device) error {
	c.note("over REST: acknowledged %d, refused %d", len(p.acked), p.refused)
	stored, err := p.from.history(ctx, p.conversation)
	if err != nil {
		return err
	}
	missing, holes := p.compare(stored)
	equal(c, "over REST, acknowledged and not stored once as acknowledged", missing, 0)
	equal(c, "over REST, sequences left out or used twice", holes, 0)
	if err := other.renew(ctx); err != nil {
		return err
	}
	s, welcome, err := other.connect(ctx, nil, "")
	if err != nil {
		return err
	}
	s.bye()
	s, before, err := other.connect(ctx, &resume{welcome[0].Epoch, map[string]int64{p.conversation: 0}}, "")
	if err != nil {
		return err
	}
	s.bye()
	var delivered []message
	for _, f := range before {
		if f.Op == "message" && f.Message.ConversationID == p.conversation {
			delivered = append(delivered, f.Message)
		}
	}
	missing, holes = p.compare(delivered)
	equal(c, "over REST, acknowledged and not delivered once after the resume", missing, 0)
	equal(c, "over REST, sequences left out or doubled in the resume", holes, 0)
	return nil
}

// compare counts the acknowledged messages that are not in the list exactly
// once as they were acknowledged, and where the list is not 1, 2, 3 ...
func (p *poster) compare(list []message) (missing, holes int) {
	seen := map[string]int{}
	for i, m := range list {
		if m.Seq != int64(i)+1 {
			holes++
		}
		if m == p.acked[m.ClientMsgID] {
			seen[m.ClientMsgID]++
		}
	}
	for client := range p.acked {
		if seen[client] != 1 {
			missing++
		}
	}
	return missing, holes
}

// judgeLedger reads what the process that ended said about its end.
func (t *target) judgeLedger(c *Check) error {
	if t.logs == nil {
		c.notJudged("no --log-dir: the shutdown line and the ledger")
		return nil
	}
	said, err := t.logs.lines("nova", "Shutting down gracefully...")
	if err != nil {
		return err
	}
	c.fact(len(said) > 0, `lines "Shutting down gracefully..." in nova.log: %d`, len(said))
	ledgers, err := t.logs.lines("nova", "shutdown ledger")
	if err != nil {
		return err
	}
	if !c.fact(len(ledgers) > 0, "ledgers in nova.log: %d", len(ledgers)) {
		return nil
	}
	l := ledgers[len(ledgers)-1]
	accepted, sum := l.number("accepted"), l.number("committed")+l.number("rejected")+l.number("unknown")
	c.fact(accepted > 0 && accepted == sum, "ledger: accepted %g = committed %g + rejected %g + unknown %g",
		accepted, l.number("committed"), l.number("rejected"), l.number("unknown"))
	equal(c, "ledger: outbox_left", l.number("outbox_left"), 0)
	equal(c, "ledger: goroutines_left", l.number("goroutines_left"), 0)
	c.note("ledger: acknowledged %g, sockets_closed %g, duration_ms %g", l.number("acknowledged"), l.number("sockets_closed"), l.number("duration_ms"))
	c.notJudged("the exit code of the process: only its supervisor sees it")
	return nil
}
