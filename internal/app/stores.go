package app

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// openStores opens the databases of the local services. A server that cannot be
// reached is waited for: the admin listener says meanwhile why the process is
// not ready.
func (a *App) openStores(ctx context.Context, writesWaiting int) error {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	for _, st := range stores {
		if !a.cfg.Local(st.service) {
			continue
		}
		cfg := storeConfig(a.cfg, st.service)
		cfg.Waiting = writesWaiting
		err := a.patiently(ctx, "the database of "+st.service.String(), cfg.Setting, func() (err error) {
			a.dbs[st.service], err = sqldb.Open(ctx, a.obs, a.group, cfg)
			return err
		})
		if err != nil {
			delete(a.dbs, st.service)
			return err
		}
	}
	return a.patiently(ctx, "the number of connections", "database", func() error { return a.checkConnections(ctx) })
}

// checkConnections refuses pools that are larger than the servers allow, all
// databases on one server together: some node would find out only under load.
func (a *App) checkConnections(ctx context.Context) error {
	needed := map[string]int{}
	for _, db := range a.dbs {
		allowed, server, err := db.ServerConnections(ctx)
		if err != nil {
			return err
		}
		each := db.MaxConnections()
		if each > 0 && db == a.first() {
			each++ // which has the node's claim
		}
		needed[server] += each * a.cfg.Nodes
		if n := needed[server]; n > allowed {
			return problem("database_reads", fmt.Sprintf("PostgreSQL allows %d connections, and %d nodes may open %d or more: lower database_reads or nodes, or raise max_connections", allowed, a.cfg.Nodes, n))
		}
	}
	return nil
}

func storeConfig(cfg config.Config, s obs.Service) sqldb.Config {
	return sqldb.Config{Service: s, URL: cfg.DatabaseURL(s), Setting: cfg.DatabaseSetting(s), ReadConns: cfg.ReadConns}
}

const (
	checkEvery = 500 * time.Millisecond
	checkTime  = time.Second // for one answer
)

// watchStores takes the process out of service while a database is away, and
// for good when one has lost an fsync: what it would acknowledge from then on
// might not be there after a crash. A restart reads what is really on the disk.
func (a *App) watchStores(ctx context.Context) {
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := a.broken(); err != nil {
			a.ask(err)
			return
		}
		a.ready.setStores(a.missing(ctx))
	}
}

// broken is why the process can never write again, nil if it can.
func (a *App) broken() error {
	for service, db := range a.dbs {
		if err := db.Broken(); err != nil {
			a.ready.set("the database of " + service.String() + " cannot be written")
			return fmt.Errorf("database of %s: %w", service, err)
		}
	}
	return nil
}

// missing names a database that does not answer, "" if all do.
func (a *App) missing(ctx context.Context) string {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	for _, st := range stores {
		if db := a.dbs[st.service]; db != nil && !answers(ctx, db) {
			return "the database of " + st.service.String() + " does not answer"
		}
	}
	return ""
}

// answers says whether a database answers in time. Each has a time of its own:
// three that are slow are not one that is away.
func answers(ctx context.Context, db *sqldb.DB) bool {
	limited, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	return db.Check(limited) == nil || ctx.Err() != nil
}
