package sqldb

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/fault"
)

// forever gives rows without end.
const forever = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n`

func TestRowsWithoutEndAreBrokenOff(t *testing.T) {
	db, _, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	for _, query := range []string{forever, forever + ` WHERE i < 0`} {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(20*time.Millisecond, cancel)
		err := db.Read(ctx, "test", func(ctx context.Context, tx *Tx) error {
			rows, err := tx.Query(ctx, query)
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			return rows.Err()
		})
		timer.Stop()
		if !fault.Is(err, fault.CodeCanceled) {
			t.Errorf("%s: %v", query, err)
		}
	}
	for range db.readers.size() { // each connection is fit again
		if err := db.Read(t.Context(), "test", execute(`SELECT 1`)); err != nil {
			t.Error(err)
		}
	}
}

// A watch that has ended must not break off what comes after it.
func TestAReleasedWatchIsQuiet(t *testing.T) {
	db, _, _ := start(t, filepath.Join(t.TempDir(), "nova.db"), nil)
	s := <-db.readers.slots
	defer func() { db.readers.slots <- s }()
	c := s.(*conn)
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		release := c.watch(ctx)
		go cancel()
		release()
		if err := c.script(t.Context(), `SELECT 1`); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

func TestADriverWithoutAHandleIsRefused(t *testing.T) {
	type other struct{ driverConn }
	if _, err := handleOf(other{}); err == nil {
		t.Error("a driver without a handle was accepted")
	}
	if _, err := handleOf(nil); err == nil {
		t.Error("no driver was accepted")
	}
}
