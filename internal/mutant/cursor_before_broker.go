//go:build mutant && cursor_before_broker

package mutant

// Name: the relay's cursor moves on whether the broker has accepted the events or not.
const Name = "cursor_before_broker"
