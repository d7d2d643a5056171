package app

import (
	"errors"
	"sync/atomic"
)

// readiness is why the process may not receive traffic; "" = it may.
type readiness struct{ reason atomic.Pointer[string] }

func (r *readiness) set(reason string) { r.reason.Store(&reason) }

func (r *readiness) get() string { return *r.reason.Load() }

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
