package sqldb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"time"
)

var (
	migrationName = regexp.MustCompile(`^([0-9]{4})_[a-z0-9_]+\.sql$`)
	minVersion    = regexp.MustCompile(`(?m)^-- min_version: ([0-9]+)$`)
)

const migrateTime = time.Hour // for one migration

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations (
	name TEXT NOT NULL,
	version BIGINT NOT NULL,
	sum TEXT NOT NULL,
	min_version BIGINT NOT NULL,
	applied_at BIGINT NOT NULL,
	PRIMARY KEY (name, version)
)`

type migration struct {
	file    string
	version int64
	text    string
	sum     string
	min     int64
}

// Migrate brings the tables that go by name up to date: the files
// NNNN_what.sql of fsys, in order, each in a transaction of its own, forward
// only. A file that was applied must not change. A file may say, in a line
// "-- min_version: N", that programs which know only files below N cannot work
// with the tables any more; those then refuse to start, others do not.
func (db *DB) Migrate(ctx context.Context, name string, fsys fs.FS) error {
	all, err := readMigrations(fsys)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", name, err)
	}
	err = db.engine.migrating(ctx, db, func(write transact) error { return migrate(ctx, write, name, all) })
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", name, db.blame(err))
	}
	return nil
}

// migrate applies what is missing.
func migrate(ctx context.Context, write transact, name string, all []migration) error {
	err := write(ctx, func(ctx context.Context, tx *Tx) error { return tx.script(ctx, createMigrations) })
	if err != nil {
		return err
	}
	if err := write(ctx, func(ctx context.Context, tx *Tx) error { return suits(ctx, tx, name, all) }); err != nil {
		return err
	}
	for _, m := range all {
		if err := write(ctx, func(ctx context.Context, tx *Tx) error { return m.apply(ctx, tx, name) }); err != nil {
			return fmt.Errorf("%s: %w", m.file, err)
		}
	}
	return nil
}

// suits refuses tables that are too new for this program.
func suits(ctx context.Context, tx *Tx, name string, all []migration) error {
	var least, known int64
	for _, m := range all {
		known = m.version
	}
	err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(min_version), 0) FROM schema_migrations WHERE name = $1`, name).Scan(&least)
	if err != nil {
		return err
	}
	if known < least {
		return &misfit{text: fmt.Sprintf("its tables of %s need a newer Nova: one that knows migration %04d, this one ends at %04d", name, least, known)}
	}
	return nil
}

// apply looks and writes in one transaction: another process may migrate too.
func (m migration) apply(ctx context.Context, tx *Tx, name string) error {
	var sum string
	err := tx.QueryRow(ctx, `SELECT sum FROM schema_migrations WHERE name = $1 AND version = $2`, name, m.version).Scan(&sum)
	switch {
	case err == nil && sum != m.sum:
		return fmt.Errorf("%s was changed after it was applied", m.file)
	case err == nil:
		return nil
	case !errors.Is(err, ErrNoRows):
		return err
	}
	if err := tx.script(context.WithoutCancel(ctx), m.text); err != nil { // an index of a large table takes its time
		return err
	}
	return tx.Insert(ctx, "schema_migrations", []string{"name", "version", "sum", "min_version", "applied_at"},
		[]any{name, m.version, m.sum, m.min, time.Now().UnixMilli()})
}

// readMigrations gives the files in the order of their names, which is that of
// their versions: fs.ReadDir sorts.
func readMigrations(fsys fs.FS) ([]migration, error) {
	files, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	var all []migration
	for _, f := range files {
		if path.Ext(f.Name()) != ".sql" {
			continue
		}
		m, err := readMigration(fsys, f.Name())
		if err != nil {
			return nil, err
		}
		if n := len(all); n > 0 && all[n-1].version == m.version {
			return nil, fmt.Errorf("%s and %s have one number", all[n-1].file, m.file)
		}
		all = append(all, m)
	}
	return all, nil
}

func readMigration(fsys fs.FS, file string) (migration, error) {
	parts := migrationName.FindStringSubmatch(file)
	if parts == nil {
		return migration{}, fmt.Errorf("%s: the name must be NNNN_what.sql", file)
	}
	text, err := fs.ReadFile(fsys, file)
	if err != nil {
		return migration{}, fmt.Errorf("read %s: %w", file, err)
	}
	m := migration{file: file, text: string(text)}
	if m.version, err = strconv.ParseInt(parts[1], 10, 64); err != nil {
		return migration{}, fmt.Errorf("%s: %w", file, err)
	}
	sum := sha256.Sum256(text)
	m.sum = hex.EncodeToString(sum[:])
	if said := minVersion.FindStringSubmatch(m.text); said != nil {
		if m.min, err = strconv.ParseInt(said[1], 10, 64); err != nil {
			return migration{}, fmt.Errorf("%s: %w", file, err)
		}
	}
	return m, nil
}

// Version is how far the tables of one name are.
type Version struct {
	Name    string
	Version int64
}

// Versions lists how far the tables of a database are; none before the first
// migration.
func (db *DB) Versions(ctx context.Context) (all []Version, err error) {
	err = db.Read(ctx, "sqldb.versions", func(ctx context.Context, tx *Tx) error {
		rows, err := tx.Query(ctx, `SELECT name, MAX(version) FROM schema_migrations GROUP BY name ORDER BY name`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var v Version
			if err := rows.Scan(&v.Name, &v.Version); err != nil {
				return err
			}
			all = append(all, v)
		}
		return rows.Err()
	})
	return all, err
}
