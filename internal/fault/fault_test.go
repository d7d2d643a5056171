package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestCodesAreClosedAndComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Codes() {
		f := c.facts()
		if f.name == "" || f.title == "" || f.remedy == "" {
			t.Errorf("code %d lacks a name, a title or a remedy: %+v", c, *f)
		}
		if seen[f.name] {
			t.Errorf("code %q stands twice", f.name)
		}
		seen[f.name] = true
		if back, ok := ParseCode(c.String()); !ok || back != c {
			t.Errorf("ParseCode(%q) = %v, %v", c, back, ok)
		}
	}
	if past := Code(len(codes)); past.String() != "" || past.Kind() != Internal {
		t.Errorf("a value outside the set has name %q and kind %v", past, past.Kind())
	}
	if _, ok := ParseCode("oops"); ok {
		t.Error("ParseCode accepted a name outside the set")
	}
}

func TestKindsAreTwelve(t *testing.T) {
	n := 0
	for k := Kind(0); k.String() != ""; k++ {
		n++
	}
	if n != 12 {
		t.Errorf("%d kinds, want 12", n)
	}
}

func TestFrom(t *testing.T) {
	plain := errors.New("disk on fire")
	inner := OnField(CodeTooLong, "body", "at most 16384 bytes")
	for _, c := range []struct {
		name string
		err  error
		want Code
	}{
		{"fault stays", fmt.Errorf("send: %w", inner), CodeTooLong},
		{"deadline", fmt.Errorf("query: %w", context.DeadlineExceeded), CodeTimeout},
		{"canceled", context.Canceled, CodeCanceled},
		{"all else", plain, CodeInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := CodeOf(c.err); got != c.want {
				t.Errorf("CodeOf = %v, want %v", got, c.want)
			}
		})
	}
	if From(nil) != nil {
		t.Error("From(nil) is not nil")
	}
	if f := From(plain); f.Detail != "" || !errors.Is(f, plain) {
		t.Errorf("an internal fault must hide its cause and keep it: %+v", f)
	}
}

func TestIsComparesCodes(t *testing.T) {
	err := fmt.Errorf("x: %w", Wrap(CodeConflict, errors.New("row"), "moved on"))
	if !errors.Is(err, New(CodeConflict, "")) || errors.Is(err, New(CodeNotFound, "")) {
		t.Error("errors.Is does not compare codes")
	}
	if !Is(err, CodeConflict) || Is(nil, CodeInternal) {
		t.Error("Is does not compare codes")
	}
	e := New(CodeRateLimited, "slow down")
	if late := e.After(time.Second); late.RetryAfter != time.Second || e.RetryAfter != 0 {
		t.Error("After must change a copy")
	}
}
