//go:build mutant && ack_before_commit

package mutant

// Name: a send is answered when its statements have run, before the commit.
const Name = "ack_before_commit"
