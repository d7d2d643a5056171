//go:build mutant && outage_is_dead_letter

package mutant

// Name: an event whose handler meets an outage becomes a dead letter at once.
const Name = "outage_is_dead_letter"
