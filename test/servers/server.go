package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/goleak"
)

const (
	// startLimit is how long a server may take until it answers: a cold JVM on
	// a busy machine with two cores needs ten seconds.
	startLimit = 90 * time.Second
	// stopLimit is how long it may take to stop before it is killed.
	stopLimit = 30 * time.Second
	// pollEvery is the time between two looks at something that is awaited.
	pollEvery = 20 * time.Millisecond
)

// Server is one server process that a test controls. Its methods wait until
// what they ask for has happened. They return their error, and if the server
// belongs to a test they report it there too. They may be called from several
// goroutines, one after the other takes effect.
type Server struct {
	// Addr is host:port, the same over all restarts.
	Addr string
	// Dir is the folder with data, configuration and log, removed at the end.
	Dir string

	name    string
	command func() *exec.Cmd
	ready   func(context.Context) error
	stop    syscall.Signal // the one that asks for a quick orderly end
	abort   syscall.Signal // ends it at once, and with it what it has outside of Dir; 0 if it has nothing there
	report  func(error)

	mu     sync.Mutex
	cmd    *exec.Cmd     // nil while it does not run
	exited chan struct{} // closed when cmd has ended and was reaped
	paused []int         // processes that were stopped by Pause
}

// Start starts the server, again after Stop or Kill, and returns when it
// answers requests.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done("start", s.start())
}

// Stop asks the server to end in order, without waiting for its clients, and
// returns when it has ended.
func (s *Server) Stop() error { return s.end("stop", s.stop) }

// Kill ends the server and its children as a power failure would end them,
// with SIGKILL.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return s.done("kill", errNotRunning)
	}
	return s.done("kill", s.kill())
}

// Pause stops the server and its children with SIGSTOP: its connections stay
// open, and nobody answers.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return s.done("pause", errNotRunning)
	}
	pids, err := freeze(s.cmd.Process.Pid)
	s.paused = pids
	for _, pid := range pids {
		err = errors.Join(err, watch(pid))
	}
	return s.done("pause", err)
}

// Continue lets a paused server go on.
func (s *Server) Continue() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done("continue", s.thaw())
}

// Running says whether the process is there, paused or not.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil && !closed(s.exited)
}

// Log returns what the server has logged so far.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Close ends the server for good and removes its folder.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.cmd != nil && s.abort != 0 {
		err = errors.Join(s.thaw(), signal(s.cmd.Process.Pid, s.abort))
		select {
		case <-s.exited:
			s.forget()
		case <-time.After(stopLimit):
		}
	}
	if s.cmd != nil {
		err = errors.Join(err, s.kill())
	}
	return s.done("close", errors.Join(err, removeDir(s.Dir)))
}

var errNotRunning = errors.New("it does not run")

func (s *Server) logPath() string { return filepath.Join(s.Dir, "log") }

// done names the server in the error, and tells the test.
func (s *Server) done(what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s %s: %w", what, s.name, err)
	if s.report != nil {
		s.report(err)
	}
	return err
}

func (s *Server) start() error {
	if s.cmd != nil && !closed(s.exited) {
		return errors.New("it runs already")
	}
	if s.cmd != nil {
		s.forget()
	}
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := s.command()
	cmd.Stdout, cmd.Stderr = log, log
	if err := spawn(cmd); err != nil {
		return err
	}
	exited := make(chan struct{})
	go wait(cmd, exited)
	s.cmd, s.exited = cmd, exited
	return s.await()
}

func wait(cmd *exec.Cmd, exited chan<- struct{}) {
	_ = cmd.Wait() // how it ended shows in the log
	close(exited)
}

// Running leaves out of a search for leaked goroutines those that wait for servers
// which all tests of a process share and which end with it.
func Running() goleak.Option {
	return goleak.IgnoreAnyFunction("github.com/nova-chat/nova/test/servers.wait")
}

// await returns when the server answers. One that does not is ended, so that it
// can be started again.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	var last error
	for {
		if closed(s.exited) {
			s.forget()
			return fmt.Errorf("it ended at once, its log says:\n%s", s.tail())
		}
		if last = s.probe(ctx); last == nil {
			return nil
		}
		select {
		case <-s.exited:
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("it does not answer after %v: %w; its log says:\n%s", startLimit, last, s.tail()), s.kill())
		}
	}
}

func (s *Server) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return s.ready(ctx)
}

// end sends a signal that asks for the end, and waits for it.
func (s *Server) end(what string, sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return s.done(what, errNotRunning)
	}
	if err := errors.Join(s.thaw(), s.cmd.Process.Signal(sig)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return s.done(what, err)
	}
	select {
	case <-s.exited:
		s.forget()
		return nil
	case <-time.After(stopLimit):
		return s.done(what, errors.Join(fmt.Errorf("it still runs after %v", stopLimit), s.kill()))
	}
}

// kill ends the process and its children and waits until they are gone: a
// PostgreSQL whose children still hold its memory does not start again.
func (s *Server) kill() error {
	pids, err := freeze(s.cmd.Process.Pid)
	for _, pid := range append(pids, s.cmd.Process.Pid) {
		err = errors.Join(err, signal(pid, syscall.SIGKILL))
	}
	select {
	case <-s.exited:
	case <-time.After(stopLimit):
		return errors.Join(err, errors.New("it survives SIGKILL"))
	}
	err = errors.Join(err, gone(pids))
	s.forget()
	return err
}

func (s *Server) thaw() error {
	var err error
	for _, pid := range s.paused {
		err = errors.Join(err, signal(pid, syscall.SIGCONT))
		if pid != s.cmd.Process.Pid {
			err = errors.Join(err, unwatch(pid))
		}
	}
	s.paused = nil
	return err
}

// forget takes note that the process has ended.
func (s *Server) forget() {
	_ = unwatch(s.cmd.Process.Pid) // the guard is gone only with this process
	for _, pid := range s.paused {
		_ = unwatch(pid)
	}
	s.cmd, s.paused = nil, nil
}

// tail is the end of the log, enough to see why a server did not start.
func (s *Server) tail() string {
	const enough = 4 << 10
	log := s.Log()
	return log[max(0, len(log)-enough):]
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
