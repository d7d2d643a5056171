//go:build !unix

package ws

import "errors"

const rawSockets = false

func sysRead(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }
func sysWrite(uintptr, []byte) (int, error)      { return 0, errors.ErrUnsupported }
func sysShutdown(uintptr)                        {}
