//go:build mutant && revoke_one_node

package mutant

// Name: the end of a session is known to the node that ended it, and followed by no other.
const Name = "revoke_one_node"
