//go:build mutant && no_dedupe_index

package mutant

// Name: the table of messages has no unique index for repeats.
const Name = "no_dedupe_index"
