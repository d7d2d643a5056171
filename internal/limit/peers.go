package limit

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
)

const (
	tellEvery   = 50 * time.Millisecond // what was let through, if it matters
	tellMost    = 64                    // keys at once, of all limiters together
	greetEvery  = 5 * time.Second       // that there is a process, if nothing else was told
	forgetAfter = 3*greetEvery + time.Second
)

// PeersConfig is how a process reaches the others.
type PeersConfig struct {
	Nodes   int                                             // at least so many processes have the same limits
	Publish func(ctx context.Context, payload []byte) error // tells them; they give it to Hear
	Away    func() bool                                     // nobody can be told
}

// Peers makes the limits of several processes one. Each process counts for
// itself, so that nothing waits for another, and tells the others what it let
// through; they take it from their own buckets. Only keys are told of whose
// bucket has lost a quarter, since others hardly come near a limit.
//
// It guarantees that what one key gets on all processes together exceeds the
// limit by no more than a quarter of the burst for each further process and what
// goes through while a word is on its way (some 50 ms). While nobody can be told,
// each process keeps to its part of the limit.
//
// A nil Peers makes limiters of a process that is alone.
type Peers struct {
	cfg  PeersConfig
	self string

	mu       sync.Mutex // guards what follows
	limiters map[obs.Limit]*Limiter
	others   map[obs.Limit]map[string]time.Time // when each was heard of last
	away     bool
	greeted  time.Time
}

// NewPeers makes the limits of this process ready to be shared; call Run.
func NewPeers(cfg PeersConfig) *Peers {
	return &Peers{cfg: cfg, self: id.New(), limiters: map[obs.Limit]*Limiter{}, others: map[obs.Limit]map[string]time.Time{}}
}

// New makes a limiter that counts together with those of its name elsewhere.
func (p *Peers) New(o *obs.Obs, which obs.Limit, r Rate) *Limiter {
	l := New(o, which, r)
	if p == nil {
		return l
	}
	l.tells = true
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limiters[which] = l
	p.others[which] = map[string]time.Time{}
	return l
}

// word is what one process tells the others: how much of which keys it let
// through, by limit. A limit without keys says that the process has it.
type word struct {
	Node  string                    `json:"node"`
	Spent map[string]map[string]int `json:"spent"`
}

// Run tells the others until ctx ends.
func (p *Peers) Run(ctx context.Context) {
	t := time.NewTicker(tellEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			p.share(now)
			p.tell(ctx, now)
		}
	}
}

// share has each limiter keep to its part while nobody can be told. Whoever was
// there when that began is counted as there until it is over.
func (p *Peers) share(now time.Time) {
	away := p.cfg.Away()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	for which, l := range p.limiters {
		if !away {
			for node, heard := range p.others[which] {
				if now.Sub(heard) > forgetAfter {
					delete(p.others[which], node)
				}
			}
			l.parts.Store(1)
			continue
		}
		l.parts.Store(int64(max(p.cfg.Nodes, 1+len(p.others[which]), 1)))
	}
}

// tell publishes what was let through. What could not be told is lost to the
// others: they keep to their parts then.
func (p *Peers) tell(ctx context.Context, now time.Time) {
	p.mu.Lock()
	w, keys := word{Node: p.self, Spent: map[string]map[string]int{}}, 0
	for which, l := range p.limiters {
		spent := l.spent(tellMost - keys)
		keys += len(spent)
		w.Spent[which.String()] = spent
	}
	silent := p.away || keys == 0 && now.Sub(p.greeted) < greetEvery
	if !silent {
		p.greeted = now
	}
	p.mu.Unlock()
	if silent {
		return
	}
	payload, err := json.Marshal(w)
	if err == nil {
		_ = p.cfg.Publish(ctx, payload) // whoever publishes counts what is lost
	}
}

// Hear takes what another process let through.
func (p *Peers) Hear(payload []byte) error {
	var w word
	if err := json.Unmarshal(payload, &w); err != nil {
		return fmt.Errorf("word of what others let through: %w", err)
	}
	if w.Node == p.self {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for which, l := range p.limiters {
		spent, has := w.Spent[which.String()]
		if !has {
			continue
		}
		p.others[which][w.Node] = time.Now()
		for key, n := range spent {
			l.charge(key, n)
		}
	}
	return nil
}
