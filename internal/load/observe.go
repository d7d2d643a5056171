package load

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What a history has besides the devices' own rows: who takes part, what is
// read over REST while the run goes on, and what the nodes say at the end.

// write begins the history, if there is to be one.
func (r *runner) write() {
	if r.opts.History == nil {
		return
	}
	begin := orDefault(r.opts.Clock, time.Now())
	r.journal = newJournal(context.WithoutCancel(r.ctx), r.group, r.opts.History, begin)
	r.journal.row("history")
	r.journal.number("version", historyVersion)
	r.journal.text("run", orDefault(r.opts.Run, newUUID().String()))
	r.journal.text("start", begin.UTC().Format(time.RFC3339Nano))
	r.journal.end()
}

// historyVersion is the version of the format.
const historyVersion = 1

// declare names devices, conversations and members.
func (r *runner) declare() {
	j := r.journal
	if j == nil {
		return
	}
	for _, d := range r.devices {
		label := fmt.Sprintf("d%d", d.index)
		j.mu.Lock()
		j.labels[d.session.UserID+"/"+d.session.DeviceID] = label
		j.mu.Unlock()
		j.device(label, d.session.UserID, d.session.DeviceID)
	}
	for _, c := range r.convs {
		j.row("conv")
		j.text("conv", c.id)
		j.number("base", c.base)
		j.end()
		for _, in := range c.inboxes {
			j.row("member")
			j.text("conv", c.id)
			j.text("user", r.devices[in.device].session.UserID)
			j.raw("kind", []byte("add"))
			j.number("seq", c.base)
			j.time()
			j.end()
		}
	}
}

// opened notes a socket whose hello was answered.
func (d *device) opened(welcome []byte) {
	j := d.run.journal
	if j == nil {
		return
	}
	link := j.open(d.index, d.run.node(d.at()), text(welcome, keySession), d.asked)
	d.mu.Lock()
	d.link = link
	d.mu.Unlock()
}

// node is a node's name in the history.
func (r *runner) node(i int) string {
	_, host, _ := strings.Cut(r.opts.targets()[i], "://")
	return host
}

func (r *runner) startReader() {
	r.stopped = make(chan struct{})
	r.spawn("load.reader", func(ctx context.Context) {
		defer close(r.stopped)
		r.read(ctx)
	})
}

// stopReader waits for the reader, which ends with the sending, so that what is
// read at the end is quiet.
func (r *runner) stopReader() {
	if r.stopped != nil {
		<-r.stopped
	}
}

// read reads pages of history, and sets and reads marks, on one node after the
// other, while messages are sent. A node that is away is left out.
func (r *runner) read(ctx context.Context) {
	const often, markEvery = 100 * time.Millisecond, 4
	for n := 0; r.sending.Load() && sleep(ctx, often); n++ {
		d := r.devices[n%len(r.devices)]
		node := (d.at() + 1 + n/len(r.devices)) % len(r.target.nodes)
		for _, in := range d.inboxes {
			if n%markEvery == 0 {
				r.mark(ctx, d, in, node)
			}
			r.page(ctx, d, in, node)
			break
		}
	}
}

// page reads the newest messages of a conversation.
func (r *runner) page(ctx context.Context, d *device, in *inbox, node int) {
	const back = 20
	in.conv.mu.Lock()
	after := max(in.conv.base, in.prefix-back)
	in.conv.mu.Unlock()
	var out struct {
		Items      []logged `json:"items"`
		NextCursor *string  `json:"next_cursor"`
	}
	path := fmt.Sprintf("/api/v1/conversations/%s/messages?after_seq=%d&limit=%d", url.PathEscape(in.conv.id), after, pageSize)
	j := r.journal
	begin := j.now()
	if r.get(ctx, d, node, path, &out) != nil {
		return
	}
	j.row("read")
	j.opened++
	link := fmt.Sprintf("r%d", j.opened)
	j.dev(d.index)
	j.raw("sock", []byte(link))
	j.text("conv", in.conv.id)
	j.text("node", r.node(node))
	j.number("after", after)
	j.name("more")
	j.buf = fmt.Appendf(j.buf, "%t", out.NextCursor != nil)
	j.number("begin", begin)
	j.time()
	j.end()
	j.fetched(d.index, link, in.conv.id, out.Items)
}

func (r *runner) get(ctx context.Context, d *device, node int, path string, out any) error {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := r.target.nodes[node].As(d.account().AccessToken).Do(ctx, http.MethodGet, path, nil, out)
	return err
}

// mark sets a read mark on the device's own node, and asks another one for it.
func (r *runner) mark(ctx context.Context, d *device, in *inbox, node int) {
	in.conv.mu.Lock()
	seq := in.prefix
	in.conv.mu.Unlock()
	path := "/api/v1/conversations/" + url.PathEscape(in.conv.id)
	begin, home := r.journal.now(), d.at()
	const patience = 5 * time.Second
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body := map[string]int64{"seq": seq}
	if _, err := r.target.nodes[home].As(d.account().AccessToken).Do(limited, http.MethodPut, path+"/read", body, nil); err != nil {
		return
	}
	r.markRow(d, in, markRow{"set", home, begin, seq, -1})
	begin = r.journal.now()
	var out struct {
		ReadSeq int64 `json:"read_seq"`
	}
	if r.get(ctx, d, node, path, &out) == nil {
		r.markRow(d, in, markRow{"seen", node, begin, out.ReadSeq, -1})
	}
}

// markRow is a read mark in the history.
type markRow struct {
	kind       string
	node       int
	begin, seq int64
	unread     int64 // -1 = not said
}

func (r *runner) markRow(d *device, in *inbox, m markRow) {
	j := r.journal
	j.row("mark")
	j.dev(d.index)
	j.text("conv", in.conv.id)
	j.raw("kind", []byte(m.kind))
	j.text("node", r.node(m.node))
	j.number("seq", m.seq)
	if m.unread >= 0 {
		j.number("unread", m.unread)
	}
	j.number("begin", m.begin)
	j.time()
	j.end()
}

// observe notes what each device has when the run ends, before its socket does.
func (r *runner) observe() {
	j := r.journal
	if j == nil {
		return
	}
	for _, d := range r.devices {
		for id, in := range d.inboxes {
			in.conv.mu.Lock()
			seq := in.prefix
			in.conv.mu.Unlock()
			j.row("caught_up")
			j.dev(d.index)
			j.text("conv", id)
			j.number("seq", seq)
			j.time()
			j.end()
		}
	}
}

// readLogs reads every conversation's log and some read marks from every node.
// What cannot be read is not judged.
func (r *runner) readLogs() {
	for node := range r.target.nodes {
		for _, c := range r.convs {
			if err := r.readLog(node, c); err != nil {
				r.meter.fail("history", err.Error())
			}
		}
		const some = 50
		for _, d := range r.devices[:min(some, len(r.devices))] {
			r.finalMarks(node, d)
		}
	}
}

func (r *runner) readLog(node int, c *conversation) error {
	var readers []Session
	for _, in := range c.inboxes {
		readers = append(readers, r.devices[in.device].account())
	}
	j, name := r.journal, r.node(node)
	err := r.target.only(node).history(r.ctx, readers, c.id, c.base, func(page []logged) {
		for _, e := range page {
			by := j.author([]byte(e.SenderID), []byte(e.DeviceID))
			j.row("log")
			j.text("node", name)
			j.message(e.row(c.id, by))
			j.number("version", e.Version)
			j.end()
		}
	})
	if err != nil {
		return err
	}
	j.row("logged")
	j.text("node", name)
	j.text("conv", c.id)
	j.time()
	j.end()
	return nil
}

// finalMarks asks a node for a device's read marks and what is unread.
func (r *runner) finalMarks(node int, d *device) {
	const countedTo = 1000
	var out struct {
		Items []struct {
			ID      string `json:"id"`
			ReadSeq int64  `json:"read_seq"`
			Unread  *int64 `json:"unread"`
		} `json:"items"`
	}
	begin := r.journal.now()
	if r.get(r.ctx, d, node, fmt.Sprintf("/api/v1/conversations?limit=%d", pageSize), &out) != nil {
		return
	}
	for _, c := range out.Items {
		in := d.inboxes[c.ID]
		if in == nil {
			continue
		}
		unread := int64(-1)
		if c.Unread != nil && *c.Unread < countedTo {
			unread = *c.Unread
		}
		r.markRow(d, in, markRow{"final", node, begin, c.ReadSeq, unread})
	}
}
