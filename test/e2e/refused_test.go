package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nova-chat/nova/internal/app"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/test/servers"
)

// TestStartsThatNoWaitingMends: each names the setting to change and shows no
// part of its value; nova exits with 78.
func TestStartsThatNoWaitingMends(t *testing.T) {
	t.Parallel()
	database := servers.Postgres(t)
	change := func(f func(u *url.URL)) string {
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal("the address of the database is none")
		}
		f(u)
		return u.String()
	}
	const canary = "hunter2hunter2"
	for name, c := range map[string]struct {
		setting string
		change  func(c *config.Config)
	}{
		"wrong login": {"database", func(c *config.Config) {
			c.Database = obs.NewSecret(change(func(u *url.URL) { u.User = url.UserPassword("postgres", canary) }))
		}},
		"missing database": {"database", func(c *config.Config) {
			c.Database = obs.NewSecret(change(func(u *url.URL) { u.Path = "/" + canary }))
		}},
		"missing database of one service": {"database_user", func(c *config.Config) {
			c.UserDB = obs.NewSecret(change(func(u *url.URL) { u.Path = "/" + canary }))
		}},
		"no server of Redis": {"redis", func(c *config.Config) { c.Redis = obs.NewSecret("http://" + canary) }},
		"no authorities": {"ca_file", func(c *config.Config) {
			c.Redis, c.CAFile = obs.NewSecret("rediss://127.0.0.1:1"), filepath.Join(t.TempDir(), canary)
		}},
		"no certificate":            {"rpc_identity", func(c *config.Config) { c.RPCIdentity, c.RPCTrusted = canary, canary }},
		"tables of a newer program": {"database", func(c *config.Config) { c.Database = obs.NewSecret(newerTables(t)) }},
		"no seal":                   {"seal", func(c *config.Config) { c.Seal = obs.Secret{} }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
			cfg.Database, cfg.Seal = obs.NewSecret(database), seal
			c.change(&cfg)
			err := tryStart(cfg)
			bad, ok := errors.AsType[*config.Error](err)
			if !ok || bad.Problems[0].Setting != c.setting {
				t.Fatalf("got %v, want a problem of %s", err, c.setting)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message shows the value: %v", err)
			}
		})
	}
}

// TestPoolsFitTheServer: connections are counted at the start, for all services
// of the process and all nodes, not found out under load.
func TestPoolsFitTheServer(t *testing.T) {
	t.Parallel()
	server := servers.StartPostgres(t, servers.PostgresOptions{Settings: []string{"max_connections=20", "superuser_reserved_connections=3"}})
	for _, c := range []struct {
		reads, nodes int
		want         string // "" = it starts
	}{
		{4, 1, "PostgreSQL allows 17 connections, and 1 nodes may open 21"},
		{1, 2, "2 nodes may open"},
		{1, 1, ""},
	} {
		cfg := config.Default()
		cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
		cfg.Database, cfg.Seal, cfg.ReadConns, cfg.Nodes = obs.NewSecret(server.URL), seal, c.reads, c.nodes
		err := tryStart(cfg)
		bad, ok := errors.AsType[*config.Error](err)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%d reads, %d nodes: %v", c.reads, c.nodes, err)
		case c.want != "" && (!ok || bad.Problems[0].Setting != "database_reads" || !strings.Contains(bad.Problems[0].Detail, c.want)):
			t.Errorf("%d reads, %d nodes: %v", c.reads, c.nodes, err)
		}
	}
}

// newerTables is a database that only a program of later can work with.
func newerTables(t *testing.T) string {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g, url := run.New(o), servers.Postgres(t)
	defer g.Stop(t.Context())
	db, err := sqldb.Open(t.Context(), o, g, sqldb.Config{Service: obs.Auth, URL: url})
	if err != nil {
		t.Fatal(err)
	}
	later := fstest.MapFS{"9999_later.sql": {Data: []byte("-- min_version: 9999\nCREATE TABLE later (n BIGINT)")}}
	if err := db.Migrate(t.Context(), "auth", later); err != nil {
		t.Fatal(err)
	}
	return url
}

// TestAProcessThatWaitsTakesNoConnections: whoever would send it something, a
// proxy for example, goes elsewhere at once instead of waiting with it.
func TestAProcessThatWaitsTakesNoConnections(t *testing.T) {
	t.Parallel()
	addr := func() string {
		port, err := servers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	cfg := config.Default()
	cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = t.TempDir(), addr(), "127.0.0.1:0"
	shared(t, servers.Redis(t))(&cfg)
	cfg.Services, cfg.RPC = []obs.Service{obs.Messaging}, map[obs.Service][]string{obs.Auth: {addr()}}
	ctx, cancel := context.WithCancel(t.Context())
	a, err := app.New(ctx, app.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Start(ctx) }()
	admin := person{n: &node{t: t, url: a.AdminURL()}}
	within(t, "the process to wait for auth", func() bool {
		return fmt.Sprint(admin.get("/readyz").body["reasons"]) == "[waiting for auth]"
	})
	if c, err := net.Dial("tcp", cfg.ListenPublic); err == nil {
		t.Error("it takes connections and does not serve them")
		_ = c.Close()
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it started without auth")
	}
	a.Stop(context.Background())
}
