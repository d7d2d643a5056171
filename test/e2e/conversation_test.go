package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestWhatIsCommittedIsThereAtOnce makes conversations from many clients and
// reads each back without waiting.
func TestWhatIsCommittedIsThereAtOnce(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	alice, bob := n.register("alice"), n.register("bob")
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 40 {
				made := alice.call("POST", "conversations", map[string]any{"kind": "group", "name": fmt.Sprint(w, " ", i), "member_ids": []string{bob.id}})
				if made.status != 201 {
					t.Errorf("make: %d %s", made.status, made.raw)
					continue
				}
				k := made.text("id")
				if got := bob.call("GET", "conversations/"+k, nil); got.status != 200 {
					t.Errorf("read: %d %s", got.status, got.raw)
				}
				if got := bob.send(k, "c-"+k, "hi"); got.status != 201 {
					t.Errorf("send: %d %s", got.status, got.raw)
				}
				if got := alice.call("GET", "conversations/"+k+"/messages", nil); got.status != 200 || len(got.value("items").([]any)) != 1 {
					t.Errorf("history: %d %s", got.status, got.raw)
				}
			}
		})
	}
	wg.Wait()
	if log := n.log.String(); strings.Contains(log, "could not hand out") || strings.Contains(log, "positions are missing") {
		t.Errorf("the hub missed something")
	}
}
