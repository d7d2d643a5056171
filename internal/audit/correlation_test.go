package audit_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/audit"
)

func TestCorrelation(t *testing.T) {
	lines := []string{"HTTP, messaging.log: no line", "HTTP, auth.log: no line", "user.log: no line", "RPC, auth.log: no line"}
	elsewhere := func(_ *node, o *audit.Options) { o.LogDir = emptyLogs(t) }
	nowhere := func(_ *node, o *audit.Options) { o.LogDir = "" }
	together(t, map[string]scene{
		"header lost":        {promise: 5, defect: &defect{answer: noHeader}, because: []string{"hop HTTP answer", "of 200 concurrent IDs, answers with another"}},
		"sender's answer":    {promise: 5, defect: &defect{toClient: strip("sent")}, because: []string{"hop frame, sender's answer"}},
		"recipient's frame":  {promise: 5, defect: &defect{toClient: strip("message")}, because: []string{"hop HTTP, log, relay, fan-out, recipient's frame", "hop resume"}},
		"never got there":    {promise: 5, defect: &defect{request: dropHeader}, because: append(lines, "hop HTTP answer")},
		"frames mixed up":    {promise: 5, defect: &defect{toClient: mixed()}, because: []string{"messages that arrived with another one"}},
		"own ID ignored":     {promise: 5, defect: &defect{toServer: otherID}, because: []string{"hop frame, sender's answer", "frame, messaging.log: no line"}},
		"not in these logs":  {promise: 5, change: elsewhere, because: lines},
		"without a log":      {promise: 5, change: nowhere, verdict: audit.Holds, left: "user.log"},
		"message never came": {promise: 5, defect: &defect{toClient: without(`"op":"message"`)}, because: []string{"did not arrive"}},
	})
}

// emptyLogs is a folder in which nobody logs.
func emptyLogs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, s := range []string{"nova", "auth", "user", "messaging"} {
		if err := os.WriteFile(filepath.Join(dir, s+".log"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var cidField = regexp.MustCompile(`"cid":"[^"]*"`)

func strip(op string) func([]byte) []byte {
	return func(frame []byte) []byte {
		if bytes.HasPrefix(frame, []byte(`{"op":"`+op+`"`)) {
			return cidField.ReplaceAll(frame, []byte(`"cid":""`))
		}
		return frame
	}
}

func otherID(frame []byte) []byte { return cidField.ReplaceAll(frame, []byte(`"cid":"other"`)) }

func noHeader(res *http.Response) { res.Header.Del("X-Correlation-ID") }

func dropHeader(_ http.ResponseWriter, req *http.Request) bool {
	req.Header.Del("X-Correlation-ID")
	return false
}

// mixed gives every message event the ID of the one before.
func mixed() func([]byte) []byte {
	var mu sync.Mutex
	last := []byte(`"cid":"none"`)
	return func(frame []byte) []byte {
		if !bytes.HasPrefix(frame, []byte(`{"op":"message"`)) {
			return frame
		}
		mu.Lock()
		defer mu.Unlock()
		own := bytes.Clone(cidField.Find(frame))
		out := bytes.Replace(frame, own, last, 1)
		last = own
		return out
	}
}
