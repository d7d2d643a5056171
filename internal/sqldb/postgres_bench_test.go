package sqldb

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
	"github.com/nova-chat/nova/test/servers"
)

var sent = fstest.MapFS{"0001_sent.sql": {Data: []byte(`CREATE TABLE sent (pos BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL)`)}}

var sentColumns = []string{"pos", "id", "body"}

const (
	senders = 100
	pool    = 16 // connections, for single commits beside each other
)

// pgBench is a database and a way to store messages there.
type pgBench struct {
	db   *DB
	pos  atomic.Int64
	body string
}

func newPgBench(b *testing.B) *pgBench {
	b.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		b.Fatal(err)
	}
	g := run.New(o)
	db, err := Open(b.Context(), o, g, Config{Service: obs.Messaging, URL: servers.Postgres(b)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { g.Stop(context.Background()) })
	if err := db.Migrate(b.Context(), "sent", sent); err != nil {
		b.Fatal(err)
	}
	return &pgBench{db: db, body: fmt.Sprintf("%0200d", 0)}
}

func (p *pgBench) row(args []any) []any { return append(args, p.pos.Add(1), id.New(), p.body) }

// grouped stores with all that wait.
func (p *pgBench) grouped() func(int) error {
	batch := NewBatch(p.db, "bench", func(ctx context.Context, tx *Tx, reqs []int) ([]Result[int], error) {
		var args []any
		for range reqs {
			args = p.row(args)
		}
		return make([]Result[int], len(reqs)), tx.Insert(ctx, "sent", sentColumns, args)
	})
	return func(int) error {
		_, err := batch.Do(context.Background(), 0)
		return err
	}
}

// alone stores each message in a commit of its own, on so many connections, and
// without the lock that makes commits follow each other.
func (p *pgBench) alone(b *testing.B, connections int) func(int) error {
	b.Helper()
	e := p.db.engine.(*postgres)
	kind := e.writing()
	kind.begin = kind.begin[:1]
	free := make(chan *pgSession, connections)
	for range connections {
		l, err := e.dial(time.Now().Add(patience), kind)
		if err != nil {
			b.Fatal(err)
		}
		s := &pgSession{engine: e, kind: kind, link: l}
		b.Cleanup(func() { _ = s.close() })
		free <- s
	}
	return func(int) error {
		s := <-free
		defer func() { free <- s }()
		if err := s.begin(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := s.insert(context.Background(), rowsOf{table: "sent", columns: sentColumns}, p.row(nil)); err != nil {
			return err
		}
		return s.commit()
	}
}

// BenchmarkPostgresSenders compares 100 senders, each of whom waits for its
// answer before it sends again: all in groups, or each in a commit of its own.
func BenchmarkPostgresSenders(b *testing.B) {
	rates := map[string]float64{}
	for _, kind := range []string{"group", "connection", "pool"} {
		b.Run(kind, func(b *testing.B) {
			p := newPgBench(b)
			store := p.grouped()
			switch kind {
			case "connection":
				store = p.alone(b, 1)
			case "pool":
				store = p.alone(b, pool)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range senders {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := store(i); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			rates[kind] = float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rates[kind], "sends/s")
			if kind != "group" {
				b.ReportMetric(rates["group"]/rates[kind], "times-quicker-in-groups")
			}
		})
	}
}

// BenchmarkPostgresRead is one short read.
func BenchmarkPostgresRead(b *testing.B) {
	p := newPgBench(b)
	if err := p.grouped()(0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		err := p.db.Read(b.Context(), "bench", func(ctx context.Context, tx *Tx) error {
			var got string
			return tx.QueryRow(ctx, `SELECT id FROM sent WHERE pos = $1`, 1).Scan(&got)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
