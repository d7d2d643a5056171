// Package sqldb is the only way to a database: reads from a snapshot, writes in
// group commits. The SQL text is the same for every engine.
//
// It guarantees that a write which was answered without an error is committed
// and fsynced; that all writes of one [DB] are applied one after the other in
// the order of their positions, and answered in that order; that a refused
// write leaves nothing behind and harms no other; that a [DB] whose connection
// is not strictly durable does not open; and that errors leave as fault codes,
// counted by a closed reason, without arguments, statement texts or file names.
//
// It does not guarantee that a write answered with unavailable, timeout or
// internal is absent: the outcome is then unknown. It does not repeat a write
// after an uncertain commit, and it gives no order between two databases.
package sqldb
