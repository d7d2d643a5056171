// Package history reads what clients of Nova wrote down while they talked to
// it, and judges whether the promises held.
//
// A history is a file of JSON lines (docs/history.md): what was sent and
// answered, what each socket received, what each node's log, the event topics
// and the counters said at the end. [Read] makes an index of it in one pass,
// [History.Check] judges the invariants I1 to I13 and I15 to I17 on the index.
//
// A verdict comes with the number of instances that it stands on: an invariant
// of which the history has no instance is not judged, and never counts as
// holding. A violation comes with the lines that show it. What a history cannot
// tell (a send without an answer, a device that was watched too short) breaks
// nothing.
//
// The package believes the history. It does not know whether the clients wrote
// down everything that they saw, and it judges by their one clock: histories of
// several machines need one each.
package history
