package main

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nova": main})
}

// TestScripts types the commands as users do.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Join("..", "..", "test", "scripts"),
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"ports": ports, "ready": ready, "counted": counted, "terminate": terminate},
		Setup: func(e *testscript.Env) error { e.Setenv("HOME", e.WorkDir); return nil },
	})
}

// ports sets each named variable to a free address on loopback.
func ports(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		ts.Setenv(name, ln.Addr().String())
		ts.Check(ln.Close())
	}
}

// ready waits until the server whose admin listener has that address is ready.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, "http://"+args[0]+"/readyz", func([]byte) bool { return true })
}

// counted waits until the server whose admin listener has that address has
// counted so many: ADMIN METRIC NUMBER, for a metric without labels.
func counted(ts *testscript.TestScript, _ bool, args []string) {
	least, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	poll(ts, "http://"+args[0]+"/metrics", func(body []byte) bool {
		for line := range strings.Lines(string(body)) {
			if v, is := strings.CutPrefix(line, args[1]+" "); is {
				n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
				return err == nil && n >= least
			}
		}
		return false
	})
}

// poll asks a URL until it answers 200 with a body that is good.
func poll(ts *testscript.TestScript, url string, good func([]byte) bool) {
	client := http.Client{Timeout: time.Second}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-again.C {
		resp, err := client.Get(url)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		ts.Check(resp.Body.Close())
		if err == nil && resp.StatusCode == http.StatusOK && good(body) {
			return
		}
	}
	ts.Fatalf("%s did not become what was waited for", url)
}

// terminate sends SIGTERM to everything in the background.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}
