package sqldb

import (
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/nova-chat/nova/internal/obs"
)

// judgeSQLite reads the engine's number. Everything is the engine's failure
// that is not about one statement alone.
func judgeSQLite(e *sqlite.Error) *failure {
	f := &failure{reason: obs.StoreUnknown, code: e.Code(), engine: true}
	switch f.code & 0xff {
	case lib.SQLITE_CONSTRAINT:
		f.reason, f.engine = obs.StoreConstraint, false
		f.unique = f.code == lib.SQLITE_CONSTRAINT_UNIQUE || f.code == lib.SQLITE_CONSTRAINT_PRIMARYKEY || f.code == lib.SQLITE_CONSTRAINT_ROWID
		f.absent = f.code == lib.SQLITE_CONSTRAINT_FOREIGNKEY
		f.null = f.code == lib.SQLITE_CONSTRAINT_NOTNULL
	case lib.SQLITE_ERROR, lib.SQLITE_MISMATCH, lib.SQLITE_RANGE, lib.SQLITE_TOOBIG:
		f.engine, f.text = false, e.Error()
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		f.reason = obs.StoreBusy
	case lib.SQLITE_FULL:
		f.reason = obs.StoreFull
	case lib.SQLITE_INTERRUPT:
		f.reason, f.cut = obs.StoreTimeout, true
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		f.reason, f.lost = obs.StoreCorrupt, true
	case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM, lib.SQLITE_READONLY, lib.SQLITE_PROTOCOL:
		f.reason, f.lost = obs.StoreUnreachable, true
		f.sync = f.code == lib.SQLITE_IOERR_FSYNC || f.code == lib.SQLITE_IOERR_DIR_FSYNC
	}
	return f
}
