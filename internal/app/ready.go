package app

import (
	"errors"
	"sync/atomic"
)

// readiness is why the process may not receive traffic; "" = it may.
type readiness struct {
	reason atomic.Pointer[string] // how far the process is in its life
	stores atomic.Pointer[string] // what keeps it from its work for now
}

func (r *readiness) set(reason string) { r.reason.Store(&reason) }

func (r *readiness) setStores(reason string) { r.stores.Store(&reason) }

func (r *readiness) get() string {
	if reason := *r.reason.Load(); reason != "" {
		return reason
	}
	if p := r.stores.Load(); p != nil {
		return *p
	}
	return ""
}

func (r *readiness) value() float64 {
	if r.get() == "" {
		return 1
	}
	return 0
}

var errNothing = errors.New("none")

func errOr(err error) error {
	if err == nil {
		return errNothing
	}
	return err
}

func joinErr(errs ...error) error { return errors.Join(errs...) }
