package sqldb

import (
	"net"
	"syscall"
)

// alive says whether a connection that waits for nothing was left alone by the
// other side: an end, or words that nobody asked for, say that it was given up.
func alive(c net.Conn) bool {
	if under, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = under.NetConn()
	}
	raw, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	sys, err := raw.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = sys.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR
	})
	return err == nil && quiet
}
