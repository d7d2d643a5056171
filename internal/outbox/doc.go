// Package outbox is the way from a transaction to the bus.
//
// [Outbox.Emit] writes an event in the transaction that caused it; a relay per
// sink publishes what was committed. Every event has a position: the positions
// of one database are dense and rise in commit order, because each transaction
// takes its own from one counter row.
//
// It guarantees:
//
//   - An event is published if and only if its transaction was committed.
//   - Every sink gets every committed event of its types at least once, first
//     occurrences in the order of positions, also after a crash. What a sink
//     does not take is tried again until it does; other sinks do not wait.
//   - [Once] tells a repeat from a first occurrence, in the consumer's own
//     transaction, for as long as [Config.OnceFor].
//
// Committed events go to the relays through memory; the database is read only
// for what memory does not hold: after a start, after an overflow, and where a
// position is missing. Cursors are saved by commits that happen anyway, so a
// crash repeats what came after the last save.
//
// Several processes may share a database. One of them, which holds a lease,
// relays to the sinks; the others take over within three seconds when it is
// gone. Besides, each can follow all events in order ([Config.Follow]): its own
// it has in memory, those of others it hears of ([Config.Tell], [Outbox.Hear])
// or, when that fails, reads.
//
// It does not order positions of different databases and does not publish
// exactly once. A sink name that is new to a database begins with the oldest
// event that the database still holds.
package outbox
