package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// built is the one that operators run, built once; TestMain removes its folder.
var built struct {
	dir  string
	once sync.Once
	err  error
}

// build makes the binary that operators run.
func build(t *testing.T) (nova string) {
	t.Helper()
	onlyAlone(t, ownProcesses)
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "nova-e2e-"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", built.dir, "github.com/nova-chat/nova/cmd/nova").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "nova")
}

// process is Nova in a process of its own.
type process struct {
	*node
	cmd   *exec.Cmd
	admin string
	log   *logs
	ended chan struct{}
}

// launch starts the binary with its data in dir, and returns when it is ready.
func launch(t *testing.T, nova, dir string) *process {
	t.Helper()
	p := &process{node: &node{t: t}, log: &logs{}, ended: make(chan struct{})}
	p.cmd = exec.Command(nova, "serve", "--data-dir", dir, "--listen-public", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0")
	p.cmd.Env = os.Environ()
	for _, limit := range []string{"MESSAGES_PER_USER", "MESSAGES_PER_CONVERSATION", "REQUESTS_PER_USER", "FRAMES_PER_SOCKET"} {
		p.cmd.Env = append(p.cmd.Env, "NOVA_LIMITS_"+limit+"=1000000/1000000")
	}
	p.cmd.Stdout = p.log
	said, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(said); lines.Scan(); {
			_, _ = p.log.Write(append(lines.Bytes(), '\n'))
			if line, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- line
			}
		}
		_ = p.cmd.Wait() // the state says it
	}()
	t.Cleanup(func() { p.stop(syscall.SIGKILL) })
	select {
	case line := <-ready:
		for field := range strings.FieldsSeq(line) {
			if url, ok := strings.CutPrefix(field, "public="); ok {
				p.url = url
			}
			if url, ok := strings.CutPrefix(field, "admin="); ok {
				p.admin = url
			}
		}
	case <-p.ended:
		t.Fatalf("the process ended before it was ready:\n%s", p.log)
	case <-time.After(2 * patience):
		t.Fatalf("the process is not ready:\n%s", p.log)
	}
	return p
}

// stop sends a signal and gives the exit code, -1 after SIGKILL.
func (p *process) stop(signal syscall.Signal) int {
	_ = p.cmd.Process.Signal(signal) // it may have ended already
	return p.wait()
}

// wait gives the exit code when the process has ended.
func (p *process) wait() int {
	select {
	case <-p.ended:
	case <-time.After(2 * patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		p.t.Errorf("the process did not end:\n%s", p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// wantNoPanic fails the test if anything panicked, caught or not.
func (p *process) wantNoPanic(t *testing.T) {
	t.Helper()
	if log := p.log.String(); strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") || strings.Contains(log, "fatal error") {
		t.Errorf("there was a panic:\n%s", log)
	}
}

// outcome is what became of a send.
type outcome struct {
	status int // 0: there was no answer
	code   string
	again  bool // it may be repeated
}

// try sends over REST to a process that may end meanwhile.
func (p person) try(conversation, client, body string) (o outcome) {
	raw, err := json.Marshal(map[string]any{"conversation_id": conversation, "client_msg_id": client, "body": body})
	if err != nil {
		return o
	}
	req, err := http.NewRequest("POST", p.n.url+"/api/v1/messages", bytes.NewReader(raw))
	if err != nil {
		return o
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.access)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return o
	}
	defer res.Body.Close()
	doc, err := io.ReadAll(res.Body)
	if err != nil {
		return o
	}
	var problem struct {
		Code      string
		Retryable bool
	}
	_ = json.Unmarshal(doc, &problem)
	return outcome{res.StatusCode, problem.Code, problem.Retryable}
}

// sentLog is what a client knows to be stored.
type sentLog struct {
	conversation string
	acked        []string // client_msg_ids
}

// want compares the acknowledged sends with what a device gets that has nothing
// yet: each is there, none twice, and the sequence has no hole. It gives all
// client_msg_ids that are there.
func (l *sentLog) want(t *testing.T, p person) map[string]bool {
	t.Helper()
	s, welcome, _ := p.connect()
	_ = s
	_, _, missed := p.connect(map[string]any{"epoch": welcome["epoch"], "conversations": map[string]int{l.conversation: 0}})
	there := map[string]bool{}
	seq := 0.0
	for _, f := range missed {
		m, ok := f["message"].(map[string]any)
		if !ok {
			continue
		}
		id := m["client_msg_id"].(string)
		if there[id] {
			t.Errorf("%s is there twice", id)
		}
		if there[id] = true; m["seq"] != seq+1 {
			t.Errorf("seq %v follows %v", m["seq"], seq)
		}
		seq++
	}
	for _, id := range l.acked {
		if !there[id] {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	return there
}
