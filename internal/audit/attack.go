package audit

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
)

// The corpus: what clients may send to make a server invent series. Logins and
// registrations are left out, since they would use up the limits of whoever
// comes from the same address.
var (
	attackVerbs = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "BLAH", "get", "X-RANDOM"}
	attackPaths = []string{
		"/", "/%s", "/%s/%s", "/api/v1/%s", "/api/v1/users/%s", "/api/v1/conversations/%s", "/api/v1/conversations/%s/messages",
		"/api/v1/messages/%s", "/api/v1/messages?cursor=%s", "/api/v1/users?q=%s", "/api/v1/auth/sessions/%s", "/api/v1/ws?x=%s", "/metrics/%s", "/debug/pprof/%s",
		"/errors/%s", "/healthz/%s", "/api/v1/users/%%2F%s", "/api/v1//users/%s", "/api/v1/./users/%s", "/api/v1/users/%s/", "/%%00%s", "/docs/%s",
	}
	attackLines = []string{ // whole requests, for what an HTTP client would refuse to send
		"CONNECT /api/v1/users/%s HTTP/1.1\r\nHost: %s\r\n\r\n",
		"CONNECT %s.example:443 HTTP/1.1\r\nHost: %s.example:443\r\n\r\n",
		"GET http://%s.example/api/v1/users/me HTTP/1.1\r\nHost: %s.example\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: %s\r\n\r\n",
		"%s /api/v1/messages HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /api/v1/users/me HTTP/1.0\r\nUser-Agent: %s\r\n\r\n",
		"GET /%s HTTP/9.9\r\nHost: x\r\n\r\n",
		"GET /%s\r\n\r\n",
		"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %s\r\n\r\n",
		"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\nX: %s\r\n\r\nhello!",
		"%s\r\n\r\n",
	}
	attackFrames = []string{ // of RFC 6455, each wrong in its own way; "" leaves it out
		"", unmasked, binary, "\xf1\x80\x00\x00\x00\x00", "\x83\x80\x00\x00\x00\x00", "\x09\x80\x00\x00\x00\x00",
		"\x89\xfe\x00\xff\x00\x00\x00\x00", "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", "\x81\x82\x00\x00\x00\x00\xff\xfe", "\x88\x81\x00\x00\x00\x00x",
	}
	attackCodes = []int{0, 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1011, 1015, 2999, 3000, 3999, 4000, 4400, 4999, 5000, 65535}
)

// Frames that break the rules of the protocol: text without a mask, and binary.
const (
	unmasked = "\x81\x02hi"
	binary   = "\x82\x80\x00\x00\x00\x00"
)

// attacker sends the corpus. Its choices follow from the seed alone.
type attacker struct {
	t     *target
	as    *device
	tally tally
}

// tally counts what was sent and what was answered.
type tally struct{ requests, answers, lines, replies, sockets, frames atomic.Int64 }

func (n *tally) String() string {
	return fmt.Sprintf("%d requests, %d answers; %d raw lines, %d answers; %d sockets with %d frames",
		n.requests.Load(), n.answers.Load(), n.lines.Load(), n.replies.Load(), n.sockets.Load(), n.frames.Load())
}

func (t *target) attack(ctx context.Context, as *device) (*tally, error) {
	a := &attacker{t: t, as: as}
	const workers = 4
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		t.group.Go(ctx, "audit.attack", func(context.Context) {
			defer wg.Done()
			r := rand.New(rand.NewPCG(t.opts.Seed, uint64(w)))
			for range t.opts.Requests / workers {
				if ctx.Err() != nil {
					return
				}
				a.request(ctx, r)
			}
		})
	}
	wg.Wait()
	r := rand.New(rand.NewPCG(t.opts.Seed, workers))
	for range min(t.opts.Requests/20, 300) {
		a.line(ctx, r)
	}
	const sockets = 40
	for i := range min(t.opts.Requests/20, sockets) {
		a.socket(ctx, r, i)
	}
	return &a.tally, ctx.Err()
}

// word is an arbitrary piece of text that is good in a path.
func word(r *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
	b := make([]byte, 1+r.IntN(40))
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

// fill puts words, and now and then an identifier, into a pattern.
func fill(pattern string, r *rand.Rand) string {
	var words []any
	for range strings.Count(pattern, "%s") {
		if r.IntN(3) == 0 {
			words = append(words, id.New())
		} else {
			words = append(words, word(r))
		}
	}
	return fmt.Sprintf(pattern, words...)
}

// request is one of an ordinary HTTP client with hostile content. One in fifty
// proves an identity, so that the routes behind that are reached too.
func (a *attacker) request(ctx context.Context, r *rand.Rand) {
	verb, path := attackVerbs[r.IntN(len(attackVerbs))], fill(attackPaths[r.IntN(len(attackPaths))], r)
	header := http.Header{
		"User-Agent": {word(r)}, "X-Correlation-Id": {word(r)}, "X-Forwarded-For": {fmt.Sprintf("10.%d.%d.1", r.IntN(256), r.IntN(256))},
		"Traceparent": {word(r)}, "Origin": {"http://" + word(r)}, "Content-Type": {"application/json"},
	}
	body := `{"` + word(r) + `":"` + word(r) + `"}`
	client := a.t.public
	if r.IntN(50) == 0 {
		client = client.As(a.as.access)
	} else if r.IntN(3) == 0 {
		client = client.As(obs.NewSecret(word(r)))
	}
	a.tally.requests.Add(1)
	if answer, err := client.Raw(ctx, verb, path, header, []byte(body)); err == nil && answer.Status > 0 {
		a.tally.answers.Add(1)
	}
}

// line sends bytes that need not be HTTP.
func (a *attacker) line(ctx context.Context, r *rand.Rand) {
	nc, err := a.t.connect(ctx, 3*time.Second)
	if err != nil {
		return
	}
	defer func() { _ = nc.Close() }()
	a.tally.lines.Add(1)
	if _, err := nc.Write([]byte(fill(attackLines[r.IntN(len(attackLines))], r))); err != nil {
		return
	}
	if answer, err := http.ReadResponse(bufio.NewReader(nc), nil); err == nil {
		_ = answer.Body.Close()
		a.tally.replies.Add(1)
	}
}

// socket opens a WebSocket, sends frames of every kind of wrong, and ends it
// with a close code of its own choice.
func (a *attacker) socket(ctx context.Context, r *rand.Rand, n int) {
	as := a.as
	if n%4 == 0 {
		as = nil
	}
	s, err := a.t.dial(ctx, as, word(r))
	if err != nil {
		return
	}
	defer s.c.Drop()
	a.tally.sockets.Add(1)
	frames := []string{
		`{"op":"hello","id":"` + word(r) + `","resume":{"epoch":"` + word(r) + `","conversations":{"` + id.New() + `":1}}}`,
		`{"op":"` + word(r) + `"}`,
		`{"op":"send","id":"1","cid":"` + word(r) + `","conversation_id":"` + id.New() + `","client_msg_id":"c","body":"x"}`,
		`{"op":"ack","conversation_id":"` + word(r) + `","seq":-1}`, `{"op":"ping","` + word(r) + `":1}`,
		`{"op":"presence","status":"` + word(r) + `"}`, word(r),
	}
	for _, f := range frames[:1+n%len(frames)] {
		if s.c.WriteText([]byte(f)) != nil {
			break
		}
		a.tally.frames.Add(1)
	}
	if malformed := attackFrames[n%len(attackFrames)]; malformed != "" {
		_, _ = s.nc.Write([]byte(malformed)) // likewise
	}
	_ = s.c.Close(attackCodes[n%len(attackCodes)], word(r)) // the server may have closed already
	s.closed(time.Second)
}
