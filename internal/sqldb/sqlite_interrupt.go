package sqldb

import (
	"context"
	"errors"
	"reflect"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// errHandle: the driver has changed; the fix belongs in handleOf.
var errHandle = errors.New("the driver does not show the handle by which its statements are interrupted")

// handleOf finds the engine's handle of a connection. The driver can break off
// a statement itself, but starts a goroutine for each to do so, which made
// writes dearer by a third; with the handle, one watch does for a transaction.
// What is read here is private to the driver, so Open refuses a driver that has
// it no more.
func handleOf(raw driverConn) (uintptr, error) {
	v := reflect.Indirect(reflect.ValueOf(raw))
	if v.Kind() != reflect.Struct {
		return 0, errHandle
	}
	if v = v.FieldByName("db"); v.Kind() != reflect.Uintptr || v.Uint() == 0 {
		return 0, errHandle
	}
	return uintptr(v.Uint()), nil
}

// interruptEvery is how soon an interrupt is repeated: one that comes just before a
// statement begins is lost.
const interruptEvery = 10 * time.Millisecond

// watch breaks off whatever runs on the connection once ctx has ended, until
// it is released. The connection must stay open until then.
func (c *conn) watch(ctx context.Context) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		c.interrupt(quit)
	})
	return func() {
		close(quit)
		if !stop() {
			<-ended
		}
	}
}

func (c *conn) interrupt(quit <-chan struct{}) {
	tls := libc.NewTLS() // the connection's own is in use
	defer tls.Close()
	tick := time.NewTicker(interruptEvery)
	defer tick.Stop()
	for {
		lib.Xsqlite3_interrupt(tls, c.handle)
		select {
		case <-quit:
			return
		case <-tick.C:
		}
	}
}
