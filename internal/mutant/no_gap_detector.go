//go:build mutant && no_gap_detector

package mutant

// Name: a node hands out what it hears; a position that does not come is passed over.
const Name = "no_gap_detector"
