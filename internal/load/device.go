package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/ws"
)

// device is one signed-in device with one socket at a time.
type device struct {
	run     *runner
	index   int
	inboxes map[string]*inbox // by conversation, complete before the first dial
	sends   *inbox            // where it sends; nil = nowhere

	writing sync.Mutex // held while frames are written, before mu

	mu      sync.Mutex // guards what follows
	wake    *sync.Cond // something to send, or the end
	session Session
	sock    socket
	live    bool // may send
	gone    bool // will not come back
	closed  bool // nothing more becomes due
	ended   bool // the run is over
	epoch   string
	leaveAt time.Time // when to leave after a drain frame; zero = no such thing
	queue   []time.Time
	retries []retry
	pending map[int]*message // sent and not answered, by number
	node    int              // where the next socket goes to
	link    string           // the socket's name in the history; changed by its reader, without a socket
	done    *message         // the last one that was answered

	catching bool // the socket's reader's: it is not live yet
	dials    int  // likewise
	asked    map[string]int64
}

// retry is a message that was refused for the moment.
type retry struct {
	at time.Time
	m  *message
}

func newDevice(r *runner, index int, s Session) *device {
	d := &device{run: r, index: index, node: index % len(r.target.nodes), session: s, inboxes: map[string]*inbox{}, pending: map[int]*message{}}
	d.wake = sync.NewCond(&d.mu)
	return d
}

// keep connects and stays connected until the run ends. first is told, once,
// how the first attempt went.
func (d *device) keep(ctx context.Context, first func(error)) {
	const shortest, longest = 50 * time.Millisecond, 2 * time.Second
	tell := sync.OnceFunc(func() { first(nil) })
	wait := shortest
	for again := false; ; again = true {
		up, err := d.connection(ctx, again, tell)
		if up {
			wait = shortest
		} else if !again {
			first(err)
			return
		}
		if d.over() {
			return
		}
		d.run.closed(up, err)
		d.elsewhere()
		if !d.run.opts.Reconnect || !d.renew(ctx, err) {
			d.leave()
			return
		}
		if !sleep(ctx, wait/2+rand.N(wait)) {
			return
		}
		wait = min(2*wait, longest)
	}
}

// connection is the life of one socket. up says whether it got as far as live.
func (d *device) connection(ctx context.Context, again bool, onLive func()) (up bool, err error) {
	begin := time.Now()
	hello, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, err := d.dial(hello)
	if err != nil {
		return false, err
	}
	d.catching = true
	d.dials++
	defer func() { d.down(s, err) }()
	if err := errors.Join(s.SetReadDeadline(begin.Add(dialTimeout)), s.WriteText(d.hello(again))); err != nil {
		return false, fmt.Errorf("hello: %w", err)
	}
	for {
		frame, err := s.Read()
		if err != nil {
			return up, err
		}
		if string(op(frame)) != "live" {
			d.handle(ctx, frame)
			continue
		}
		if err := s.SetReadDeadline(time.Time{}); err != nil {
			return up, err
		}
		up, d.catching = true, false
		d.run.meter.connect.observe(d.index, time.Since(begin))
		d.up(s, again)
		onLive()
	}
}

// dial opens a socket, with a renewed session if the old one ran out.
func (d *device) dial(ctx context.Context) (socket, error) {
	url := d.run.opts.socketURL(d.at())
	s, err := dial(ctx, url, d.account().AccessToken)
	if !fault.Is(err, fault.CodeUnauthenticated) {
		return s, err
	}
	fresh, refused := d.run.target.refresh(ctx, d.account())
	if refused != nil {
		return s, refused
	}
	d.mu.Lock()
	d.session = fresh
	d.mu.Unlock()
	return dial(ctx, url, fresh.AccessToken)
}

// at is the node that the device is at, or goes to next.
func (d *device) at() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.node
}

// elsewhere lets the next socket go to the next node.
func (d *device) elsewhere() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node = (d.node + 1) % len(d.run.target.nodes)
}

func (d *device) account() Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.session
}

// hello asks, after a reconnect, for what came after the prefix that is here.
func (d *device) hello(again bool) []byte {
	seqs := map[string]int64{}
	for id, in := range d.inboxes {
		seqs[id] = in.resume()
	}
	d.asked = seqs
	d.mu.Lock()
	defer d.mu.Unlock()
	if !again || d.epoch == "" {
		return []byte(`{"op":"hello","id":"h"}`)
	}
	resume, _ := json.Marshal(map[string]any{"epoch": d.epoch, "conversations": seqs}) // strings and numbers
	return append(append([]byte(`{"op":"hello","id":"h","resume":`), resume...), '}')
}

// up lets the device send, beginning with what had no answer, in order.
func (d *device) up(s socket, again bool) {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		s.Drop()
		return
	}
	d.sock, d.live, d.leaveAt = s, true, time.Time{}
	unanswered := d.unanswered()
	d.mu.Unlock()
	d.run.meter.connected.Add(1)
	if again {
		d.run.meter.reconnects.Add(1)
	}
	for _, m := range unanswered {
		d.run.journal.send(d.index, d.link, m)
		if s.WriteText(appendSend(nil, m)) != nil {
			return // the reader notices
		}
	}
	d.wake.Broadcast()
}

// unanswered are the messages to send again. With a history the last one that
// was answered is among them, to see that it stays one.
func (d *device) unanswered() []*message {
	var all []*message
	if d.run.journal != nil && d.done != nil {
		d.pending[d.done.number] = d.done
	}
	for _, m := range d.pending {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *message) int { return a.number - b.number })
	return all
}

func (d *device) down(s socket, err error) {
	s.Drop()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.run.journal.closed(d.index, d.link, ws.CloseCode(err), d.pending)
	d.link = ""
	if d.sock == s {
		d.run.meter.connected.Add(-1)
		d.sock = nil
	}
	d.live = false
}

// renew says whether there is use in coming back, and gets a new proof of
// identity if that is what was lacking.
func (d *device) renew(ctx context.Context, err error) bool {
	if ws.CloseCode(err) == closeNotAuthenticated {
		fresh, refused := d.run.target.refresh(ctx, d.account())
		if refused != nil {
			return false
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.session = fresh
		return true
	}
	return !terminal(err)
}

const closeNotAuthenticated = 4401

func (d *device) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended
}

// leave gives the device up.
func (d *device) leave() {
	d.mu.Lock()
	d.gone = !d.ended
	gone := d.gone
	d.mu.Unlock()
	d.wake.Broadcast()
	for _, in := range d.inboxes {
		in.conv.mu.Lock()
		in.gone = gone
		in.conv.mu.Unlock()
	}
}

// end closes the socket for good.
func (d *device) end() {
	d.mu.Lock()
	d.ended, d.live = true, false
	s := d.sock
	d.mu.Unlock()
	d.wake.Broadcast()
	if s != nil {
		_ = s.Close(closeNormal, "") // the reader goes on to the server's close frame
	}
}

const closeNormal = 1000

// cut ends the socket at once.
func (d *device) cut() {
	d.mu.Lock()
	s := d.sock
	d.mu.Unlock()
	if s != nil {
		s.Drop()
	}
}
