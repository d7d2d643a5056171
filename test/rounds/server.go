package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nova-chat/nova/internal/load"
)

const (
	readyWithin = 30 * time.Second
	endWithin   = 40 * time.Second // the drain timeout is 25 s
)

// server is the binary on one data folder and one pair of ports, started anew
// for each round.
type server struct {
	nova, dir     string
	public, admin string // host:port

	cmd        *exec.Cmd
	out        *lines
	err        *lines
	errorLines map[string]int // log lines of level error, by text
}

func newServer(nova, dir string) (*server, error) {
	path, err := filepath.Abs(nova)
	if err != nil {
		return nil, err
	}
	s := &server{nova: path, dir: dir, errorLines: map[string]int{}}
	if s.public, s.admin, err = freeAddresses(); err != nil {
		return nil, err
	}
	return s, nil
}

// freeAddresses finds two loopback ports below the range from which the system
// takes those of clients: one of them could otherwise take a server's port
// while the server is down.
func freeAddresses() (public, admin string, err error) {
	const from, to = 20000, 32000
	var found []string
	for port := from + os.Getpid()%1000; port < to && len(found) < 2; port++ {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		ln, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := ln.Close(); err != nil {
			return "", "", err
		}
		found = append(found, address)
	}
	if len(found) < 2 {
		return "", "", errors.New("no free ports on loopback")
	}
	return found[0], found[1], nil
}

// sessions makes accounts straight in the store.
func (s *server) sessions(n int) ([]load.Session, error) {
	out, err := exec.Command(s.nova, "seed", "--data-dir", s.dir, "--users", strconv.Itoa(n), "--prefix", "rounds").Output()
	if err != nil {
		return nil, fmt.Errorf("nova seed: %w", withStderr(err))
	}
	return load.ReadSessions(bytes.NewReader(out))
}

func withStderr(err error) error {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("%w: %s", err, e.Stderr)
	}
	return err
}

// start returns when the server says that it is ready.
func (s *server) start() error {
	s.cmd = exec.Command(s.nova, "serve", "--data-dir", s.dir, "--listen-public", s.public, "--listen-admin", s.admin)
	const plenty = "1000000/1000000"
	s.cmd.Env = os.Environ()
	for _, limit := range []string{"MESSAGES_PER_USER", "MESSAGES_PER_CONVERSATION", "REQUESTS_PER_USER", "FRAMES_PER_SOCKET", "CONNECTS_PER_ADDRESS"} {
		s.cmd.Env = append(s.cmd.Env, "NOVA_LIMITS_"+limit+"="+plenty)
	}
	ready := make(chan struct{})
	s.out = &lines{each: s.note}
	s.err = &lines{each: func(line string) {
		if strings.HasPrefix(line, "ready ") {
			close(ready)
		}
	}}
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.err
	if err := s.cmd.Start(); err != nil {
		return err
	}
	select {
	case <-ready:
		return nil
	case <-time.After(readyWithin):
		return fmt.Errorf("the server was not ready within %s:\n%s", readyWithin, s.complaints())
	}
}

// note counts the log lines of level error.
func (s *server) note(line string) {
	if !strings.Contains(line, `"level":"ERROR"`) {
		return
	}
	var l struct {
		Text  string `json:"msg"`
		Cause string `json:"cause"`
	}
	if json.Unmarshal([]byte(line), &l) == nil {
		s.errorLines[l.Text+": "+l.Cause]++
	}
}

// complaints is what the server said last.
func (s *server) complaints() string { return s.err.all() + s.out.tail() }

// ended is how a process ended.
type ended struct {
	signal syscall.Signal
	code   int // -1 after a signal that ends it by force, or when it hung
	last   string
	hung   bool
}

// stop sends the signal and waits for the end.
func (s *server) stop(signal syscall.Signal) ended {
	if s.cmd == nil || s.cmd.Process == nil || s.cmd.ProcessState != nil {
		return ended{signal: signal, code: -1}
	}
	e := ended{signal: signal}
	_ = s.cmd.Process.Signal(signal) // if it is gone already, Wait says how
	timer := time.AfterFunc(endWithin, func() {
		e.hung = true
		_ = s.cmd.Process.Kill()
	})
	_ = s.cmd.Wait() // the state says it
	timer.Stop()
	e.code, e.last = s.cmd.ProcessState.ExitCode(), s.out.tail()
	return e
}

// lines is a writer that calls each with every whole line and keeps the last.
type lines struct {
	each func(line string)

	mu   sync.Mutex // guards what follows
	part []byte
	last string
	kept strings.Builder
}

const mostKept = 16 << 10

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.last = string(line)
		if l.kept.Len() < mostKept {
			_, _ = l.kept.WriteString(l.last + "\n")
		}
		l.each(l.last)
		l.part = append(l.part[:0], rest...)
	}
}

func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}
