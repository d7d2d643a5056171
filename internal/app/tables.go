package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/nova-chat/nova/internal/auth"
	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/messaging"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/user"
)

// stores are the services with a database, and their tables beside the outbox's.
var stores = []struct {
	service obs.Service
	files   func() fs.FS
}{
	{obs.Auth, auth.Migrations},
	{obs.User, user.Migrations},
	{obs.Messaging, messaging.Migrations},
}

// Migrate brings the tables of the local services up to date, and makes the
// topics of Kafka. It refuses to run beside a server of the same data folder.
func Migrate(ctx context.Context, cfg config.Config) error {
	if len(cfg.Kafka) > 0 {
		k, err := kafkaConfig(cfg)
		if err != nil {
			return err
		}
		if err := bus.MigrateKafka(ctx, k); err != nil {
			return named(err)
		}
	}
	return withStores(cfg, func(o *obs.Obs, g *run.Group) error {
		lock, err := sqldb.LockFolder(cfg.DataDir)
		if err != nil {
			return fmt.Errorf("data folder: %w", err)
		}
		defer lock.Close() //nolint:errcheck // the end of the process gives it up too
		for _, st := range stores {
			if !cfg.Local(st.service) {
				continue
			}
			db, err := sqldb.Open(ctx, o, g, storeConfig(cfg, st.service))
			if err != nil {
				return err
			}
			err = errors.Join(db.Migrate(ctx, "outbox", outbox.Migrations()), db.Migrate(ctx, st.service.String(), st.files()))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// withStores runs fn with what a database needs, and stops it afterwards.
func withStores(cfg config.Config, fn func(*obs.Obs, *run.Group) error) error {
	o, err := obs.New(obs.Config{Level: cfg.LogLevel})
	if err != nil {
		return err
	}
	g := run.New(o)
	err = fn(o, g)
	return errors.Join(named(err), g.Stop(context.Background()).Err(), o.Close())
}

// TableStatus is how far the tables of one name are.
type TableStatus struct {
	Service string `json:"service"`
	Name    string `json:"name"`
	Version int64  `json:"version"`
}

// MigrationStatus says how far the tables are. It changes nothing, and leaves
// out databases that do not exist yet.
func MigrationStatus(ctx context.Context, cfg config.Config) (all []TableStatus, err error) {
	err = withStores(cfg, func(o *obs.Obs, g *run.Group) error {
		for _, st := range stores {
			url := cfg.DatabaseURL(st.service)
			if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile && missing(path) || !cfg.Local(st.service) {
				continue
			}
			db, err := sqldb.Open(ctx, o, g, storeConfig(cfg, st.service))
			if err != nil {
				return err
			}
			versions, err := db.Versions(ctx)
			if err != nil {
				return fmt.Errorf("database of %s: %w", st.service, err)
			}
			for _, v := range versions {
				all = append(all, TableStatus{st.service.String(), v.Name, v.Version})
			}
		}
		return nil
	})
	return all, err
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}
