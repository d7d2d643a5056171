package audit_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/audit"
)

func TestShutdown(t *testing.T) {
	restart := func(n *node, o *audit.Options) { o.Restart = n.restart }
	by := func(line string) func(*node, *audit.Options) {
		return func(_ *node, o *audit.Options) { o.Restart = audit.Command(line) }
	}
	lost := func(frame []byte) []byte {
		if bytes.Contains(frame, []byte(`"seq":5,`)) && bytes.HasPrefix(frame, []byte(`{"op":"message"`)) {
			return nil
		}
		return frame
	}
	together(t, map[string]scene{
		"sound":                    {promise: 1, defect: &defect{}, change: restart, verdict: audit.Holds, because: []string{"ledger: accepted"}},
		"acknowledged and dropped": {promise: 1, defect: &defect{request: forgedAnswers(7)}, change: restart, because: []string{"acknowledged and not stored once"}},
		"delivered never":          {promise: 1, defect: &defect{toClient: lost}, change: restart, because: []string{"over sockets, lost", "over REST, acknowledged and not delivered"}},
		"closed without a word":    {promise: 1, defect: &defect{abrupt: true, toClient: without(`"op":"drain"`)}, change: restart, because: []string{"close code 1006"}},
		"no drain": {promise: 1, defect: &defect{}, change: func(n *node, o *audit.Options) {
			restart(n, o)
			o.LogDir = emptyLogs(t)
		}, because: []string{`lines "Shutting down gracefully..." in nova.log: 0`, "ledgers in nova.log: 0"}},
		"no logs": {promise: 1, defect: &defect{}, change: func(n *node, o *audit.Options) {
			restart(n, o)
			o.LogDir = ""
		}, verdict: audit.Holds, left: "the shutdown line and the ledger"},
		"same process":   {promise: 1, change: by("true"), verdict: audit.NotJudged, because: []string{"the same process as before"}},
		"command failed": {promise: 1, change: by("echo no such unit; exit 3"), verdict: audit.NotJudged, because: []string{"exit status 3: no such unit"}},
	})
}

// forgedAnswers acknowledges every n-th message over REST without storing it.
func forgedAnswers(n int) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	count := 0
	return func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPost || req.URL.Path != "/api/v1/messages" {
			return false
		}
		mu.Lock()
		count++
		forge := count%n == 0
		mu.Unlock()
		if forge {
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprint(w, `{"id":"M","seq":1}`)
		}
		return forge
	}
}
