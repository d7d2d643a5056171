package user

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/sqldb"
)

// SeededProfile is a profile for an account that auth.Seed made.
type SeededProfile struct {
	UserID, Username, DisplayName string
	CreatedAt                     time.Time
}

const seedBatch = 500

// Seed writes profiles straight into the store of the user service. Those that
// are there already stay as they are.
func Seed(ctx context.Context, db *sqldb.DB, all []SeededProfile) error {
	if err := migrate(ctx, db); err != nil {
		return err
	}
	for len(all) > 0 {
		n := min(len(all), seedBatch)
		batch := make([]profile, n)
		for i, p := range all[:n] {
			batch[i] = profile{p.UserID, p.Username, p.DisplayName, p.CreatedAt}
		}
		err := db.Write(ctx, "user.seed", func(ctx context.Context, tx *sqldb.Tx) error {
			return insertProfiles(ctx, tx, batch)
		})
		if err != nil {
			return fmt.Errorf("seed: %w", err)
		}
		all = all[n:]
	}
	return nil
}
