// Package limit holds the rate limits: token buckets, one per key.
//
// A [Limiter] lets a burst through at once and then a steady rate. It
// guarantees that it never holds more than a fixed number of keys, whatever is
// asked, and that looking up a known key allocates nothing. When it is full it
// forgets the key that was idle longest among a few, so that somebody who makes
// up keys can at worst give others a fresh burst, never lock them out.
//
// It does not persist anything. Each process counts for itself; with [Peers]
// they tell each other, so that a limit is one for all of them.
package limit
