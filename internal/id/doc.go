// Package id makes the opaque identifiers of Nova.
//
// An identifier is 26 characters of upper-case Crockford base 32: 48 bits of
// Unix milliseconds and 80 random bits (the layout of ULID), so identifiers
// sort by the time at which they were made, to the millisecond, and cannot be
// guessed. Upper case keeps them from spelling a word in a log search.
// The package guarantees no order between identifiers of one millisecond.
package id
