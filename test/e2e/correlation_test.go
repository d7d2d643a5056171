package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/config"
)

func TestOneCauseIsFollowedThroughAllHops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logDir := filepath.Join(dir, "log")
	n := start(t, filepath.Join(dir, "data"), func(c *config.Config) { c.LogDir = logDir })
	reg := person{n: n}.call("POST", "auth/register", map[string]any{"username": "alice", "password": phrase}, "X-Correlation-ID", "reg-1").want(t, 201)
	if got := reg.header.Get("X-Correlation-ID"); got != "reg-1" {
		t.Errorf("the answer carries %q", got)
	}
	alice, bob := n.person(reg), n.register("bob")
	// At once, without waiting for the event that makes the profile.
	k := bob.direct(alice)
	s, _, _ := bob.connect()
	alice.send(k, "c-1", "hi", "X-Correlation-ID", "test-123").want(t, 201)
	if f := s.until("message"); f["cid"] != "test-123" {
		t.Errorf("the recipient's frame carries %v", f["cid"])
	}
	person{n: n}.call("GET", "messages", nil, "X-Correlation-ID", "anon-7").want(t, 401)
	n.stop()
	for file, ids := range map[string][]string{"messaging.log": {"test-123", "anon-7"}, "auth.log": {"reg-1"}, "user.log": {"reg-1"}} {
		b, err := os.ReadFile(filepath.Join(logDir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if !strings.Contains(string(b), `"correlation_id":"`+id+`"`) {
				t.Errorf("%s does not hold %s:\n%s", file, id, b)
			}
		}
	}
	wantNoWords(t, logDir)
}

// wantNoWords is the audit's literal search of the log folder.
func wantNoWords(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.ToLower(string(b))) {
			for _, word := range []string{"password", "secret", "token", "key", "credential"} {
				if strings.Contains(line, word) {
					t.Errorf("%s: %q is in %s", f.Name(), word, line)
				}
			}
		}
	}
}

func TestManyCausesNeverMix(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	k := alice.direct(bob)
	s, _, _ := bob.connect()
	const all = 300
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			id := fmt.Sprintf("mix-%d", i)
			if got := alice.send(k, id, id, "X-Correlation-ID", id); got.status != 201 || got.header.Get("X-Correlation-ID") != id {
				t.Errorf("%d %v: %s", got.status, got.header.Get("X-Correlation-ID"), got.raw)
			}
		})
	}
	for range all {
		f := s.until("message")
		if body := f["message"].(map[string]any)["body"]; f["cid"] != body {
			t.Errorf("the message of %v carries %v", body, f["cid"])
		}
	}
	wg.Wait()
}
