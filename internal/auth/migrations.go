package auth

import (
	"embed"
	"io/fs"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migrations are the files that make the tables, for sqldb.DB.Migrate.
func Migrations() fs.FS {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		panic(err) // only an invalid path fails, and the path is the constant above
	}
	return files
}
