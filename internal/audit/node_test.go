package audit_test

import (
	"context"
	"slices"
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

// catalogue is what a process that runs everything must show.
func catalogue(map[string]string) ([]string, error) {
	m, _, err := app.Catalogue(config.Default())
	if err != nil {
		return nil, err
	}
	return m.Static(), nil
}

func startNode(t *testing.T, change ...func(*config.Config)) *node {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir, cfg.LogDir = t.TempDir(), t.TempDir()
	cfg.ListenPublic, cfg.ListenAdmin = "127.0.0.1:0", "127.0.0.1:0"
	for _, f := range change {
		f(&cfg)
	}
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
	if err := a.Start(ctx); err != nil {
		return err
	}
	n.mu.Lock() // it has a public address only now
	n.app = a
	n.mu.Unlock()
	return nil
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

// scene is one audit of one promise and what it must come to.
type scene struct {
	promise int
	defect  *defect // nil = no proxy in between
	change  func(n *node, o *audit.Options)
	verdict audit.Verdict // default: broken
	because []string      // texts of facts with that verdict
	left    string        // text of a fact that was not judged
}

func (s scene) run(t *testing.T) {
	t.Helper()
	n := startNode(t)
	public, admin := n.urls()
	if s.defect != nil {
		public, admin = s.defect.start(t, n)
	}
	opts := audit.Options{Public: public, Admins: []string{admin}, LogDir: n.cfg.LogDir, Only: []int{s.promise}, Requests: 600}
	if s.change != nil {
		s.change(n, &opts)
	}
	r, err := audit.Run(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if s.verdict == "" {
		s.verdict = audit.Broken
	}
	want(t, r.Checks[0], s.verdict, s.because...)
	if s.left != "" && !has(r.Checks[0], audit.NotJudged, s.left) {
		t.Errorf("the report does not say that it could not judge %q", s.left)
	}
}

// together plays scenes side by side: they mostly wait.
func together(t *testing.T, scenes map[string]scene) {
	t.Helper()
	if testing.Short() {
		t.Skip("the scenes take a minute or two")
	}
	t.Parallel()
	const atOnce = 5
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for name, s := range scenes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(name, s.run)
		})
	}
	wg.Wait()
}

func has(c audit.Check, v audit.Verdict, text string) bool {
	return slices.ContainsFunc(c.Facts, func(f audit.Fact) bool { return f.Verdict == v && strings.Contains(f.Text, text) })
}

// want fails the test unless the verdict is right, and facts with that verdict
// say these things.
func want(t *testing.T, c audit.Check, v audit.Verdict, because ...string) {
	t.Helper()
	var b strings.Builder
	for _, f := range c.Facts {
		b.WriteString(string(f.Verdict) + ": " + f.Text + "\n")
	}
	if c.Verdict != v {
		t.Fatalf("%d %s: %s, want %s\n%s", c.Promise, c.Name, c.Verdict, v, b.String())
	}
	for _, text := range because {
		if !has(c, v, text) {
			t.Errorf("no fact that is %s says %q:\n%s", v, text, b.String())
		}
	}
}
