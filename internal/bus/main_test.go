package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/bus/bustest"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/test/servers"
)

// dialled leaves out what a test's own client of Redis does when it is closed
// while it dials: it waits for half a second. The bus's own never waits there.
// dials leaves out what any client does after its dialling failed: it tries each
// second, and finds only then that the client was closed.
var (
	dialled = goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).dialConn")
	dials   = goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, servers.Running(), dialled, dials) }

// node is a process with a memory bus that stops with its test.
type node struct {
	t     *testing.T
	obs   *obs.Obs
	group *run.Group
	bus   *bus.Memory
	log   *logBuffer
}

func newNode(t *testing.T) *node {
	t.Helper()
	log := &logBuffer{}
	o, err := obs.New(obs.Config{Out: log})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, obs: o, group: run.New(o), log: log}
	n.bus = bus.NewMemory(o, n.group)
	t.Cleanup(n.stop)
	return n
}

func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if r := n.group.Stop(ctx); r.Err() != nil || r.GoroutinesLeft != 0 {
		n.t.Errorf("stop: %+v", r)
	}
}

func (n *node) events() bustest.EventsNode {
	return bustest.EventsNode{Obs: n.obs, Events: n.bus.Events(), Restart: func() (bustest.EventsNode, error) {
		n.stop()
		return newNode(n.t).events(), nil
	}}
}

// logBuffer collects log lines from several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// lines gives the log lines with that message.
func (b *logBuffer) lines(t *testing.T, msg string) (out []map[string]any) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}
