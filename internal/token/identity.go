package token

import (
	"context"
	"time"
)

// Identity is who a caller has proved to be.
type Identity struct {
	UserID    string
	SessionID string
	DeviceID  string
	ExpiresAt time.Time // end of the proof, not of the session
}

type identityKey struct{}

// With returns a context that carries the caller's identity.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// From gives the context's identity; ok is false if nobody proved one.
func From(ctx context.Context) (id Identity, ok bool) {
	id, ok = ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// MustFrom gives the identity on routes that only signed-in callers reach. It
// panics on any other: the route was registered wrongly.
func MustFrom(ctx context.Context) Identity {
	id, ok := From(ctx)
	if !ok {
		panic("no identity in a context that must have one")
	}
	return id
}
