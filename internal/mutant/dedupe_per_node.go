//go:build mutant && dedupe_per_node

package mutant

// Name: what is a repeat is judged among the messages of the same process.
const Name = "dedupe_per_node"
