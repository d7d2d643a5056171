package audit_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/audit"
	"github.com/nova-chat/nova/internal/config"
)

// node is a real Nova inside the test, which can be restarted on its data.
type node struct {
	cfg config.Config

	mu  sync.Mutex // guards what follows
	app *app.App
}

func startNode(t *testing.T) *node {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir, cfg.LogDir = t.TempDir(), t.TempDir()
	cfg.ListenPublic, cfg.ListenAdmin = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Limits.RegistrationsPerAddress.Burst = 1000 // several audits of one node
	cfg.Limits.LoginsPerAddress.Burst = 1000
	n := &node{cfg: cfg}
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.app.Stop(context.Background()) })
	return n
}

func (n *node) start() error {
	ctx := context.Background()
	a, err := app.New(ctx, app.Options{Config: n.cfg})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.app = a
	n.mu.Unlock()
	return a.Start(ctx)
}

// restart ends the process in order and begins another one, on other ports.
func (n *node) restart(ctx context.Context) error {
	if ledger := n.app.Stop(ctx); ledger.Err != nil {
		return ledger.Err
	}
	return n.start()
}

func (n *node) urls() (public, admin string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.app.PublicURL(), n.app.AdminURL()
}

// run audits one promise, through a proxy with a planted defect unless that is nil.
func (n *node) run(t *testing.T, promise int, d *defect, change ...func(*audit.Options)) audit.Check {
	t.Helper()
	public, admin := n.urls()
	if d != nil {
		d.n = n
		public, admin = d.start(t)
	}
	opts := audit.Options{Public: public, Admin: admin, LogDir: n.cfg.LogDir, Only: []int{promise}, Requests: 1000}
	for _, f := range change {
		f(&opts)
	}
	r, err := audit.Run(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r.Checks[0]
}

// want fails the test unless the verdict is right; a broken check must say why
// with that text.
func want(t *testing.T, c audit.Check, v audit.Verdict, because ...string) {
	t.Helper()
	var all, broken strings.Builder
	for _, f := range c.Facts {
		line := string(f.Verdict) + ": " + f.Text + "\n"
		all.WriteString(line)
		if f.Verdict == audit.Broken {
			broken.WriteString(line)
		}
	}
	if c.Verdict != v {
		t.Fatalf("%d %s: %s, want %s\n%s", c.Promise, c.Name, c.Verdict, v, all.String())
	}
	for _, text := range because {
		if !strings.Contains(broken.String(), text) {
			t.Errorf("no broken fact says %q:\n%s", text, all.String())
		}
	}
	if testing.Verbose() {
		t.Logf("%s\n%s", c.Verdict, all.String())
	}
}
