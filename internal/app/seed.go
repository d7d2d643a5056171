package app

import (
	"context"
	"path/filepath"
	"time"

	"github.com/nova-chat/nova/internal/auth"
	"github.com/nova-chat/nova/internal/config"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/outbox"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/user"
)

// SeedOptions says which accounts [Seed] makes.
type SeedOptions struct {
	Config    config.Config
	Users     int
	Prefix    string        // of their names
	AccessTTL time.Duration // of their access
}

// SeededUser is an account that was made, with a session.
type SeededUser = auth.SeededUser

// Seed makes accounts with a session each straight in the stores of auth and
// user, for load tests. It may run beside a running server, and again.
func Seed(ctx context.Context, opt SeedOptions, write func(SeededUser) error) error {
	return withStores(opt.Config, func(o *obs.Obs, g *run.Group) error {
		dbs := map[obs.Service]*sqldb.DB{}
		for _, st := range stores[:2] { // auth and user
			db, err := sqldb.Open(ctx, o, g, storeConfig(opt.Config, st.service))
			if err != nil {
				return err
			}
			if err := db.Migrate(ctx, "outbox", outbox.Migrations()); err != nil {
				return err
			}
			dbs[st.service] = db
		}
		deps := auth.Deps{Obs: o, Group: g, DB: dbs[obs.Auth], Seal: opt.Config.Seal, KeysDir: filepath.Join(opt.Config.DataDir, "keys")}
		var profiles []user.SeededProfile
		err := auth.Seed(ctx, deps, auth.SeedOptions{Users: opt.Users, Prefix: opt.Prefix, AccessLife: opt.AccessTTL}, func(u auth.SeededUser) error {
			profiles = append(profiles, user.SeededProfile{UserID: u.UserID, Username: u.Username, DisplayName: u.DisplayName, CreatedAt: u.CreatedAt})
			return write(u)
		})
		if err != nil {
			return err
		}
		return user.Seed(ctx, dbs[obs.User], profiles)
	})
}
