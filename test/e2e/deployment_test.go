package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/certs"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/test/servers"
)

// kind is what a node of the tests consists of. The variable NOVA_E2E says of
// what kind they all are; with "" it is one process with SQLite.
type kind string

const (
	alone    kind = ""         // one process with SQLite
	postgres kind = "postgres" // one process with PostgreSQL
	nodes    kind = "nodes"    // two processes that share PostgreSQL, Redis and Kafka
	services kind = "services" // two processes for each service, which call each other over mutual TLS
)

var chosen = kind(os.Getenv("NOVA_E2E"))

// onlyAlone leaves out a test that means the same wherever the others run.
func onlyAlone(t *testing.T, why string) {
	t.Helper()
	if chosen != alone {
		t.Skip(why)
	}
}

// ifAlone is for what a test that takes the whole machine does not do elsewhere,
// where databases that are servers have to answer other tests in time.
func ifAlone(do func()) {
	if chosen == alone {
		do()
	}
}

const (
	aboutFiles   = "is about the files of SQLite"
	ownProcesses = "starts the processes that it is about by itself"
)

// ground is what the processes on a folder of a test share, and what outlives
// them.
type ground func(*config.Config)

var grounds sync.Map // folder -> ground

func (k kind) ground(t *testing.T, dir string) ground {
	t.Helper()
	if g, ok := grounds.Load(dir); ok {
		return g.(ground)
	}
	g := ground(func(*config.Config) {})
	switch k {
	case alone:
	case postgres:
		database := servers.Postgres(t)
		g = func(c *config.Config) { c.Database, c.Seal = obs.NewSecret(database), seal }
	case nodes:
		g = common(t, servers.Redis(t))
	case services:
		share, certify := common(t, servers.Redis(t)), certified(t)
		g = func(c *config.Config) { share(c); certify(c) }
	default:
		t.Fatalf("NOVA_E2E is %q", k)
	}
	grounds.Store(dir, g)
	return g
}

// seal opens the signing keys of all nodes.
var seal = obs.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))

// common gives configurations the servers that nodes share: a database and
// topics of the test's own.
func common(t *testing.T, redis string) ground {
	t.Helper()
	database, kafka := servers.Postgres(t), servers.Kafka(t)
	prefix := servers.Topics(t, kafka)
	share := func(c *config.Config) {
		c.Database, c.Redis, c.Kafka, c.Prefix = obs.NewSecret(database), obs.NewSecret(redis), kafka, prefix
		c.Seal = seal
	}
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	share(&cfg)
	if err := app.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return share
}

// certified gives configurations certificates, by the services that they run.
func certified(t *testing.T) ground {
	t.Helper()
	folder := certs.Folder{Dir: t.TempDir(), Now: time.Now}
	if err := folder.Init(time.Hour); err != nil {
		t.Fatal(err)
	}
	parts := split()
	identities, err := folder.Issue(parts, nil, time.Hour/2)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) {
		if i := slices.IndexFunc(parts, func(p []obs.Service) bool { return slices.Equal(p, c.Services) }); i >= 0 {
			c.RPCIdentity, c.RPCTrusted = filepath.Join(folder.Dir, identities[i]), filepath.Join(folder.Dir, "trusted.pem")
		}
	}
}

// split is each service by itself.
func split() (parts [][]obs.Service) {
	for _, s := range obs.Services() {
		parts = append(parts, []obs.Service{s})
	}
	return parts
}

// processes are the configurations of a node's processes: two for each part of
// the services, those that others call first.
func (k kind) processes(t *testing.T, whole config.Config, g ground) (all []config.Config) {
	t.Helper()
	parts := [][]obs.Service{obs.Services()}
	switch k {
	case alone, postgres:
		return []config.Config{whole}
	case services:
		parts = split()
	}
	var called []string
	for _, part := range parts {
		for i := range 2 {
			c := whole
			c.Services, c.DataDir = part, filepath.Join(whole.DataDir, fmt.Sprintf("%s-%d", part[0], i+1))
			c.Nodes = 2
			if g(&c); k == services && part[0] == obs.Auth {
				port, err := servers.FreePort()
				if err != nil {
					t.Fatal(err)
				}
				c.ListenGRPC = fmt.Sprintf("127.0.0.1:%d", port)
				called = append(called, c.ListenGRPC)
			} else if k == services {
				c.RPC = map[obs.Service][]string{obs.Auth: called}
			}
			all = append(all, c)
		}
	}
	return all
}

// startOn is startWith for a kind of node that the test itself chooses.
func (k kind) start(t *testing.T, dir string, opt app.Options, change ...func(*config.Config)) *node {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = dir, "127.0.0.1:0", "127.0.0.1:0"
	for _, r := range []*config.Rate{&cfg.Limits.MessagesPerUser, &cfg.Limits.RequestsPerUser, &cfg.Limits.FramesPerSocket} {
		r.Count, r.Burst = 100_000, 100_000
	}
	g := k.ground(t, dir)
	g(&cfg)
	for _, f := range change {
		f(&cfg)
	}
	n := &node{t: t, cfg: cfg, log: &logs{}}
	if k == nodes || k == services {
		n.router = newRouter(t)
		n.url, cfg.Origins = n.router.url(), append(cfg.Origins, n.router.origins()...)
	}
	n.stop = sync.OnceValue(n.end)
	t.Cleanup(func() {
		if n.stop(); t.Failed() {
			n.log.complain(t)
		}
	})
	for _, c := range k.processes(t, cfg, g) {
		opt.Config, opt.Log = c, n.log
		a, err := app.New(context.Background(), opt)
		if err != nil {
			t.Fatal(err)
		}
		n.apps, n.cfgs = append(n.apps, a), append(n.cfgs, c)
	}
	if err := n.each(func(a *app.App) error { return a.Start(context.Background()) }); err != nil {
		t.Fatal(err)
	}
	for i, a := range n.apps {
		if n.router == nil {
			n.url = a.PublicURL()
		} else {
			n.router.add(a.PublicURL(), n.cfgs[i].Services)
		}
	}
	return n
}

// each does something to all processes at once.
func (n *node) each(do func(*app.App) error) error {
	errs := make([]error, len(n.apps))
	var all sync.WaitGroup
	for i, a := range n.apps {
		all.Go(func() { errs[i] = do(a) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// end stops all processes and gives the sum of their ledgers.
func (n *node) end() (sum app.Ledger) {
	var mu sync.Mutex
	sum.Err = n.each(func(a *app.App) error {
		l := a.Stop(context.Background())
		mu.Lock()
		defer mu.Unlock()
		sum.Accepted += l.Accepted
		sum.Committed += l.Committed
		sum.Rejected += l.Rejected
		sum.Unknown += l.Unknown
		sum.Acknowledged += l.Acknowledged
		sum.SocketsClosed += l.SocketsClosed
		sum.OutboxLeft += l.OutboxLeft
		sum.GoroutinesLeft += l.GoroutinesLeft
		sum.Took = max(sum.Took, l.Took)
		return l.Err
	})
	return sum
}

// wantOut fails the test unless every process refuses the person's proof of
// identity: at once, or soon where somebody else has to be told.
func (p person) wantOut(t *testing.T) {
	t.Helper()
	for _, a := range p.n.apps {
		there := p.on(&node{t: t, url: a.PublicURL()})
		for _, path := range []string{"auth/sessions", "users/me", "conversations"} { // of services that run there, or not
			refused := func() bool { return there.call("GET", path, nil).status >= 400 }
			if p.n.router == nil && !refused() {
				t.Errorf("%s is answered after the session's end", path)
			}
			within(t, "the end of the session", refused)
		}
	}
}

// pinned sends everything to one node of each service from now on, for a test of
// what a process decides by itself: it knows a moment later what others let
// through, and committed.
func (n *node) pinned() *node {
	if n.router != nil {
		n.router.pinned.Store(true)
	}
	return n
}
