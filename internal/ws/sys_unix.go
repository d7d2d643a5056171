//go:build unix

package ws

import (
	"errors"
	"syscall"
)

// sysRead reads once; wait is true when there is nothing to read yet.
func sysRead(fd uintptr, p []byte) (n int, wait bool, err error) {
	for {
		n, err = syscall.Read(int(fd), p)
		switch {
		case err == nil:
			return n, false, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, true, nil
		case !errors.Is(err, syscall.EINTR):
			return 0, false, err
		}
	}
}

// sysWrite writes once what the kernel takes without waiting, maybe nothing.
func sysWrite(fd uintptr, p []byte) (n int, err error) {
	for {
		n, err = syscall.Write(int(fd), p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case !errors.Is(err, syscall.EINTR):
			return 0, err
		}
	}
}

// sysShutdown ends both directions and wakes whoever waits for either.
func sysShutdown(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) }

const rawSockets = true
