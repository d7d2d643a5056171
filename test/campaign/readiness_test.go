package main

import (
	"testing"
	"time"
)

func TestReadinessIsAWord(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, `{"status":"ready"}`, ready},
		{200, `{"status":"ready","degraded":["redis away","kafka away"]}`, "kafka away, redis away"},
		{503, `{"status":"not ready","reasons":["the database of auth does not answer"]}`, database},
		{503, `{"status":"not ready","reasons":["waiting for the database of user"]}`, database},
		{503, `{"status":"not ready","reasons":["draining"]}`, "not ready: draining"},
		{502, `<html>`, "unreadable"},
	} {
		if got := stateOf(c.status, []byte(c.body)); got != c.want {
			t.Errorf("%d %s: %q, want %q", c.status, c.body, got, c.want)
		}
	}
	for _, state := range []string{gone, database, "not ready: draining"} {
		if !fits(state, down) {
			t.Errorf("%q is down", state)
		}
	}
	for _, state := range []string{ready, "redis away", "unreadable"} {
		if fits(state, down) {
			t.Errorf("%q is not down", state)
		}
	}
}

// looks are polls that each took 10 ms, one every 200 ms from 10 s on.
func looks(states ...string) (all []poll) {
	for i, s := range states {
		begin := 10*time.Second + time.Duration(i)*pollEvery
		all = append(all, poll{begin, begin + 10*time.Millisecond, s})
	}
	return all
}

func TestReadinessAgreesOnlyIfItStays(t *testing.T) {
	r, a := ready, "redis away"
	late := looks(r, r, r, r, r, r, r, r, r, r, a, a)
	for name, c := range map[string]struct {
		polls []poll
		after time.Duration
		ok    bool
	}{
		"at once":         {looks(a, a, a), 10 * time.Millisecond, true},
		"soon":            {looks(r, r, a, a), 410 * time.Millisecond, true},
		"too late":        {late, 2010 * time.Millisecond, false},
		"never":           {looks(r, r, r), never, false},
		"not for long":    {looks(a, a, r), never, false},
		"with a slip":     {looks(a, r, a, a), 410 * time.Millisecond, true},
		"nobody looked":   {nil, never, false},
		"before, between": {append([]poll{{9 * time.Second, 11 * time.Second, r}}, looks(a, a)...), 10 * time.Millisecond, true},
		"beyond the end":  {append(looks(a, a), poll{14 * time.Second, 16 * time.Second, r}), 10 * time.Millisecond, true},
	} {
		if after, ok := agreement(c.polls, 10*time.Second, 15*time.Second, a); after != c.after || ok != c.ok {
			t.Errorf("%s: %v %v, want %v %v", name, after, ok, c.after, c.ok)
		}
	}
}
