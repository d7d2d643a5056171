//go:build mutant && sequence_outside

package mutant

// Name: the next sequence stands in memory beside the transaction, and no rollback takes it back.
const Name = "sequence_outside"
