// Package mutant names the defects that Nova can be built with on purpose, to
// prove that the checker of histories finds them (test/mutants).
//
// A mutant is chosen by build tags, one at a time:
//
//	go build -tags mutant,ack_before_commit ./cmd/nova
//
// Without the tag "mutant" [Name] is empty, every constant of this package is
// false, and the compiler leaves out what they guard. With it exactly one other
// file must say which mutant this is, or the package does not compile. A mutant
// says so in its version and in its first log line.
package mutant
