package sqldb

// Shared says whether other processes may write to the database too.
func (db *DB) Shared() bool { return db.served() }
