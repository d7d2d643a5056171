package auth

import (
	"testing"

	"github.com/nova-chat/nova/internal/obs"
)

// BenchmarkVerify is the cost of one login's proof with the parameters in force.
func BenchmarkVerify(b *testing.B) {
	h := newHasher(Config{}.withDefaults().Hashing)
	verifier, err := h.hash(b.Context(), obs.NewSecret(password), always)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if fits, _, err := h.verify(b.Context(), verifier, obs.NewSecret(password)); err != nil || !fits {
			b.Fatal(fits, err)
		}
	}
}
