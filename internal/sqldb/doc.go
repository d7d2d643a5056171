// Package sqldb is the only way to a database: reads from a snapshot, writes in
// group commits. The SQL text is the same for every engine: SQLite, which one
// process has to itself, and PostgreSQL 15 or newer, which many share.
//
// It guarantees that a write which was answered without an error is committed
// and fsynced; that all writes to one database are applied one after the other,
// by whichever process, and that those of one [Batch] are answered in the order in
// which they were written; that a refused write leaves nothing behind and harms no
// other; that a connection which is not strictly durable when it is opened is not
// used; that with a server that is away, stopped or silent everybody is answered
// within a second; that nothing is written to another history of the database than it was
// opened on; and that errors leave as fault codes, counted by a closed reason,
// without arguments, addresses, logins or file names.
//
// It does not guarantee that a write answered with unavailable, timeout or
// internal, or a request of a batch answered with canceled, is absent: the outcome
// is then unknown. It repeats what a server gave up before the commit, but never
// after an uncertain one, and it gives no order between two databases. On PostgreSQL a transaction that does nothing
// for half a second, or takes longer than 0.8 s, is given up; and what was
// committed may be lost with a primary whose standby is not synchronous.
package sqldb
