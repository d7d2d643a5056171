package servers

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestVariablesOfARun(t *testing.T) {
	t.Setenv(EnvPostgres, "there already")
	t.Setenv(EnvKafka, "there already")
	t.Setenv(EnvRedis, "")
	all, err := All(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "env")
	if err := all.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", ". "+path+`; echo "$NOVA_TEST_POSTGRES $NOVA_TEST_REDIS"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("redis-server"); err == nil && !strings.HasPrefix(string(out), "there already redis://") {
		t.Errorf("the shell reads %q", out)
	}
	if err := all.Close(); err != nil {
		t.Error(err)
	}
}

func TestVariablesAreQuotedForTheShell(t *testing.T) {
	path := filepath.Join(t.TempDir(), "env")
	s := Set{Variables: []string{"NOVA_X=a?b=c&d=$e"}}
	if err := s.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", ". "+path+`; printf %s "$NOVA_X"`).Output()
	if err != nil || string(out) != "a?b=c&d=$e" {
		t.Errorf("the shell reads %q, %v", out, err)
	}
}

// attempt is a test that notes how it ends.
type attempt struct {
	testing.TB
	how string
}

func (a *attempt) Helper()      {}
func (a *attempt) Name() string { return "TestAttempt" }
func (a *attempt) Skip(...any)  { a.how = "skipped"; panic(a) }
func (a *attempt) Fatal(...any) { a.how = "failed"; panic(a) }

func (a *attempt) run(do func(testing.TB)) string {
	defer func() { _ = recover() }()
	do(a)
	return "went on"
}

func TestAMissingServer(t *testing.T) {
	left := filepath.Join(t.TempDir(), "left")
	t.Setenv(EnvLeftOut, left)
	for ci, want := range map[string]string{"": "skipped", "true": "failed"} {
		t.Setenv("CI", ci)
		a := attempt{TB: t}
		a.run(func(t testing.TB) { have(t, missing{"Redis", "apt-get install redis-server"}) })
		if a.how != want {
			t.Errorf("CI=%q: %q, not %q", ci, a.how, want)
		}
	}
	b, err := os.ReadFile(left)
	if got := string(b); err != nil || got != "TestAttempt\tRedis is left out: apt-get install redis-server\n" {
		t.Errorf("noted: %q, %v", got, err)
	}
}
