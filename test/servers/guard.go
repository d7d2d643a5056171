package servers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// guardScript reads on standard input what this process has started, and ends it
// when the input ends, which it does however this process dies. A death signal
// of the kernel would be shorter, but it follows the thread that started the
// child, not the process, exists on Linux alone, and leaves the folders.
const guardScript = `
pids=' ' dirs=' '
while read -r what name; do
	case $what in
	+) pids="$pids$name " ;;
	-) case $pids in *" $name "*) pids="${pids%% $name *} ${pids#* $name }" ;; esac ;;
	dir) dirs="$dirs$name " ;;
	gone) case $dirs in *" $name "*) dirs="${dirs%% $name *} ${dirs#* $name }" ;; esac ;;
	esac
done
for pid in $pids; do kill -9 "$pid"; done
for try in 1 2 3 4 5; do
	for dir in $dirs; do rm -rf "$dir"; done
	[ "$dirs" = ' ' ] || sleep 0.2
done
`

// guard is the process that outlives this one by a moment.
type guard struct {
	mu    sync.Mutex
	input io.Writer
}

var theGuard = sync.OnceValues(startGuard)

func startGuard() (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript)
	// In a group of its own, where an interrupt from the terminal does not reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Dir = "/"
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard of the servers: %w", err)
	}
	return &guard{input: in}, nil
}

func tell(what string, name any) error {
	g, err := theGuard()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err = fmt.Fprintln(g.input, what, name)
	return err
}

// Guard has a process that the caller has started ended when this one dies;
// Unguard takes it back when it has ended.
func Guard(pid int) error   { return watch(pid) }
func Unguard(pid int) error { return unwatch(pid) }

// watch has the guard end the process if we cannot; unwatch takes it back.
func watch(pid int) error   { return tell("+", pid) }
func unwatch(pid int) error { return tell("-", pid) }

// spawn starts the command under the guard, in a group of its own.
func spawn(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if _, err := theGuard(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return watch(cmd.Process.Pid)
}

// makeDir makes a folder that the guard removes if we cannot.
func makeDir(name string) (string, error) {
	dir, err := os.MkdirTemp("", "nova-"+name+"-")
	if err != nil {
		return "", err
	}
	return dir, tell("dir", dir)
}

func removeDir(dir string) error {
	return errors.Join(os.RemoveAll(dir), tell("gone", dir))
}
