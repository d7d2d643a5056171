package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nova-chat/nova/test/servers"
)

const (
	readyWithin = 30 * time.Second
	// EndWithin is how long an end in order may take: the drain timeout is 25 s.
	EndWithin = 40 * time.Second
)

// Server is `nova serve` on one pair of ports. One goroutine at a time may start
// and stop it.
type Server struct {
	Public, Admin string // host:port

	binary string
	args   []string
	env    []string

	cmd *exec.Cmd
	out *lines
	err *lines

	mu         sync.Mutex // guards what follows
	errorLines map[string]int
}

// New finds ports for a server. The arguments are further ones of `nova serve`,
// the variables further ones of its environment.
func New(binary string, args, env []string) (*Server, error) {
	path, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	s := &Server{binary: path, args: args, env: env, errorLines: map[string]int{}}
	if s.Public, err = freeAddress(); err != nil {
		return nil, err
	}
	for s.Admin == "" || s.Admin == s.Public {
		if s.Admin, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func freeAddress() (string, error) {
	port, err := servers.FreePort()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// Unlimited are the variables that lift the limits which a load would meet.
func Unlimited() (env []string) {
	const plenty = "1000000/1000000"
	for _, limit := range []string{
		"MESSAGES_PER_USER", "MESSAGES_PER_CONVERSATION", "REQUESTS_PER_USER", "FRAMES_PER_SOCKET", "CONNECTS_PER_ADDRESS",
		"REGISTRATIONS_PER_ADDRESS", "LOGINS_PER_ADDRESS",
	} {
		env = append(env, "NOVA_LIMITS_"+limit+"="+plenty)
	}
	return env
}

// Command runs another command of the binary with the same environment, and
// gives what it writes.
func (s *Server) Command(args ...string) ([]byte, error) {
	cmd := exec.Command(s.binary, args...)
	cmd.Env = slices.Concat(os.Environ(), s.env)
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, e.Stderr)
	}
	if err != nil {
		return nil, fmt.Errorf("nova %s: %w", args[0], err)
	}
	return out, nil
}

// Start returns when the server says that it is ready.
func (s *Server) Start() error {
	s.cmd = exec.Command(s.binary, append([]string{"serve", "--listen-public", s.Public, "--listen-admin", s.Admin}, s.args...)...)
	s.cmd.Env = slices.Concat(os.Environ(), s.env)
	ready := make(chan struct{})
	said := sync.OnceFunc(func() { close(ready) })
	s.out = &lines{each: s.note}
	s.err = &lines{each: func(line string) {
		if strings.HasPrefix(line, "ready ") {
			said()
		}
	}}
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.err
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if err := servers.Guard(s.cmd.Process.Pid); err != nil {
		return err
	}
	select {
	case <-ready:
		return nil
	case <-time.After(readyWithin):
		return fmt.Errorf("the server was not ready within %s:\n%s", readyWithin, s.Complaints())
	}
}

// note counts the log lines of level error.
func (s *Server) note(line string) {
	if !strings.Contains(line, `"level":"ERROR"`) {
		return
	}
	var l struct {
		Text  string `json:"msg"`
		Cause string `json:"cause"`
	}
	if json.Unmarshal([]byte(line), &l) == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errorLines[l.Text+": "+l.Cause]++
	}
}

// Errors are the log lines of level error over all its lives, counted by text.
func (s *Server) Errors() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.errorLines)
}

// Complaints is what the server said last.
func (s *Server) Complaints() string {
	if s.out == nil {
		return "it never ran"
	}
	return s.err.all() + s.out.tail()
}

// Ended is how a process ended.
type Ended struct {
	Signal syscall.Signal
	Code   int // -1 after a signal that ends it by force, or when it hung
	Last   string
	Hung   bool
}

// Signal sends a signal, to pause it or to let it go on.
func (s *Server) Signal(signal syscall.Signal) error {
	if !s.running() {
		return errors.New("the server does not run")
	}
	return s.cmd.Process.Signal(signal)
}

func (s *Server) running() bool {
	return s.cmd != nil && s.cmd.Process != nil && s.cmd.ProcessState == nil
}

// Stop sends the signal and waits for the end.
func (s *Server) Stop(signal syscall.Signal) Ended {
	if !s.running() {
		return Ended{Signal: signal, Code: -1}
	}
	e := Ended{Signal: signal}
	_ = s.cmd.Process.Signal(signal) // if it is gone already, Wait says how
	timer := time.AfterFunc(EndWithin, func() {
		e.Hung = true
		_ = s.cmd.Process.Kill()
	})
	_ = s.cmd.Wait() // the state says it
	timer.Stop()
	_ = servers.Unguard(s.cmd.Process.Pid) // the guard is gone only with this process
	e.Code, e.Last = s.cmd.ProcessState.ExitCode(), s.out.tail()
	return e
}
