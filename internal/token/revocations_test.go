package token

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRevocationsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRevocations()
		r.Revoke("S", time.Now().Add(time.Minute))
		r.Revoke("S", time.Now().Add(time.Second)) // never shortens
		time.Sleep(time.Minute - time.Nanosecond)
		if !r.Has("S") {
			t.Error("forgotten too early")
		}
		time.Sleep(time.Nanosecond)
		if r.Has("S") {
			t.Error("not forgotten")
		}
		if r.Has("never") {
			t.Error("has what was never revoked")
		}
		for i := range 100 {
			r.Revoke(fmt.Sprint(i), time.Now().Add(time.Second))
		}
		time.Sleep(2 * sweepEvery)
		r.Revoke("last", time.Now().Add(time.Second))
		if n := len(r.until); n != 1 {
			t.Errorf("%d are kept, want 1", n)
		}
	})
}

func TestRevocationsTellOnce(t *testing.T) {
	r := NewRevocations()
	var told []string
	r.OnRevoke(func(id string) {
		if !r.Has(id) && id != "old" {
			t.Errorf("%s is told before it is known", id)
		}
		told = append(told, "a "+id)
	})
	r.OnRevoke(func(id string) { told = append(told, "b "+id) })
	r.Revoke("S1", time.Now().Add(time.Hour))
	r.Revoke("S1", time.Now().Add(2*time.Hour))
	r.Revoke("old", time.Now().Add(-time.Hour)) // its sockets may still be open
	if diff := cmp.Diff([]string{"a S1", "b S1", "a old", "b old"}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestSilenceOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRevocations()
		r.Heard(time.Now())
		time.Sleep(time.Minute) // a long poll may wait
		if d := r.Silence(); d != 0 {
			t.Errorf("silent for %v while it answers", d)
		}
		r.Heard(time.Now())
		time.Sleep(10 * time.Second)
		r.Unheard()
		time.Sleep(5 * time.Second)
		r.Unheard()
		if d := r.Silence(); d != 15*time.Second {
			t.Errorf("silent for %v, want 15s since the last answer", d)
		}
		if r.Heard(time.Now()); r.Silence() != 0 {
			t.Error("still silent")
		}
	})
}

func TestIdentityInContext(t *testing.T) {
	who := someone(time.Minute)
	ctx := With(context.Background(), who)
	if got, ok := From(ctx); !ok || got != who || MustFrom(ctx) != who {
		t.Errorf("got %+v, %v", got, ok)
	}
	if _, ok := From(context.Background()); ok {
		t.Error("an empty context has an identity")
	}
	defer func() {
		if recover() == nil {
			t.Error("MustFrom did not panic")
		}
	}()
	MustFrom(context.Background())
}
