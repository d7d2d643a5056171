// Package bus carries envelopes between services and between nodes.
//
// Two roads lead through it. [Fanout] shows every node what was committed, so
// that it reaches the sockets there; [Events] is the ordered record that each
// service reads in a group of its own. [Memory] is both for a single process;
// between several, [Redis] is the one and [Kafka] the other.
//
// It guarantees:
//
//   - What is published arrives at least once. Repeats are allowed everywhere,
//     so an event handler begins with outbox.Once and a subscriber of the
//     fan-out skips positions that it has applied.
//   - First occurrences keep their order: by Pos in the fan-out, per Key in the
//     events.
//   - A handler's context holds what the envelope carried and nothing else: no
//     value, deadline or cancellation of the publisher's.
//   - One handler's failure or panic takes nothing away from another.
//   - A handler that answers with a retryable fault gets the event again, with a
//     growing wait, until it works; this holds up its queue, with Kafka only the
//     partition. A definite fault is counted, logged with type and identifier,
//     and the event is set aside: Kafka keeps it in a topic of dead letters, with
//     Memory the log line is all that is left of it in its consumer's group.
//
// It does not store anything: durability is the outbox table's. Hints (Pos 0)
// may be lost. Memory knows only the groups that consume already: consumers are
// started before the relays, and stopped after them.
package bus
