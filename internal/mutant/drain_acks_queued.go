//go:build mutant && drain_acks_queued

package mutant

// Name: sends that wait when the process drains are answered and not written.
const Name = "drain_acks_queued"
