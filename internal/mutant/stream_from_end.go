//go:build mutant && stream_from_end

package mutant

// Name: after a reconnect a node reads the stream of the others from its end.
// What it misses is read from the database, so no history shows it.
const Name = "stream_from_end"
