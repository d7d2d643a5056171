package main

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// enrolment makes accounts while a fault is in force. auth stores them and
// publishes it; user makes a profile of each when it hears of it.
type enrolment struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex // guards what follows
	names []string
}

// enrol makes accounts on one node after the other until it is stopped. One
// whose making was not answered with success is not counted.
func (p *play) enrol(ctx context.Context) *enrolment {
	ctx, cancel := context.WithCancel(ctx)
	e := &enrolment{cancel: cancel, done: make(chan struct{})}
	p.group.Go(ctx, "campaign.enrolment", func(context.Context) {
		defer close(e.done)
		for i := 0; ctx.Err() == nil; i++ {
			f := friend{name: "account-" + strings.ToLower(rand.Text()[:16]), word: rand.Text()}
			if _, err := f.sign(ctx, p.deployment, i%nodeCount, "register", "first"); err == nil {
				e.mu.Lock()
				e.names = append(e.names, f.name)
				e.mu.Unlock()
			}
			pause(ctx, pollEvery)
		}
	})
	return e
}

// stop ends it and gives the names.
func (e *enrolment) stop() []string {
	e.cancel()
	<-e.done
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.names
}

// profiles writes down which accounts user has heard of.
func (p *play) profiles(ctx context.Context, asks friend) error {
	client, err := p.client(0)
	if err != nil {
		return err
	}
	defer client.Close()
	limit := time.Now().Add(drainWithin) // for all of them
	for _, name := range p.enrolled {
		known := func() bool {
			var out struct {
				Items []struct{} `json:"items"`
			}
			_, err := client.As(asks.first.AccessToken).Do(ctx, http.MethodGet, "/api/v1/users?q="+url.QueryEscape(name), nil, &out)
			return err == nil && len(out.Items) == 1 // nobody else's name holds this one
		}
		kind := "done"
		if !await(ctx, time.Until(limit), known) {
			kind = "missing"
		}
		p.journal.row("handled", fields{"service": "user", "id": name, "kind": kind, "t": p.journal.now()})
	}
	return nil
}
