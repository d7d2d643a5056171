package audit

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// correlation follows one ID over every hop, then many at once.
func (t *target) correlation(ctx context.Context, c *Check) error {
	people, err := t.accounts(ctx, 2)
	if err != nil {
		return err
	}
	p := &path{t: t, c: c, alice: people[0], bob: people[1]}
	if err := p.open(ctx); err != nil {
		return err
	}
	defer p.close()
	for _, step := range []func(context.Context) error{p.overREST, p.overSocket, p.inherited, p.resumed, p.replaced, p.registered, p.read, p.crowd} {
		if err := t.breathe(ctx); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// path is one walk over the hops.
type path struct {
	t            *target
	c            *Check
	alice, bob   *device
	conversation string
	epoch        string
	upgrade      string // the correlation ID of alice's upgrade
	begin        scrape // before anything was sent
	mine, theirs *socket
	seen         map[string]string // correlation ID that bob must see, by client message identifier
}

func (p *path) open(ctx context.Context) (err error) {
	p.seen, p.upgrade = map[string]string{}, p.t.name("cid")
	if p.begin, err = p.t.scrape(ctx); err != nil {
		return err
	}
	if p.conversation, err = p.alice.converse(ctx, "", p.bob); err != nil {
		return err
	}
	if p.mine, _, err = p.alice.connect(ctx, nil, p.upgrade); err != nil {
		return err
	}
	var welcome []frame
	if p.theirs, welcome, err = p.bob.connect(ctx, nil, ""); err != nil {
		return err
	}
	p.epoch = welcome[0].Epoch
	return nil
}

func (p *path) close() {
	for _, s := range []*socket{p.mine, p.theirs} {
		if s != nil {
			s.bye()
		}
	}
}

// hop judges that a hop carried the ID.
func (p *path) hop(name, got, want string) {
	if got == want {
		p.c.fact(true, "hop %s: %s", name, got)
		return
	}
	p.c.fact(false, "hop %s: %q, and it must be %q", name, got, want)
}

// arrives judges the event that the other side gets.
func (p *path) arrives(name, client, want string) error {
	f, err := p.theirs.await(event(client))
	if err != nil {
		p.c.fact(false, "hop %s: the message did not arrive: %v", name, err)
		return nil
	}
	p.seen[client] = want
	p.hop(name, f.CID, want)
	return nil
}

func (p *path) overREST(ctx context.Context) error {
	cid, client := p.t.name("cid"), p.t.name("m")
	_, answered, err := p.alice.post(obs.WithCorrelation(ctx, obs.Correlation(cid)), p.conversation, client, "audit")
	if err != nil {
		return err
	}
	p.hop("HTTP answer", answered, cid)
	if err := p.arrives("HTTP, log, relay, fan-out, recipient's frame", client, cid); err != nil {
		return err
	}
	return p.logged(ctx, "messaging", cid, "HTTP")
}

func (p *path) overSocket(ctx context.Context) error {
	cid, client := p.t.name("cid"), p.t.name("m")
	if err := p.mine.send(p.conversation, client, cid); err != nil {
		return err
	}
	f, err := p.mine.await(answer(client))
	if err != nil {
		return fmt.Errorf("the answer to a send: %w", err)
	}
	p.hop("frame, sender's answer", f.CID, cid)
	if err := p.arrives("frame, log, relay, fan-out, recipient's frame", client, cid); err != nil {
		return err
	}
	return p.logged(ctx, "messaging", cid, "frame")
}

// inherited judges a frame without an ID of its own: it takes that of the
// upgrade, with a suffix.
func (p *path) inherited(context.Context) error {
	client := p.t.name("m")
	if err := p.mine.send(p.conversation, client, ""); err != nil {
		return err
	}
	f, err := p.mine.await(answer(client))
	if err != nil {
		return fmt.Errorf("the answer to a send: %w", err)
	}
	p.c.fact(strings.HasPrefix(f.CID, p.upgrade+"."), "hop upgrade request, frame without cid: %q begins with %q", f.CID, p.upgrade+".")
	return p.arrives("frame without cid, recipient's frame", client, f.CID)
}

// resumed judges that the log keeps the IDs: a second device fetches what was
// sent so far.
func (p *path) resumed(ctx context.Context) error {
	second, err := p.bob.login(ctx, p.t.name("d"))
	if err != nil {
		return left(p.c, err)
	}
	s, before, err := second.connect(ctx, &resume{p.epoch, map[string]int64{p.conversation: 0}}, "")
	if err != nil {
		return err
	}
	defer s.bye()
	found := 0
	for _, f := range before {
		want, ours := p.seen[f.Message.ClientMsgID]
		if f.Op != "message" || !ours {
			continue
		}
		found++
		if f.CID != want {
			p.c.fact(false, "hop resume: a message came with %q, and it was sent with %q", f.CID, want)
		}
	}
	equal(p.c, "hop resume from the log: messages with the ID that they were sent with", found, len(p.seen))
	return nil
}

var accepted = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// replaced judges that an ID that is none is not taken over.
func (p *path) replaced(ctx context.Context) error {
	for _, bad := range []string{"audit~1", strings.Repeat("a", 65), "a b"} {
		a, err := p.t.public.Raw(ctx, http.MethodGet, "/healthz", http.Header{"X-Correlation-Id": {bad}}, nil)
		if err != nil {
			return err
		}
		got := a.Header.Get("X-Correlation-ID")
		p.c.fact(got != bad && accepted.MatchString(got), "%q is no correlation ID, the answer has %q instead", bad, got)
	}
	return nil
}

// registered follows a registration to the service that hears of it by event,
// and from there a conversation with the new account to the service that is
// asked about it.
func (p *path) registered(ctx context.Context) error {
	cid := p.t.name("cid")
	fresh, err := p.t.register(obs.WithCorrelation(ctx, obs.Correlation(cid)))
	if err != nil {
		return left(p.c, err)
	}
	asked := p.t.name("cid")
	_, err = p.alice.converse(obs.WithCorrelation(ctx, obs.Correlation(asked)), "", fresh)
	p.c.fact(err == nil, "a conversation with an account that was registered a moment ago: %v", done(err))
	for _, hop := range []struct{ service, cid, name string }{
		{"auth", cid, "HTTP"}, {"user", cid, "outbox, event, consumer"}, {"auth", asked, "RPC"},
	} {
		if err := p.logged(ctx, hop.service, hop.cid, hop.name); err != nil {
			return err
		}
	}
	return nil
}

// read is the literal check: a read without proof of identity, its line in
// messaging's log.
func (p *path) read(ctx context.Context) error {
	cid := p.t.name("cid")
	a, err := p.t.public.Raw(ctx, http.MethodGet, "/api/v1/messages", http.Header{"X-Correlation-Id": {cid}}, nil)
	if err != nil {
		return err
	}
	p.hop(fmt.Sprintf("HTTP answer with status %d", a.Status), a.Header.Get("X-Correlation-ID"), cid)
	return p.logged(ctx, "messaging", cid, "refused HTTP")
}

func done(err error) string {
	if err != nil {
		return err.Error()
	}
	return "it works"
}

// logged judges that a service has logged something under the ID.
func (p *path) logged(ctx context.Context, service, cid, after string) error {
	if p.t.logs == nil {
		p.c.notJudged("no --log-dir: hop %s, %s.log", after, service)
		return nil
	}
	var lines []line
	const within = 3 * time.Second
	ok, err := wait(ctx, within, func() (_ bool, err error) {
		lines, err = p.t.logs.correlated(service, cid)
		return len(lines) > 0, err
	})
	if err != nil {
		return err
	}
	if ok {
		p.c.fact(true, "hop %s, %s.log: %d lines with %s, the first is %q", after, service, len(lines), cid, lines[0].text("msg"))
		return nil
	}
	dropped, err := p.t.sampledAway(ctx, p.begin)
	if err == nil && dropped == "" {
		p.c.fact(false, "hop %s, %s.log: no line with %s", after, service, cid)
	} else if err == nil {
		p.c.notJudged("hop %s, %s.log: no line with %s, but lines are being sampled away (%s)", after, service, cid, dropped)
	}
	return err
}

// crowd sends under many IDs at once; each message's text is its ID, so that a
// mix-up shows at the recipient.
func (p *path) crowd(ctx context.Context) error {
	const messages, workers = 200, 16
	ids := make(chan string, messages)
	for range messages {
		ids <- p.t.name("cid")
	}
	close(ids)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards what follows
	var mixed []string
	var failed error
	for range workers {
		wg.Add(1)
		p.t.group.Go(ctx, "audit.crowd", func(context.Context) {
			defer wg.Done()
			for cid := range ids {
				got, err := p.shout(ctx, cid)
				mu.Lock()
				if err != nil {
					failed = err
				} else if got != cid {
					mixed = append(mixed, got)
				}
				mu.Unlock()
			}
		})
	}
	arrived, foreign := p.listen(messages)
	wg.Wait()
	if failed != nil {
		return failed
	}
	equal(p.c, "of 200 concurrent IDs, answers with another one than the request's", len(mixed), 0)
	equal(p.c, "of 200 concurrent IDs, messages that arrived", arrived, messages)
	equal(p.c, "of 200 concurrent IDs, messages that arrived with another one", foreign, 0)
	return nil
}

// shout sends a message whose text is its correlation ID, until it is taken.
func (p *path) shout(ctx context.Context, cid string) (answered string, err error) {
	for {
		_, answered, err = p.alice.post(obs.WithCorrelation(ctx, obs.Correlation(cid)), p.conversation, cid, cid)
		if !fault.Is(err, fault.CodeRateLimited) {
			return answered, err
		}
		if err := pause(ctx, max(fault.From(err).RetryAfter, 50*time.Millisecond)); err != nil {
			return "", err
		}
	}
}

// listen reads the crowd's messages at the recipient.
func (p *path) listen(most int) (arrived, foreign int) {
	for arrived < most {
		f, err := p.theirs.await(func(f frame) bool { return f.Op == "message" && f.Message.ClientMsgID == f.Message.Body })
		if err != nil {
			return arrived, foreign
		}
		arrived++
		if f.CID != f.Message.Body {
			foreign++
		}
	}
	return arrived, foreign
}
