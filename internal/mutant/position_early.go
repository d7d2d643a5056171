//go:build mutant && position_early

package mutant

// Name: positions are taken by an earlier transaction than the one that uses them, so their order is not that of the commits; gaps in them count as usual.
const Name = "position_early"
