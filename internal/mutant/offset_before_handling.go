//go:build mutant && offset_before_handling

package mutant

// Name: an event's offset counts as handled before the handler has run.
const Name = "offset_before_handling"
