package servers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// process is one line of the system's process table.
type process struct {
	pid, parent int
	zombie      bool
}

// processes reads the process table, from /proc where there is one.
func processes() ([]process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(paths) == 0 {
		return listed()
	}
	var all []process
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// The name, in parentheses, may contain anything, so read from behind it.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, err2 := strconv.Atoi(string(f[1]))
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		all = append(all, process{pid, parent, f[0][0] == 'Z'})
	}
	return all, nil
}

// listed asks ps, for systems without /proc.
func listed() ([]process, error) {
	out, err := exec.Command("ps", "-Ao", "pid=,ppid=,stat=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []process
	for line := range bytes.Lines(out) {
		var p process
		var state string
		if _, err := fmt.Sscan(string(line), &p.pid, &p.parent, &state); err != nil {
			return nil, fmt.Errorf("list processes: %w", err)
		}
		p.zombie = state[0] == 'Z'
		all = append(all, p)
	}
	return all, nil
}

// freeze stops a process and everything below it, parents first so that nobody
// starts another child meanwhile, and returns them all.
func freeze(pid int) ([]int, error) {
	if err := signal(pid, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		all, err := processes()
		if err != nil {
			return pids, err
		}
		for _, p := range all {
			if p.parent == pids[i] && !p.zombie && !slices.Contains(pids, p.pid) {
				err = errors.Join(err, signal(p.pid, syscall.SIGSTOP))
				pids = append(pids, p.pid)
			}
		}
		if err != nil {
			return pids, err
		}
	}
	return pids, nil
}

// gone waits until none of the processes is left. A zombie holds nothing any
// more; whether it is reaped is not ours to decide.
func gone(pids []int) error {
	for deadline := time.Now().Add(stopLimit); ; <-time.After(pollEvery) {
		all, err := processes()
		if err != nil {
			return err
		}
		left := slices.ContainsFunc(all, func(p process) bool { return !p.zombie && slices.Contains(pids, p.pid) })
		if !left {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("children survive SIGKILL")
		}
	}
}

// signal sends to one process. That it has ended already is no error.
func signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %d to process %d: %w", sig, pid, err)
	}
	return nil
}
