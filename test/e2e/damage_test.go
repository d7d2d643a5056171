package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
)

// damage overwrites the messages of a running node, in the database and in its
// log, as a failing disk may; the first page of each stays.
func (n *node) damage(t *testing.T) {
	t.Helper()
	path := strings.TrimPrefix(n.cfg.DatabaseURL(obs.Messaging), "sqlite:")
	for _, name := range []string{path, path + "-wal"} {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		const first = 8 << 10
		if _, err := f.WriteAt(make([]byte, max(0, info.Size()-first)), first); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheStoreFailsWhileASocketCatchesUp: the socket is closed with a code after
// which it may resume, a request that needs the store is told to come back, and
// whoever needs nothing of it does not notice.
func TestTheStoreFailsWhileASocketCatchesUp(t *testing.T) {
	onlyAlone(t, aboutFiles)
	t.Parallel()
	n := start(t, t.TempDir(), func(c *config.Config) {
		c.Limits.MessagesPerConversation.Count, c.Limits.MessagesPerConversation.Burst = 100_000, 100_000
	})
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	const all, lanes = 600, 20 // more than the kernel's buffers and the socket's queue hold
	var senders sync.WaitGroup
	for lane := range lanes {
		senders.Go(func() {
			for i := range all / lanes {
				alice.send(k, fmt.Sprintf("m-%d-%d", lane, i), strings.Repeat("x", 16<<10)).want(t, 201)
			}
		})
	}
	senders.Wait()
	bystander := n.register("carol").live(t)
	before := n.metrics(t)

	q := bob.peer(t, "")
	_ = q.c.(*net.TCPConn).SetReadBuffer(64 << 10)
	epoch := welcomeEpoch(t, alice)
	q.send(textFrame(fmt.Sprintf(`{"op":"hello","id":"1","resume":{"epoch":"%s","conversations":{"%s":0}}}`, epoch, k)))
	for range 3 {
		q.until("message")
	}
	n.damage(t)
	if code := q.closed(); code != 1013 {
		t.Errorf("closed with %d, want 1013", code)
	}
	n.wantAdded(t, before, map[string]float64{`ws_closes_total{reason="overloaded"}`: 1}, "ws_closes_total")
	if lines := n.log.lines(t, "catching up failed"); len(lines) != 1 || lines[0]["reason"] != "unavailable" {
		t.Errorf("the log says %v", lines)
	}
	alice.call("GET", "conversations/"+k+"/messages", nil).wantProblem(t, 503, "unavailable", "") // the newest, which nobody has read yet
	bystander.send(textFrame(`{"op":"ping","id":"p"}`))
	bystander.until("pong")

	again := bob.peer(t, "") // it may try again, and is told the same
	again.send(textFrame(fmt.Sprintf(`{"op":"hello","id":"1","resume":{"epoch":"%s","conversations":{"%s":0}}}`, epoch, k)))
	if code := again.closed(); code != 1013 {
		t.Errorf("the next one is closed with %d, want 1013", code)
	}
	for name, v := range n.metrics(t) {
		if v != 0 && (strings.HasPrefix(name, "panics_total") || strings.Contains(name, `="unknown"`)) {
			t.Errorf("%s is %v", name, v)
		}
	}
}

func welcomeEpoch(t *testing.T, p person) string {
	t.Helper()
	_, welcome, _ := p.connect()
	epoch, _ := welcome["epoch"].(string)
	return epoch
}
