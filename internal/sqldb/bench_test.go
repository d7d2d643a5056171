package sqldb_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/sqldb/sqltest"
)

// messages is the table that the speed of sends hangs on.
var messages = fstest.MapFS{"0001_messages.sql": {Data: []byte(`CREATE TABLE messages (
	pos INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, seq BIGINT NOT NULL, sender_id TEXT NOT NULL, device_id TEXT NOT NULL,
	client_msg_id TEXT NOT NULL, body_hash BLOB NOT NULL, body TEXT NOT NULL, correlation_id TEXT NOT NULL, created_at BIGINT NOT NULL,
	UNIQUE (conversation_id, seq), UNIQUE (client_msg_id, sender_id, device_id))`)}}

var messageColumns = []string{
	"pos", "conversation_id", "seq", "sender_id", "device_id", "client_msg_id", "body_hash", "body", "correlation_id", "created_at",
}

const conversations = 100

// message is a send; the handler numbers it.
type message struct {
	conversation                int
	sender, client, correlation string
	hash                        []byte
}

// sends is a batch as messaging has it, without its rules.
type sends struct {
	*sqldb.Batch[message, int64]
	names [conversations]string
	seqs  [conversations]int64
	pos   int64
	args  []any
	made  atomic.Uint64
	size  atomic.Int64 // of all groups
	count atomic.Int64 // of groups
}

var body = strings.Repeat("b", 200)

func newSends(b *testing.B) *sends {
	b.Helper()
	db := sqltest.Open(b, filepath.Join(b.TempDir(), "bench.db"))
	if err := db.Migrate(b.Context(), "messages", messages); err != nil {
		b.Fatal(err)
	}
	s := &sends{}
	for i := range s.names {
		s.names[i] = id.New()
	}
	s.Batch = sqldb.NewBatch(db, "bench.send", s.handle)
	return s
}

func (s *sends) handle(ctx context.Context, tx *sqldb.Tx, reqs []message) ([]sqldb.Result[int64], error) {
	now, results := time.Now().UnixMilli(), make([]sqldb.Result[int64], len(reqs))
	s.args = s.args[:0]
	for i := range reqs {
		m := &reqs[i]
		s.pos++
		s.seqs[m.conversation]++
		results[i].Value = s.pos
		s.args = append(s.args, s.pos, s.names[m.conversation], s.seqs[m.conversation], m.sender, m.sender,
			m.client, m.hash, body, m.correlation, now)
	}
	s.size.Add(int64(len(reqs)))
	s.count.Add(1)
	return results, tx.Insert(ctx, "messages", messageColumns, s.args)
}

// next makes a message with an identifier that grows with time, as version 7 of
// the UUIDs does.
func (s *sends) next() message {
	n := s.made.Add(1)
	var tail [10]byte
	binary.BigEndian.PutUint64(tail[:], n*0x9E3779B97F4A7C15)
	client := id.Make(time.Now(), tail)
	return message{conversation: int(n*7) % conversations, sender: s.names[n%conversations], client: client, correlation: client, hash: tail[:]}
}

// BenchmarkMessageRows is how many messages a second are stored when so many
// share a commit.
func BenchmarkMessageRows(b *testing.B) {
	for _, n := range []int{16, 64, 256} {
		b.Run(fmt.Sprintf("%dPerCommit", n), func(b *testing.B) {
			s := newSends(b)
			var wg sync.WaitGroup
			done := func(_ int64, err error) {
				if err != nil {
					b.Error(err)
				}
				wg.Done()
			}
			reqs := make([]message, n)
			b.ReportAllocs()
			for b.Loop() {
				for i := range reqs {
					reqs[i] = s.next()
				}
				wg.Add(n)
				for _, m := range reqs {
					s.Submit(b.Context(), m, done)
				}
				wg.Wait()
			}
			b.ReportMetric(float64(s.size.Load())/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(s.size.Load())/float64(s.count.Load()), "rows/commit")
		})
	}
}

// BenchmarkSenders compares 100 senders, each of whom waits for its answer
// before it sends again, with and without a group commit: alone, each message
// pays for an fsync.
func BenchmarkSenders(b *testing.B) {
	rates := map[string]float64{}
	for _, kind := range []string{"group", "alone"} {
		b.Run(kind, func(b *testing.B) {
			s := newSends(b)
			var alone sync.Mutex
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if kind == "alone" {
							alone.Lock()
						}
						if _, err := s.Do(context.Background(), s.next()); err != nil {
							b.Error(err)
						}
						if kind == "alone" {
							alone.Unlock()
						}
					}
				})
			}
			wg.Wait()
			rates[kind] = float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rates[kind], "sends/s")
			b.ReportMetric(float64(s.size.Load())/float64(s.count.Load()), "sends/commit")
			if kind == "alone" {
				b.ReportMetric(rates["group"]/rates["alone"], "times-quicker-in-groups")
			}
		})
	}
}

// BenchmarkPacedSends shows the delays at a steady thousand sends a second,
// the copying of the log included.
func BenchmarkPacedSends(b *testing.B) {
	s := newSends(b)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var mu sync.Mutex
	var took []time.Duration
	var wg sync.WaitGroup
	for b.Loop() {
		<-tick.C
		wg.Add(1)
		at := time.Now()
		s.Submit(b.Context(), s.next(), func(int64, error) {
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(at))
			wg.Done()
		})
	}
	wg.Wait()
	slices.Sort(took)
	for name, part := range map[string]float64{"p50-us": .5, "p99-us": .99, "max-us": 1} {
		b.ReportMetric(float64(took[min(len(took)-1, int(float64(len(took))*part))].Microseconds()), name)
	}
}

// BenchmarkRead is one short read: a snapshot and one row by its identifier.
func BenchmarkRead(b *testing.B) {
	db := sqltest.Open(b, filepath.Join(b.TempDir(), "bench.db"))
	if err := db.Migrate(b.Context(), "notes", notes); err != nil {
		b.Fatal(err)
	}
	if err := db.Write(b.Context(), "bench", note("a")); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		err := db.Read(b.Context(), "bench", func(ctx context.Context, tx *sqldb.Tx) error {
			var got string
			return tx.QueryRow(ctx, `SELECT id FROM notes WHERE id = $1`, "a").Scan(&got)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
