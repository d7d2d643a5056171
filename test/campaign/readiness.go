package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/web"
)

// What readiness says of a node, in a word. A node that is ready and misses
// something says what, as in "redis away".
const (
	ready    = "ready"
	gone     = "no answer"
	database = "the database is away"
	down     = "not ready, or no answer" // only ever expected
	moving   = "ready, or kafka away"    // likewise: until others lead
)

const (
	pollEvery = 200 * time.Millisecond
	pollTime  = time.Second // for an answer; a node that is stopped gives none
	// agreeWithin is how soon readiness must agree with what is done.
	agreeWithin = 2 * time.Second
)

// poll is one look at a node's readiness.
type poll struct {
	begin, end time.Duration // of the history's clock
	state      string
}

// watch polls the readiness of one node.
type watch struct {
	client *web.Client
	clock  time.Time

	mu    sync.Mutex // guards what follows
	polls []poll
}

func newWatch(n *node, clock time.Time) (*watch, error) {
	client, err := web.NewClient("http://"+n.Admin, web.ClientOptions{Timeout: pollTime})
	return &watch{client: client, clock: clock}, err
}

func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	defer w.client.Close()
	for {
		p := poll{begin: time.Since(w.clock), state: w.look(ctx)}
		p.end = time.Since(w.clock)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		w.polls = append(w.polls, p)
		w.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) look(ctx context.Context) string {
	answer, err := w.client.Raw(ctx, http.MethodGet, "/readyz", nil, nil)
	if err != nil {
		return gone
	}
	return stateOf(answer.Status, answer.Body)
}

// stateOf puts an answer of /readyz into a word.
func stateOf(status int, body []byte) string {
	var said struct {
		Reasons  []string `json:"reasons"`
		Degraded []string `json:"degraded"`
	}
	if json.Unmarshal(body, &said) != nil {
		return "unreadable"
	}
	switch {
	case status == http.StatusOK && len(said.Degraded) == 0:
		return ready
	case status == http.StatusOK:
		slices.Sort(said.Degraded)
		return strings.Join(said.Degraded, ", ")
	case slices.ContainsFunc(said.Reasons, func(r string) bool { return strings.Contains(r, "the database of") }):
		return database
	}
	return "not ready: " + strings.Join(said.Reasons, ", ")
}

// fits says whether a state is what was expected.
func fits(state, want string) bool {
	switch want {
	case down:
		return state == gone || state == database || strings.HasPrefix(state, "not ready")
	case moving:
		return state == ready || state == "kafka away"
	}
	return state == want
}

// all are the polls so far.
func (w *watch) all() []poll {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.polls)
}

// last is what the node said last.
func (w *watch) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.polls) == 0 {
		return ""
	}
	return w.polls[len(w.polls)-1].state
}

// agreement is how long after the begin of a window readiness said what it
// should and went on doing so; ok is false if that was too late, or never.
// Polls that reach beyond the window tell nothing about it.
func agreement(polls []poll, from, to time.Duration, want string) (after time.Duration, ok bool) {
	after = never
	for _, p := range polls {
		switch {
		case p.begin < from || p.end > to:
		case !fits(p.state, want):
			after = never
		case after == never:
			after = p.end - from
		}
	}
	return after, after <= agreeWithin
}

// said is what readiness said in a stretch of time, for people.
func said(polls []poll, from, to time.Duration) string {
	var parts []string
	last := ""
	for _, p := range polls {
		if p.begin >= from && p.end <= to && p.state != last {
			last = p.state
			parts = append(parts, fmt.Sprintf("%q after %d ms", last, (p.end-from).Milliseconds()))
		}
	}
	return strings.Join(parts, ", ")
}
