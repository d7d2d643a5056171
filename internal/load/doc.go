// Package load puts a load on a Nova deployment and judges what came of it.
//
// It drives devices, one socket each, as clients do: they send with fresh
// UUIDv7 identifiers, acknowledge what they received at most every 200 ms, send
// again what was refused for the moment, and, with Options.Reconnect, come back
// with a backoff, resume, and send first what had no answer.
//
// Figures are honest in three ways. In the open loop a latency counts from the
// moment the message was due, so that a stalled server cannot hide behind a
// generator that waits for it. Every message is accounted for, by conversation
// and sequence at each receiving device, with the identifier that the sender
// chose. And what could not be told apart (a send without an answer) is counted
// as indeterminate, neither as lost nor as fine.
//
// The package does not judge what other clients do in the same conversations:
// their messages count as unexpected.
package load
