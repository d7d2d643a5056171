package limit

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/nova-chat/nova/internal/obs"
)

func newObs(t testing.TB) *obs.Obs {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestBurstThenRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(newObs(t), obs.LimitRequestsPerUser, Rate{PerSecond: 10, Burst: 3})
		for i := range 3 {
			if ok, _ := l.Allow("a"); !ok {
				t.Fatalf("request %d of the burst was refused", i+1)
			}
		}
		ok, wait := l.Allow("a")
		if ok || wait != 100*time.Millisecond {
			t.Fatalf("after the burst: ok=%v, wait=%v; want a refusal for 100ms", ok, wait)
		}
		if ok, _ := l.Allow("b"); !ok {
			t.Error("one key's use refused another's")
		}
		time.Sleep(wait - 1)
		if ok, wait := l.Allow("a"); ok || wait != 1 {
			t.Errorf("1 ns early: ok=%v, wait=%v", ok, wait)
		}
		time.Sleep(time.Nanosecond)
		if ok, _ := l.Allow("a"); !ok {
			t.Error("refused although the wait was over")
		}
		time.Sleep(time.Hour)
		if ok, _ := l.AllowN("a", 3); !ok {
			t.Error("an idle bucket was not full again")
		}
		if ok, _ := l.Allow("a"); ok {
			t.Error("an idle bucket held more than the burst")
		}
	})
}

func TestAllowNTakesAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(newObs(t), obs.LimitRequestsPerUser, Rate{PerSecond: 1, Burst: 5})
		if ok, wait := l.AllowN("a", 6); ok || wait != time.Second {
			t.Errorf("more than the burst: ok=%v, wait=%v", ok, wait)
		}
		if ok, _ := l.AllowN("a", 5); !ok {
			t.Error("a refusal took something")
		}
		if ok, wait := l.AllowN("a", 2); ok || wait != 2*time.Second {
			t.Errorf("from an empty bucket: ok=%v, wait=%v", ok, wait)
		}
	})
}

// Over any stretch, no key gets more than the burst and the rate give it.
func TestNeverMoreThanTheRate(t *testing.T) {
	o := newObs(t)
	rapid.Check(t, func(rt *rapid.T) {
		rate := Rate{PerSecond: float64(rapid.IntRange(1, 1000).Draw(rt, "rate")), Burst: rapid.IntRange(1, 50).Draw(rt, "burst")}
		gaps := rapid.SliceOfN(rapid.IntRange(0, 200_000_000), 1, 100).Draw(rt, "gaps")
		synctest.Test(t, func(*testing.T) {
			l, begin, got := New(o, obs.LimitRequestsPerUser, rate), time.Now(), 0
			for _, gap := range gaps {
				time.Sleep(time.Duration(gap))
				if ok, _ := l.Allow("a"); ok {
					got++
				}
			}
			if most := float64(rate.Burst) + rate.PerSecond*time.Since(begin).Seconds() + 1e-6; float64(got) > most {
				rt.Fatalf("%d allowed, at most %.2f should be", got, most)
			}
		})
	})
}

func TestKeysAreBoundedAndTheBusyStay(t *testing.T) {
	l := newSized(newObs(t), obs.LimitLoginsPerAddress, Rate{PerSecond: 0.001, Burst: 50}, 640)
	for range 50 {
		l.Allow("attacker")
	}
	for i := range 50_000 {
		l.Allow("made-up-" + strconv.Itoa(i))
	}
	if n := l.Len(); n > 640 {
		t.Errorf("%d keys are held, at most 640 may be", n)
	}
	if ok, _ := l.Allow("attacker"); ok {
		t.Error("made-up keys pushed out a bucket that was empty")
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	o := newObs(t)
	l := New(o, obs.LimitLoginsPerAddress, Rate{PerSecond: 0.001, Burst: 1})
	l.Allow("a")
	if ok, wait := l.Allow("a"); ok || l.Exceeded(wait).Limit != obs.LimitLoginsPerAddress {
		t.Error("the second was not refused under the limit's name")
	}
	if free := New(o, obs.LimitLoginsPerAddress, Rate{}); true {
		for range 100 {
			if ok, _ := free.Allow("a"); !ok {
				t.Fatal("the zero Rate refused")
			}
		}
	}
}

func TestConcurrentUseGivesExactlyTheBurst(t *testing.T) {
	l := New(newObs(t), obs.LimitRequestsPerUser, Rate{PerSecond: 1e-6, Burst: 100})
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if ok, _ := l.Allow("a"); ok {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got.Load() != 100 {
		t.Errorf("%d allowed, want 100", got.Load())
	}
}

func TestKnownKeysAllocateNothing(t *testing.T) {
	l := New(newObs(t), obs.LimitRequestsPerUser, Rate{PerSecond: 1e9, Burst: 1e6})
	l.Allow("a")
	if n := testing.AllocsPerRun(1000, func() { l.Allow("a") }); n != 0 {
		t.Errorf("%v allocations for a known key", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	l := New(newObs(b), obs.LimitRequestsPerUser, Rate{PerSecond: 1e9, Burst: 1e6})
	b.ReportAllocs()
	for b.Loop() {
		l.Allow("a")
	}
}
