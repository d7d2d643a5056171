//go:build unix

package main

import "syscall"

// raiseFileLimit takes all the file descriptors that the system grants: each
// socket is one. Where that fails, the limit stays as it was.
func raiseFileLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}
