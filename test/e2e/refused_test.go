package e2e

import (
	"context"
	"errors"
	"net/url"
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

// TestPoolsFitTheServer: connections are counted at the start, for all services
// of the process and all nodes, not found out under load.
func TestPoolsFitTheServer(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	server := servers.StartPostgres(t, servers.PostgresOptions{Settings: []string{"max_connections=20", "superuser_reserved_connections=3"}})
	for _, c := range []struct {
		reads, nodes int
		want         string // "" = it starts
	}{
		{4, 1, "PostgreSQL allows 17 connections, and 1 nodes may open 22"},
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

// TestAStartWaitsForADatabaseThatGoesAway, however far it has come: a process
// that opened its databases goes on when they are back.
func TestAStartWaitsForADatabaseThatGoesAway(t *testing.T) {
	onlyAlone(t, ownProcesses)
	t.Parallel()
	u, err := url.Parse(servers.Postgres(t))
	if err != nil {
		t.Fatal("the address of the database is none")
	}
	way := servers.StartProxy(t, u.Host)
	u.Host = way.Addr
	cfg := config.Default()
	cfg.DataDir, cfg.ListenPublic, cfg.ListenAdmin = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	cfg.Database, cfg.Seal = obs.NewSecret(u.String()), seal
	a, err := app.New(context.Background(), app.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	if err := way.Refuse(); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- a.Start(context.Background()) }()
	operator := person{n: &node{t: t, url: a.AdminURL()}}
	within(t, "word of what is waited for", func() bool {
		reasons, _ := operator.get("/readyz").value("reasons").([]any)
		return len(reasons) == 1 && reasons[0] == "waiting for the database"
	})
	if err := way.Restore(); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Error(err)
	}
	within(t, "readiness", func() bool { return operator.get("/readyz").status == 200 })
}
