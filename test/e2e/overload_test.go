package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// holdUp keeps the node from writing messages, as another program could that
// has the database open, until release is called. PostgreSQL lets nobody do that
// for longer than half a second: there it is held up again and again.
func (b *books) holdUp() (release func()) {
	b.t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	hold := func(ctx context.Context, tx *sqldb.Tx) error {
		begin()
		if chosen == alone {
			<-end
			return nil
		}
		var one int
		return tx.QueryRow(ctx, "SELECT 1 FROM pg_sleep(0.4)").Scan(&one)
	}
	var held sync.WaitGroup
	held.Go(func() {
		defer begin() // also if it could not
		for over := false; !over; {
			_ = b.dbs[obs.Messaging].Write(context.Background(), "test.hold", hold)
			select {
			case <-end:
				over = true
			default:
			}
		}
	})
	<-begun
	return sync.OnceFunc(func() { close(end); held.Wait() })
}

// pile is a client that has as many sends under way as its socket can hold
// answers to.
type pile struct {
	*peer
	ended sync.WaitGroup
}

// pile begins to send; it goes on until stop is closed. The first answer that
// says there is too much goes to refused, if nothing is there yet.
func (p person) pile(t *testing.T, conversation string, stop <-chan struct{}, refused chan<- string) *pile {
	t.Helper()
	q := &pile{peer: p.live(t)}
	_ = q.c.SetDeadline(time.Time{}) // the test's end closes it
	const window, burst = 256, 32
	answered, gone := make(chan struct{}, window), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			_, body, err := q.next()
			if err != nil {
				return
			}
			if strings.Contains(body, `"code":"overloaded"`) {
				select {
				case refused <- body:
				default:
				}
			}
			select {
			case answered <- struct{}{}:
			default: // nobody sends any more
			}
		}
	}()
	q.ended.Go(func() {
		for i := 0; ; i++ {
			q.send(strings.Repeat(textFrame(fmt.Sprintf(`{"op":"send","id":"%d","conversation_id":"%s","client_msg_id":"pile-%d","body":"b"}`, i, conversation, i)), burst))
			for due := burst; due > 0 && i >= window/burst-1; due-- {
				select {
				case <-answered:
				case <-stop:
					return
				case <-gone:
					return
				}
			}
		}
	})
	return q
}

// TestMoreThanCanBeWritten: when more sends wait than may, the next are refused
// at once with a code that says so, over REST and over sockets; what they carry
// is not stored, and goes through when it is sent again later. Reads go on.
func TestMoreThanCanBeWritten(t *testing.T) {
	ifAlone(t.Parallel)
	n := startWith(t, t.TempDir(), app.Options{WritesWaiting: 100}, func(c *config.Config) {
		for _, r := range []*config.Rate{&c.Limits.MessagesPerUser, &c.Limits.MessagesPerConversation, &c.Limits.FramesPerSocket} {
			r.Count, r.Burst = 1_000_000, 10_000_000
		}
	})
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	alice.send(k, "before", "text").want(t, 201)
	people, talks := n.seed(t, "many", 4, time.Hour), []string{}
	for _, p := range people {
		talks = append(talks, p.direct(bob))
	}
	release := n.books(t).holdUp()
	defer release()
	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	tooMany := make(chan string, 1)
	var piles []*pile
	for i, p := range people {
		piles = append(piles, p.pile(t, talks[i], stop, tooMany))
	}
	frame := ""
	select {
	case frame = <-tooMany:
	case <-time.After(2 * patience):
		t.Fatal("the sends are never too many")
	}
	for _, want := range []string{`{"op":"error"`, `"retryable":true`, `"correlation_id":"`} {
		if !strings.Contains(frame, want) {
			t.Errorf("the frame lacks %s: %s", want, frame)
		}
	}
	refused, lanes := alice.sendUntilRefused(t, k)
	alice.call("GET", "conversations/"+k+"/messages", nil).want(t, 200)
	end()
	for _, q := range piles {
		_ = q.c.Close()
		q.ended.Wait()
	}
	release()
	lanes.Wait()
	n.wantSettled(t)
	alice.send(k, refused, "text").want(t, 201) // it was not stored
	m := n.metrics(t)
	if rest, sockets := m[`messages_rejected_total{code="overloaded"}`], m[`ws_errors_total{code="overloaded"}`]; rest < 1 || sockets < 1 {
		t.Errorf("%v sends were rejected as too many, %v of them over sockets", rest, sockets)
	}
	for name, v := range m {
		if v != 0 && (strings.HasPrefix(name, "panics_total") || strings.Contains(name, `="internal"`)) {
			t.Errorf("%s is %v", name, v)
		}
	}
}

// sendUntilRefused sends over REST until a send is refused as one too many, and
// gives that. A send that is let in waits long for its turn, so several try.
func (p person) sendUntilRefused(t *testing.T, conversation string) (refused string, lanes *sync.WaitGroup) {
	t.Helper()
	found, stop := make(chan string, 1), make(chan struct{})
	defer close(stop)
	lanes = new(sync.WaitGroup)
	for lane := range 8 {
		lanes.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("lane-%d-%d", lane, i)
				a := p.send(conversation, id, "text")
				if a.text("code") != "overloaded" {
					continue
				}
				a.wantProblem(t, 503, "overloaded", "")
				select {
				case found <- id:
				default:
				}
			}
		})
	}
	select {
	case refused = <-found:
		return refused, lanes
	case <-time.After(patience):
		t.Fatal("no send over REST was one too many")
		return "", nil
	}
}

// wantSettled waits until every send has its outcome, as long as some get theirs.
func (n *node) wantSettled(t *testing.T) {
	t.Helper()
	for left := n.unsettled(t); left > 0; left = n.unsettled(t) {
		within(t, "the outcome of every send", func() bool { return n.unsettled(t) < left })
	}
}

// unsettled is the number of sends that have no outcome yet.
func (n *node) unsettled(t *testing.T) float64 {
	t.Helper()
	m := n.metrics(t)
	left := m["messages_accepted_total"] - m["messages_committed_total"] - m["messages_repeated_total"] - m["messages_unknown_total"]
	for name, v := range m {
		if strings.HasPrefix(name, "messages_rejected_total{") {
			left -= v
		}
	}
	return left
}
