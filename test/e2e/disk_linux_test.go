package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestDisk runs the binary on disks that fail for real.
func TestDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary")
	}
	t.Parallel()
	nova := build(t)
	for name, run := range map[string]func(*testing.T, string){"full": fullDisk, "fsync fails": failingSync} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, nova)
		})
	}
}

// leftOut skips what this machine cannot run; in CI nothing may be left out.
func leftOut(t *testing.T, how string, why error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI may leave nothing out, but this needs: %s (%v)", how, why)
	}
	t.Skipf("left out (%v); to bring it: %s", why, how)
}

// namespace marks a test that runs once more where it may mount.
const namespace = "NOVA_TEST_NAMESPACE"

// smallDisk mounts a file system of a few MiB. Who may not mount runs the test
// in a user namespace of its own; then ok is false, and the test is done.
func smallDisk(t *testing.T, size string) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size)
	if err == nil {
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		return dir, true
	}
	const how = "run as root, or let users make namespaces: sysctl user.max_user_namespaces=1000"
	if os.Geteuid() == 0 || os.Getenv(namespace) != "" {
		leftOut(t, how, err)
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
	cmd.Env = append(os.Environ(), namespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		leftOut(t, how, err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a namespace: %v\n%s", err, out)
	}
	return "", false
}

// ballast fills a disk but for some bytes, and gives them back when it is dropped.
func ballast(t *testing.T, dir string, leave int64) (drop func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(zeros{}, 1<<30))
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk takes %d bytes: %v", n, err)
	}
	if err := f.Truncate(max(0, n-leave)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(f.Name()); err != nil {
			t.Fatal(err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// fullDisk: sends are refused while the disk is full, reads go on; with room it
// goes on by itself, and after a crash in between all that was acknowledged is
// there, and nothing that was refused.
func fullDisk(t *testing.T, nova string) {
	disk, ok := smallDisk(t, "16m")
	if !ok {
		return
	}
	data := filepath.Join(disk, "data")
	p := launch(t, nova, data)
	alice, bob := p.register("alice"), p.register("bob")
	l := sentLog{conversation: alice.direct(bob)}
	live, _, _ := bob.connect()
	mine, _, _ := alice.connect()
	body := strings.Repeat("x", 16<<10)
	var refused []string
	seen := 0
	for cycle := range 2 {
		drop := ballast(t, disk, 256<<10)
		refused = append(refused, l.fill(t, alice, fmt.Sprint("fill-", cycle), body))
		mine.write(map[string]any{"op": "send", "id": "1", "conversation_id": l.conversation, "client_msg_id": refused[cycle], "body": body})
		if f := mine.until("error"); f["code"] != "storage_full" || f["retryable"] != true {
			t.Errorf("a socket is told %v", f)
		}
		page := alice.call("GET", "conversations/"+l.conversation+"/messages?limit=1", nil).want(t, 200)
		if strings.Contains(string(page.raw), refused[cycle]) {
			t.Errorf("what was refused is stored: %.200s", page.raw)
		}
		for ; seen < len(l.acked); seen++ { // who is there all the time gets all of it
			live.until("message")
		}
		if cycle == 1 {
			p.stop(syscall.SIGKILL)
		}
		drop()
		if cycle == 0 {
			within(t, "room to be used", func() bool { return alice.try(l.conversation, refused[0], body).status == 201 })
			l.acked = append(l.acked, refused[0])
		}
	}
	p.wantNoPanic(t)

	p = launch(t, nova, data)
	alice.n, bob.n = p.node, p.node
	there := l.want(t, bob)
	if there[refused[1]] || len(there) != len(l.acked) {
		t.Errorf("%d messages are there, %d were acknowledged; the refused one: %t", len(there), len(l.acked), there[refused[1]])
	}
	alice.send(l.conversation, refused[1], body).want(t, 201)
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.log)
	}
	p.wantNoPanic(t)
}

// fill sends until the disk is full and gives the send that was refused.
func (l *sentLog) fill(t *testing.T, p person, prefix, body string) (refused string) {
	t.Helper()
	for i := range 1000 {
		id := fmt.Sprintf("%s-%d", prefix, i)
		switch o := p.try(l.conversation, id, body); o {
		case outcome{status: 201}:
			l.acked = append(l.acked, id)
		case outcome{507, "storage_full", true}:
			return id
		default:
			t.Fatalf("send %d on a disk that fills up: %+v", i, o)
		}
	}
	t.Fatal("the disk does not fill up")
	return ""
}

// failingSync: from the moment at which an fsync fails nothing is acknowledged
// any more, and the process ends, for nobody knows what is on the disk. A new
// one has everything that was acknowledged.
func failingSync(t *testing.T, nova string) {
	dir := t.TempDir()
	p := launch(t, nova, dir)
	alice, bob := p.register("alice"), p.register("bob")
	l := sentLog{conversation: alice.direct(bob)}
	mine, _, _ := alice.connect()
	for i := range 20 {
		id := fmt.Sprint("before-", i)
		alice.send(l.conversation, id, "text").want(t, 201)
		l.acked = append(l.acked, id)
	}
	var failing atomic.Bool
	var mu sync.Mutex
	unsure := map[string]bool{}
	var lanes sync.WaitGroup
	end := time.Now().Add(2 * patience)
	for lane := range 4 {
		lanes.Go(func() {
			for i := 0; ; i++ {
				id, late := fmt.Sprintf("lane-%d-%d", lane, i), failing.Load()
				o := alice.try(l.conversation, id, "text")
				mu.Lock()
				switch {
				case o.status == 201 && !late:
					l.acked = append(l.acked, id)
				case o.status == 0:
					unsure[id] = true
				case o == outcome{503, "unavailable", true}:
					unsure[id] = true
				default:
					t.Errorf("%s, late: %t: %+v", id, late, o)
				}
				mu.Unlock()
				if o.status == 0 {
					return // the process has ended
				}
				if time.Now().After(end) {
					t.Error("the process goes on")
					return
				}
			}
		})
	}
	detach := injectEIO(t, p.cmd.Process.Pid)
	failing.Store(true)
	_ = mine.c.WriteText(fmt.Appendf(nil, `{"op":"send","id":"1","conversation_id":"%s","client_msg_id":"late","body":"b"}`, l.conversation))
	for {
		b, err := mine.next()
		if err != nil {
			break // the process closes its sockets as it ends
		}
		if strings.Contains(string(b), `"op":"sent"`) {
			t.Errorf("a socket is told %s", b)
		}
	}
	lanes.Wait()
	if code := p.wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	detach()
	p.wantNoPanic(t)
	if len(unsure) == 0 {
		t.Error("no send met the failure")
	}

	p = launch(t, nova, dir)
	alice.n, bob.n = p.node, p.node
	there := l.want(t, bob)
	for id := range unsure { // a repeat tells
		want := 201
		if there[id] {
			want = 200
		}
		alice.send(l.conversation, id, "text").want(t, want)
	}
	if code := p.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.log)
	}
}

// injectEIO lets every fsync of a process fail from now on.
func injectEIO(t *testing.T, pid int) (wait func()) {
	t.Helper()
	const how = "apt-get install strace, and let this user trace its processes: sysctl kernel.yama.ptrace_scope=0"
	path, err := exec.LookPath("strace")
	if err != nil {
		leftOut(t, how, err)
	}
	cmd := exec.Command(path, "-f", "-p", fmt.Sprint(pid), "-o", os.DevNull, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	attached, ended := make(chan struct{}), make(chan struct{})
	var text strings.Builder
	go func() {
		defer close(ended)
		seen := false
		for lines := bufio.NewScanner(said); lines.Scan(); {
			_, _ = fmt.Fprintln(&text, lines.Text())
			if !seen && strings.Contains(lines.Text(), " attached") {
				seen = true
				close(attached)
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	select {
	case <-attached:
	case <-ended:
		leftOut(t, how, errors.New(strings.TrimSpace(text.String())))
	case <-time.After(patience):
		t.Fatal("strace does not attach")
	}
	return func() { <-ended }
}
