package user

import (
	"context"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/sqldb"
)

const profileColumns = `p.id, p.username, p.display_name, p.created_ms`

func scanProfiles(rows *sqldb.Rows, err error) ([]profile, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []profile
	for rows.Next() {
		var p profile
		var ms int64
		if err := rows.Scan(&p.id, &p.username, &p.displayName, &ms); err != nil {
			return nil, err
		}
		p.created = time.UnixMilli(ms)
		all = append(all, p)
	}
	return all, rows.Err()
}

func profilesByID(ctx context.Context, tx *sqldb.Tx, ids map[string]bool) ([]profile, error) {
	args := make([]any, 0, len(ids))
	for one := range ids {
		args = append(args, one)
	}
	return scanProfiles(tx.Query(ctx, `SELECT `+profileColumns+` FROM profiles p WHERE p.id IN `+sqldb.In(len(args), 1), args...))
}

// searchProfiles gives the profiles that hold the text, which is in lower case,
// after a user name and in the order of user names.
func searchProfiles(ctx context.Context, tx *sqldb.Tx, text, after string, limit int) ([]profile, error) {
	return scanProfiles(tx.Query(ctx, `SELECT `+profileColumns+` FROM profiles p
		WHERE p.username > $1 AND (p.username LIKE $2 ESCAPE '\' OR p.folded LIKE $2 ESCAPE '\')
		ORDER BY p.username LIMIT $3`, after, "%"+literal(text)+"%", limit))
}

// literal escapes what LIKE takes for patterns.
func literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

// insertProfiles adds those that are not there yet; what is there may have been
// changed by its owner and stays.
func insertProfiles(ctx context.Context, tx *sqldb.Tx, all []profile) error {
	for _, p := range all {
		_, err := tx.Exec(ctx, `INSERT INTO profiles (id, username, display_name, folded, created_ms)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`, p.id, p.username, p.displayName, strings.ToLower(p.displayName), p.created.UnixMilli())
		if err != nil {
			return err
		}
	}
	return nil
}

func updateDisplayName(ctx context.Context, tx *sqldb.Tx, p profile) error {
	_, err := tx.Exec(ctx, `UPDATE profiles SET display_name = $1, folded = $2 WHERE id = $3`, p.displayName, strings.ToLower(p.displayName), p.id)
	return err
}
