package sqldb

import (
	"context"
	"fmt"
)

// SystemIdentity says which history of which server the database belongs to:
// it changes when another server, an older copy or a promoted standby answers.
// On SQLite, where only a restored file could, it is "".
func (db *DB) SystemIdentity(ctx context.Context) (identity string, err error) {
	if !db.served() {
		return "", nil
	}
	err = db.Read(ctx, "sqldb.identity", func(ctx context.Context, tx *Tx) error {
		return tx.QueryRow(ctx, `SELECT `+sqlHistory).Scan(&identity)
	})
	return identity, err
}

// Check says whether reads can be answered and nothing keeps writes from being
// tried: for readiness.
func (db *DB) Check(ctx context.Context) error {
	if err := db.Broken(); err != nil || !db.served() {
		return err
	}
	return db.Read(ctx, "sqldb.check", func(ctx context.Context, tx *Tx) error {
		var one int
		return tx.QueryRow(ctx, `SELECT 1`).Scan(&one)
	})
}

// served says whether a server has the database, which others use too.
func (db *DB) served() bool {
	_, ok := db.engine.(*postgres)
	return ok
}

// MaxConnections is how many connections to a server the database may have at
// once: those that read, the one that writes, one to migrate and one to look
// whether a pooler is between. A claim has another one. 0 on SQLite.
func (db *DB) MaxConnections() int {
	if !db.served() {
		return 0
	}
	return db.readers.size() + 3
}

// ServerConnections is how many connections the server allows to everybody who
// is not its superuser, and which server that is, so that several databases on
// one are counted together. 0 on SQLite.
func (db *DB) ServerConnections(ctx context.Context) (allowed int, server string, err error) {
	if !db.served() {
		return 0, "", nil
	}
	err = db.Read(ctx, "sqldb.connections", func(ctx context.Context, tx *Tx) error {
		err := tx.QueryRow(ctx, `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int`).Scan(&allowed)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT system_identifier::text FROM pg_control_system()`).Scan(&server)
	})
	if err != nil {
		return 0, "", fmt.Errorf("connections of the server: %w", err)
	}
	return allowed, server, nil
}
