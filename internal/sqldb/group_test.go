package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
	"github.com/nova-chat/nova/internal/sqldb/sqltest"
)

// notes is a table that is easy to fill.
var notes = fstest.MapFS{"0001_notes.sql": {Data: []byte(`CREATE TABLE notes (id TEXT PRIMARY KEY)`)}}

func withNotes(t *testing.T, fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	sqltest.Each(t, func(t *testing.T, db *sqldb.DB) {
		if err := db.Migrate(t.Context(), "notes", notes); err != nil {
			t.Fatal(err)
		}
		fn(t, db)
	})
}

func note(id string) func(context.Context, *sqldb.Tx) error {
	return func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO notes (id) VALUES ($1)`, id)
		return err
	}
}

func all(t *testing.T, db *sqldb.DB) (ids []string) {
	t.Helper()
	err := db.Read(context.Background(), "test.all", func(ctx context.Context, tx *sqldb.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id FROM notes ORDER BY id`)
		if err != nil {
			return err
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// hold keeps the writer busy until release, so that what is handed in
// meanwhile is one group.
func hold(t *testing.T, db *sqldb.DB) (release func()) {
	t.Helper()
	held, let, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- db.Write(context.Background(), "test.hold", func(_ context.Context, tx *sqldb.Tx) error {
			tx.AfterCommit(func() { close(held); <-let })
			return nil
		})
	}()
	<-held
	return func() {
		close(let)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// noter is a batch that stores notes; "no" is refused, "bad" fails the
// handler, "panic" panics. It records the sizes of the groups it saw.
func noter(db *sqldb.DB, sizes *[]int) *sqldb.Batch[string, string] {
	return sqldb.NewBatch(db, "test.note", func(ctx context.Context, tx *sqldb.Tx, reqs []string) ([]sqldb.Result[string], error) {
		*sizes = append(*sizes, len(reqs))
		results := make([]sqldb.Result[string], len(reqs))
		var args []any
		for i, r := range reqs {
			switch r {
			case "no":
				results[i].Err = fault.New(fault.CodeForbidden, "")
				continue
			case "bad":
				return nil, errors.New("the handler fails")
			case "panic":
				panic("the handler panics")
			}
			results[i].Value = "stored " + r
			args = append(args, r)
		}
		return results, tx.Insert(ctx, "notes", []string{"id"}, args)
	})
}

// submit hands in all requests at once and gives the answers in the order in
// which they came.
func submit(t *testing.T, db *sqldb.DB, b *sqldb.Batch[string, string], reqs ...string) (answers []string) {
	t.Helper()
	release := hold(t, db)
	var wg sync.WaitGroup
	wg.Add(len(reqs))
	for _, r := range reqs {
		b.Submit(t.Context(), r, func(v string, err error) {
			defer wg.Done()
			if err != nil {
				v = r + " " + fault.CodeOf(err).String()
			}
			answers = append(answers, v)
		})
	}
	release()
	wg.Wait()
	return answers
}

func TestBatchAnswersInOrder(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		var sizes []int
		var reqs, want []string
		for i := range 700 { // more than one group
			reqs = append(reqs, fmt.Sprintf("%03d", i))
			want = append(want, fmt.Sprintf("stored %03d", i))
		}
		got := submit(t, db, noter(db, &sizes), reqs...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int{512, 188}, sizes); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(reqs, all(t, db)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBatchRefusalsHarmNobody(t *testing.T) {
	for name, c := range map[string]struct {
		reqs, want, stored []string
		sizes              []int
	}{
		"refused":     {[]string{"a", "no", "b"}, []string{"stored a", "no forbidden", "stored b"}, []string{"a", "b"}, []int{3}},
		"failed":      {[]string{"a", "bad", "b"}, []string{"stored a", "bad internal", "stored b"}, []string{"a", "b"}, []int{3, 1, 1, 1}},
		"panicked":    {[]string{"a", "panic", "b"}, []string{"stored a", "panic internal", "stored b"}, []string{"a", "b"}, []int{3, 1, 1, 1}},
		"not unique":  {[]string{"a", "a", "b"}, []string{"stored a", "a conflict", "stored b"}, []string{"a", "b"}, []int{3, 1, 1, 1}},
		"failed lone": {[]string{"bad"}, []string{"bad internal"}, nil, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			withNotes(t, func(t *testing.T, db *sqldb.DB) {
				var sizes []int
				got := submit(t, db, noter(db, &sizes), c.reqs...)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(c.sizes, sizes); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(c.stored, all(t, db)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// together runs writes so that they share a transaction.
func together(t *testing.T, db *sqldb.DB, fns ...func(context.Context, *sqldb.Tx) error) []error {
	t.Helper()
	release := hold(t, db)
	var answers []<-chan error
	for _, fn := range fns {
		answers = append(answers, queued(context.Background(), db, fn))
	}
	release()
	errs := make([]error, len(fns))
	for i, answer := range answers {
		errs[i] = <-answer
	}
	return errs
}

// queued starts a write and returns when it waits for the writer, which is held.
func queued(ctx context.Context, db *sqldb.DB, fn func(context.Context, *sqldb.Tx) error) <-chan error {
	before := sqldb.Waiting(db)
	answer := make(chan error, 1)
	go func() { answer <- db.Write(ctx, "test.queued", fn) }()
	for sqldb.Waiting(db) == before {
		time.Sleep(time.Millisecond)
	}
	return answer
}

func TestARefusedWriteLeavesNothing(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		var hooks []string
		hook := func(id string, then error) func(context.Context, *sqldb.Tx) error {
			return func(ctx context.Context, tx *sqldb.Tx) error {
				tx.AfterCommit(func() { hooks = append(hooks, id) })
				if err := note(id)(ctx, tx); err != nil {
					return err
				}
				return then
			}
		}
		hidden := func(ctx context.Context, tx *sqldb.Tx) error {
			_ = note("hidden")(ctx, tx)
			_ = note("a")(ctx, tx) // exists: spoils the write, whatever it returns
			return nil
		}
		panics := func(ctx context.Context, tx *sqldb.Tx) error {
			_ = note("panic")(ctx, tx)
			panic("a closure panics")
		}
		errs := together(t, db, hook("a", nil), hook("b", fault.New(fault.CodeForbidden, "")), hidden, panics, hook("c", nil))
		want := []fault.Code{0, fault.CodeForbidden, fault.CodeConflict, fault.CodeInternal, 0}
		for i, err := range errs {
			if (err == nil) != (i == 0 || i == 4) || err != nil && fault.CodeOf(err) != want[i] {
				t.Errorf("write %d: %v", i, err)
			}
		}
		if diff := cmp.Diff([]string{"a", "c"}, all(t, db)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"a", "c"}, hooks); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAbandonedWritesDoNotRun(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		var sizes []int
		b := noter(db, &sizes)
		release := hold(t, db)
		gone, cancel := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		b.Submit(gone, "batch", func(_ string, err error) { answer <- err })
		cancel()
		if err := db.Write(gone, "test", note("write")); !fault.Is(err, fault.CodeCanceled) {
			t.Errorf("write: %v", err)
		}
		if _, err := b.Do(gone, "do"); !fault.Is(err, fault.CodeCanceled) {
			t.Errorf("do: %v", err)
		}
		release()
		if err := <-answer; !fault.Is(err, fault.CodeCanceled) {
			t.Errorf("batch: %v", err)
		}
		if got := all(t, db); got != nil {
			t.Errorf("stored %v", got)
		}
	})
}

// With others in the group there is a transaction in which it could run.
func TestAnAbandonedWriteHarmsNobodyElse(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		var sizes []int
		b := noter(db, &sizes)
		abandon := func() {
			t.Helper()
			gone, cancel := context.WithCancel(t.Context())
			done := queued(gone, db, func(ctx context.Context, tx *sqldb.Tx) error {
				_ = note("abandoned")(ctx, tx)
				return fault.New(fault.CodeForbidden, "")
			})
			cancel()
			if err := <-done; !fault.Is(err, fault.CodeCanceled) {
				t.Errorf("the abandoned write: %v", err)
			}
		}
		release := hold(t, db)
		abandon()
		answer := make(chan error, 1)
		b.Submit(t.Context(), "send", func(_ string, err error) { answer <- err })
		release()
		if err := <-answer; err != nil {
			t.Errorf("a send beside it: %v", err)
		}
		release = hold(t, db)
		abandon()
		beside := queued(context.Background(), db, note("write"))
		abandon()
		release()
		if err := <-beside; err != nil {
			t.Errorf("a write beside two: %v", err)
		}
		if diff := cmp.Diff([]string{"send", "write"}, all(t, db)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestARunningWriteOutlivesItsCaller(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Write(ctx, "test", func(ctx context.Context, tx *sqldb.Tx) error {
			cancel()
			return note("a")(ctx, tx)
		})
		if err != nil {
			t.Error(err)
		}
		if got := all(t, db); len(got) != 1 {
			t.Errorf("stored %v", got)
		}
	})
}

func TestTooManyWaiting(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		var sizes []int
		b := noter(db, &sizes)
		release := hold(t, db)
		var wg sync.WaitGroup
		codes := map[fault.Code]int{}
		for range sqldb.MaxWaiting {
			wg.Add(1)
			b.Submit(t.Context(), "no", func(_ string, err error) { codes[fault.CodeOf(err)]++; wg.Done() })
		}
		b.Submit(t.Context(), "no", func(_ string, err error) {
			if !fault.Is(err, fault.CodeOverloaded) {
				t.Errorf("got %v", err)
			}
		})
		release()
		wg.Wait()
		if codes[fault.CodeForbidden] != sqldb.MaxWaiting {
			t.Errorf("answers: %v", codes)
		}
	})
}

func TestRidersRideAlong(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		rides := 0
		db.Ride(time.Hour, func(ctx context.Context, tx *sqldb.Tx) error {
			rides++
			return note(fmt.Sprintf("ride%d", rides))(ctx, tx)
		})
		db.Ride(0, func(ctx context.Context, tx *sqldb.Tx) error {
			_ = note("refused")(ctx, tx)
			return errors.New("a rider fails")
		})
		for _, id := range []string{"a", "b"} {
			if err := db.Write(t.Context(), "test", note(id)); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"a", "b", "ride1"}, all(t, db)); diff != "" {
			t.Error(diff)
		}
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a", "b", "ride1", "ride2"}, all(t, db)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestHooksComeBeforeAnswers(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		var order []string
		b := sqldb.NewBatch(db, "test", func(ctx context.Context, tx *sqldb.Tx, reqs []int) ([]sqldb.Result[int], error) {
			if c := obs.CorrelationFrom(ctx); c != "" {
				t.Errorf("the handler has a correlation that is nobody's: %s", c)
			}
			tx.AfterCommit(func() { order = append(order, "hook") })
			tx.AfterCommit(func() { panic("a hook panics") })
			return make([]sqldb.Result[int], len(reqs)), nil
		})
		done := make(chan struct{})
		b.Submit(obs.WithCorrelation(t.Context(), "one"), 1, func(int, error) { order = append(order, "answer"); close(done) })
		<-done
		if diff := cmp.Diff([]string{"hook", "answer"}, order); diff != "" {
			t.Error(diff)
		}
		if err := db.Write(t.Context(), "test", note("alive")); err != nil {
			t.Error(err)
		}
	})
}

func TestReadsWaitForASlot(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		let := make(chan struct{})
		var in, out sync.WaitGroup
		for range 4 {
			in.Add(1)
			out.Go(func() {
				_ = db.Read(context.Background(), "test", func(context.Context, *sqldb.Tx) error {
					in.Done()
					<-let
					return nil
				})
			})
		}
		in.Wait()
		never := func(context.Context, *sqldb.Tx) error { t.Error("ran"); return nil }
		late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := db.Read(late, "test", never); !fault.Is(err, fault.CodeOverloaded) {
			t.Errorf("late: %v", err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := db.Read(gone, "test", never); !fault.Is(err, fault.CodeCanceled) {
			t.Errorf("gone: %v", err)
		}
		close(let)
		out.Wait()
	})
}

// endless is a statement that only an interrupt ends.
const endless = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n`

func TestAnEndlessReadIsBrokenOff(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		for range 5 { // more than there are connections: each must be fit again
			err := db.Read(ctx, "test", func(ctx context.Context, tx *sqldb.Tx) error {
				var n int
				return tx.QueryRow(ctx, endless).Scan(&n)
			})
			if !fault.Is(err, fault.CodeTimeout) && !fault.Is(err, fault.CodeOverloaded) {
				t.Errorf("got %v", err)
			}
		}
		if got := all(t, db); got != nil {
			t.Errorf("got %v", got)
		}
	})
}

func TestAnInterruptedWriteHarmsNobody(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		stuck := func(ctx context.Context, tx *sqldb.Tx) error {
			if err := note("stuck")(ctx, tx); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, err := tx.Exec(ctx, strings.Replace(endless, "SELECT COUNT(*)", "SELECT COUNT(*) AS id", 1))
			return err
		}
		errs := together(t, db, note("a"), stuck, note("b"))
		if errs[0] != nil || !fault.Is(errs[1], fault.CodeTimeout) || errs[2] != nil {
			t.Errorf("got %v", errs)
		}
		if got := all(t, db); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestInsertLaterBesideOthers(t *testing.T) {
	refused := errors.New("refused")
	columns := []string{"id"}
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		runs, look := 0, false
		counted := func(id string) func(context.Context, *sqldb.Tx) error {
			return func(ctx context.Context, tx *sqldb.Tx) error {
				runs++
				return note(id)(ctx, tx)
			}
		}
		errs := together(t, db, note("known"), note("b"), func(_ context.Context, tx *sqldb.Tx) error {
			if look {
				return nil
			}
			return tx.InsertLater("notes", columns, []any{"known"}, func() { look = true })
		}, note("c"))
		if err := errors.Join(errs...); err != nil || !look {
			t.Errorf("%v, told: %v", err, look)
		}
		errs = together(t, db, note("d"), func(_ context.Context, tx *sqldb.Tx) error {
			return tx.InsertLater("notes", columns, []any{"known"}, func() {})
		}, note("e"))
		if errs[0] != nil || !sqldb.IsUnique(errs[1]) || errs[2] != nil {
			t.Errorf("beside one that nobody looks for: %v", errs)
		}
		errs = together(t, db, counted("f"), func(_ context.Context, tx *sqldb.Tx) error {
			return errors.Join(tx.ExecLater(`INSERT INTO notes (id) VALUES ($1)`, "no"), refused)
		})
		if errs[0] != nil || !errors.Is(errs[1], refused) || runs != 1 {
			t.Errorf("beside one that is refused: %v after %d runs", errs, runs)
		}
		if got := all(t, db); !slices.Equal(got, []string{"b", "c", "d", "e", "f", "known"}) {
			t.Errorf("stored %v", got)
		}
	})
}

// What it put off fails with it, not with the commit.
func TestARiderWhosePutOffStatementFails(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		if err := db.Write(t.Context(), "test", note("there")); err != nil {
			t.Fatal(err)
		}
		db.Ride(0, func(_ context.Context, tx *sqldb.Tx) error {
			return tx.ExecLater(`INSERT INTO notes (id) VALUES ($1)`, "there")
		})
		runs := 0
		err := db.Write(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
			runs++
			return note("a")(ctx, tx)
		})
		if err != nil || runs != 1 {
			t.Errorf("%v after %d runs", err, runs)
		}
	})
}

func TestARiderThatPutsOff(t *testing.T) {
	withNotes(t, func(t *testing.T, db *sqldb.DB) {
		rides, runs := 0, 0
		db.Ride(0, func(_ context.Context, tx *sqldb.Tx) error {
			rides++
			return tx.ExecLater(`INSERT INTO notes (id) VALUES ($1) ON CONFLICT DO NOTHING`, "ride")
		})
		errs := together(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			runs++
			return note("a")(ctx, tx)
		}, note("b"))
		if err := errors.Join(errs...); err != nil || runs != 1 || rides == 0 {
			t.Errorf("%v after %d runs, %d rides", err, runs, rides)
		}
		if got := all(t, db); !slices.Equal(got, []string{"a", "b", "ride"}) {
			t.Errorf("stored %v", got)
		}
	})
}
