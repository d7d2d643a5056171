package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// openStores opens the databases of the local services. A server that cannot be
// reached is waited for: the admin listener says meanwhile why the process is
// not ready.
func (a *App) openStores(ctx context.Context, writesWaiting int) error {
	for _, st := range stores {
		if !a.cfg.Local(st.service) {
			continue
		}
		cfg := storeConfig(a.cfg, st.service)
		cfg.Waiting = writesWaiting
		db, err := a.openStore(ctx, cfg)
		if err != nil {
			return err
		}
		a.dbs[st.service] = db
	}
	return nil
}

func storeConfig(cfg config.Config, s obs.Service) sqldb.Config {
	return sqldb.Config{Service: s, URL: cfg.DatabaseURL(s), Setting: cfg.DatabaseSetting(s)}
}

func (a *App) openStore(ctx context.Context, cfg sqldb.Config) (*sqldb.DB, error) {
	ctx = obs.WithCorrelation(ctx, obs.NewCorrelation())
	var wait bus.Backoff
	for {
		db, err := sqldb.Open(ctx, a.obs, a.group, cfg)
		if !fault.Is(err, fault.CodeUnavailable) {
			return db, err
		}
		a.ready.set("waiting for the database of " + cfg.Service.String())
		a.obs.Log(obs.Process).LogAttrs(ctx, slog.LevelWarn, "waiting for a database", slog.String("service", cfg.Service.String()), obs.Cause(err))
		if !wait.Wait(ctx, nil) {
			return nil, fmt.Errorf("database of %s: %w", cfg.Service, context.Cause(ctx))
		}
	}
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
	ctx, cancel := context.WithTimeout(obs.WithCorrelation(ctx, obs.NewCorrelation()), checkTime)
	defer cancel()
	for _, st := range stores {
		if db := a.dbs[st.service]; db != nil && db.Check(ctx) != nil && !errors.Is(ctx.Err(), context.Canceled) {
			return "the database of " + st.service.String() + " does not answer"
		}
	}
	return ""
}
