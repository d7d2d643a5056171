//go:build mutant && commit_error_is_sent

package mutant

// Name: a commit that failed, with an outcome that nobody knows, is answered as one that succeeded.
const Name = "commit_error_is_sent"
