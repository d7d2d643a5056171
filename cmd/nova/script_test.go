package main

import (
	"net"
	"net/http"
	"path/filepath"
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
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"ports": ports, "ready": ready, "terminate": terminate},
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
	client := http.Client{Timeout: time.Second}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-again.C {
		resp, err := client.Get("http://" + args[0] + "/readyz")
		if err != nil {
			continue
		}
		ts.Check(resp.Body.Close())
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	ts.Fatalf("the server at %s did not get ready", args[0])
}

// terminate sends SIGTERM to everything in the background.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}
