package limit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// network is what processes tell each other by.
type network struct {
	away  atomic.Bool
	words atomic.Int64
	mu    sync.Mutex
	peers []*Peers
}

func (n *network) join(t *testing.T, ctx context.Context, nodes int) *Peers {
	t.Helper()
	p := NewPeers(PeersConfig{Nodes: nodes, Away: n.away.Load, Publish: func(_ context.Context, payload []byte) error {
		n.words.Add(1)
		n.mu.Lock()
		all := slices.Clone(n.peers)
		n.mu.Unlock()
		for _, to := range all {
			if err := to.Hear(payload); err != nil {
				t.Error(err)
			}
		}
		return nil
	}})
	n.mu.Lock()
	n.peers = append(n.peers, p)
	n.mu.Unlock()
	go p.Run(ctx)
	return p
}

// together runs fn beside limiters of that many processes.
func together(t *testing.T, processes, nodes int, r Rate, fn func(n *network, all []*Limiter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		n := &network{}
		var all []*Limiter
		for range processes {
			all = append(all, n.join(t, ctx, nodes).New(newObs(t), obs.LimitLoginsPerAddress, r))
		}
		fn(n, all)
		cancel()
		synctest.Wait()
	})
}

// through is how many of so many attempts get through, one after the other on
// all processes in turn.
func through(all []*Limiter, key string, attempts int, pause time.Duration) (n int) {
	for i := range attempts {
		if ok, _ := all[i%len(all)].Allow(key); ok {
			n++
		}
		time.Sleep(pause)
	}
	return n
}

func TestALimitIsOneForAllProcesses(t *testing.T) {
	r := Rate{PerSecond: 20.0 / 60, Burst: 20}
	for processes := 1; processes <= 4; processes++ {
		together(t, processes, 1, r, func(_ *network, all []*Limiter) {
			const attempts, pause = 100, 60 * time.Millisecond
			refilled := int(r.PerSecond * (attempts * pause).Seconds())
			if got, most := through(all, "a", attempts, pause), r.Burst+refilled+processes; got < r.Burst || got > most {
				t.Errorf("%d processes let %d through, want %d to %d", processes, got, r.Burst, most)
			}
			if got := through(all, "b", r.Burst, pause); got != r.Burst {
				t.Errorf("%d processes: another key had %d of %d", processes, got, r.Burst)
			}
		})
	}
}

// TestABurstOnAllAtOnce is the worst case: nobody has heard of the others yet.
func TestABurstOnAllAtOnce(t *testing.T) {
	together(t, 2, 1, Rate{PerSecond: 1, Burst: 100}, func(_ *network, all []*Limiter) {
		if got := through(all, "a", 400, 0); got != 200 {
			t.Errorf("%d at once", got)
		}
		time.Sleep(tellEvery * 2)
		synctest.Wait()
		if got := through(all, "a", 400, 0); got != 0 {
			t.Errorf("%d after the others were heard of", got)
		}
		time.Sleep(10 * time.Second) // a bucket never owes: it refills from empty
		if got := through(all[:1], "a", 400, 0); got < 9 || got > 10 {
			t.Errorf("%d of 10 that came back", got)
		}
	})
}

func TestEachKeepsToItsPartWhileNobodyCanBeTold(t *testing.T) {
	const burst = 24
	for _, c := range []struct{ processes, nodes, each int }{{1, 1, 24}, {3, 1, 8}, {1, 4, 6}, {3, 2, 8}, {1, 100, 1}} {
		together(t, c.processes, c.nodes, Rate{PerSecond: 1, Burst: burst}, func(n *network, all []*Limiter) {
			time.Sleep(greetEvery + time.Second) // they hear of each other
			n.away.Store(true)
			time.Sleep(2 * forgetAfter) // and do not forget
			synctest.Wait()
			for _, l := range all {
				if got := through([]*Limiter{l}, "a", 2*burst, 0); got != c.each {
					t.Errorf("%+v: %d at once", c, got)
				}
			}
			n.away.Store(false)
			time.Sleep(time.Second)
			synctest.Wait()
			before := through(all[:1], "a", 1, 0)
			time.Sleep(burst * time.Second) // whatever a token has cost, a bucket is full after that
			if got := through(all, "a", burst, tellEvery); got < burst {
				t.Errorf("%+v: %d and %d of %d when all is well again", c, before, got, burst)
			}
		})
	}
}

// TestWhoIsGoneHasNoPart: after a restart a process is another one.
func TestWhoIsGoneHasNoPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		gone, leave := context.WithCancel(ctx)
		n := &network{}
		l := n.join(t, ctx, 1).New(newObs(t), obs.LimitLoginsPerAddress, Rate{PerSecond: 1, Burst: 10})
		n.join(t, gone, 1).New(newObs(t), obs.LimitLoginsPerAddress, Rate{PerSecond: 1, Burst: 10})
		n.join(t, ctx, 1).New(newObs(t), obs.LimitConnectsPerAddress, Rate{PerSecond: 1, Burst: 10}) // which has no such limit
		time.Sleep(greetEvery * 2)
		leave()
		time.Sleep(forgetAfter * 2)
		n.away.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := through([]*Limiter{l}, "a", 20, 0); got != 10 {
			t.Errorf("%d at once, of a process that is alone", got)
		}
		cancel()
		synctest.Wait()
	})
}

// TestLittleIsTold: those who are far from a limit are told nothing of, and a
// word is bounded.
func TestLittleIsTold(t *testing.T) {
	together(t, 2, 1, Rate{PerSecond: 10, Burst: 100}, func(n *network, all []*Limiter) {
		for range 60 { // a minute in which 1,000 users do a little
			for i := range 1000 {
				all[i%2].Allow(fmt.Sprint(i))
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := n.words.Load(); got > 2*13 {
			t.Errorf("%d words in a minute", got)
		}
		var held []int
		for _, l := range all {
			for i := range l.shards {
				held = append(held, len(l.shards[i].spent))
			}
		}
		if most := slices.Max(held); most > 20 {
			t.Errorf("a shard remembers %d keys", most)
		}
		for i := range 10 * tellMost {
			all[0].AllowN(fmt.Sprint("busy", i), 50)
		}
		if got := all[0].spent(tellMost); len(got) != tellMost {
			t.Errorf("a word of %d keys", len(got))
		}
	})
}

func TestWordsThatCannotBeRead(t *testing.T) {
	p := NewPeers(PeersConfig{Nodes: 1, Away: func() bool { return false }})
	l := p.New(newObs(t), obs.LimitLoginsPerAddress, Rate{PerSecond: 0.001, Burst: 10})
	if err := p.Hear([]byte("{")); err == nil {
		t.Error("read")
	}
	for _, s := range []string{`{}`, `{"node":"x","spent":{"nonsense":{"a":5}}}`, `{"node":"x","spent":{"logins_per_address":{"a":-5}}}`} {
		if err := p.Hear([]byte(s)); err != nil {
			t.Error(err)
		}
	}
	if got := through([]*Limiter{l}, "a", 20, 0); got != 10 {
		t.Errorf("%d of 10", got)
	}
	if err := p.Hear([]byte(`{"node":"x","spent":{"logins_per_address":{"b":9000000000000000000}}}`)); err != nil {
		t.Error(err)
	}
	if ok, wait := l.Allow("b"); ok || wait > 1000*time.Second {
		t.Errorf("%v, %v", ok, wait)
	}
}
