package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/test/servers"
)

// One request that fails its whole batch costs the others nothing but time: they
// are done one by one, which takes longer than a group may.
func TestOneBadRequestOfHundreds(t *testing.T) {
	address := servers.Postgres(t)
	db, _, _ := start(t, farAway(t, address), nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	const n, bad = 400, 100
	b := NewBatch(db, "test", func(ctx context.Context, tx *Tx, reqs []int) ([]Result[int], error) {
		if slices.Contains(reqs, bad) {
			return nil, errors.New("the handler fails")
		}
		args := make([]any, len(reqs))
		for i, r := range reqs {
			args[i] = r
		}
		return make([]Result[int], len(reqs)), tx.Insert(ctx, "t", []string{"n"}, args)
	})
	answers := make(chan error, n)
	hold := func(_ context.Context, tx *Tx) error {
		tx.AfterCommit(func() { // so that they are one group
			for i := range n {
				b.Submit(context.Background(), i, func(_ int, err error) { answers <- err })
			}
		})
		return nil
	}
	if err := db.Write(t.Context(), "test", hold); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for range n {
		if err := <-answers; err != nil {
			failed++
		}
	}
	if got := admin(t, address, `SELECT count(*) FROM messaging.t`); failed != 1 || got != fmt.Sprint(n-1) {
		t.Errorf("%d failed, %s stored", failed, got)
	}
}

// Each of many closures waits for the server several times. That takes longer than
// a group may, and is no reason to refuse anybody.
func TestManyWritesAndALongWay(t *testing.T) {
	address := servers.Postgres(t)
	db, o, _ := start(t, farAway(t, address), nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	sends := NewBatch(db, "send", func(ctx context.Context, tx *Tx, reqs []int) ([]Result[int], error) {
		args := make([]any, len(reqs))
		for i, n := range reqs {
			args[i] = n
		}
		return make([]Result[int], len(reqs)), tx.Insert(ctx, "t", []string{"n"}, args)
	})
	const writers, each = 200, 3
	type answer struct {
		err  error
		send bool
	}
	answers := make(chan answer, 2*writers)
	hold := func(_ context.Context, tx *Tx) error {
		tx.AfterCommit(func() { // so that all the others are one group
			for i := range writers {
				go func() {
					err := db.Write(context.Background(), "test", func(ctx context.Context, tx *Tx) error {
						for k := range each {
							if err := put(i*each+k)(ctx, tx); err != nil {
								return err
							}
						}
						return nil
					})
					answers <- answer{err, false}
				}()
			}
			for Waiting(db) < writers {
				time.Sleep(time.Millisecond)
			}
			for i := range writers {
				sends.Submit(context.Background(), -1-i, func(_ int, err error) { answers <- answer{err, true} })
			}
		})
		return nil
	}
	if err := db.Write(t.Context(), "test", hold); err != nil {
		t.Fatal(err)
	}
	var last answer
	for range 2 * writers {
		if last = <-answers; last.err != nil {
			t.Fatal(last.err)
		}
	}
	if last.send {
		t.Error("a send waited for all closures")
	}
	if got := admin(t, address, `SELECT count(*) FROM messaging.t`); got != fmt.Sprint(writers*(each+1)) {
		t.Errorf("%s rows", got)
	}
	if got := gauge(t, o, `db_failures_total{reason="unreachable",service="messaging"}`); got != "0" {
		t.Errorf("the server was counted as away %s times", got)
	}
}

// While batches alone take up the time of each group, closures have their turn one by
// one, and none waits for it longer than it may.
func TestClosuresHaveTheirTurn(t *testing.T) {
	address := servers.Postgres(t)
	db, _, _ := start(t, address, nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	const closures, most = 20, 40
	groups, all := 0, make(chan struct{}) // closed when all are answered
	var sends sync.WaitGroup
	var send func()
	slow := NewBatch(db, "slow", func(ctx context.Context, tx *Tx, reqs []int) ([]Result[int], error) {
		select {
		case <-all:
		default:
			if groups++; groups < most {
				send() // so that the next group has one
			}
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`SELECT pg_sleep(%f)`, groupTime.Seconds()*5/8))
		return make([]Result[int], len(reqs)), err
	})
	send = func() {
		sends.Add(1)
		slow.Submit(context.Background(), 0, func(_ int, err error) {
			defer sends.Done()
			if err != nil {
				t.Error(err)
			}
		})
	}
	send()
	answers := make(chan error, closures)
	for i := range closures {
		go func() { answers <- db.Write(context.Background(), "test", put(i)) }()
	}
	done, late := 0, 0
	for range closures {
		switch err := <-answers; {
		case err == nil:
			done++
		case fault.Is(err, fault.CodeTimeout):
			late++
		default:
			t.Error(err)
		}
	}
	close(all)
	sends.Wait()
	if done == 0 || late == 0 || groups >= most {
		t.Errorf("%d done, %d given up, in %d groups", done, late, groups)
	}
	if got := admin(t, address, `SELECT count(*) FROM messaging.t`); got != fmt.Sprint(done) {
		t.Errorf("%s rows, and %d were answered as done", got, done)
	}
}
