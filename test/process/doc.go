// Package process runs the binary of Nova as operators do: `nova serve` on ports
// that stay the same, ended and started again, in order and by force.
//
// It guarantees: Start returns when the process says that it is ready; Stop when
// it has ended, with its exit code and the ledger that it logged last; and no
// process outlives the one that started it, not even a paused one.
//
// It does not judge: what an end should look like is the caller's matter.
package process
