//go:build mutant && read_before_join

package mutant

// Name: a device that resumes is sent the log as it was before its socket joined the hub.
const Name = "read_before_join"
