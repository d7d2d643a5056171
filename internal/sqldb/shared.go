package sqldb

// Shared says whether other processes write to the database too.
func (db *DB) Shared() bool { return false }
