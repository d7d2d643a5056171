package sqltest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/sqldb"
)

func TestMain(m *testing.M) { Main(m) }

// tables is a migration with all kinds of columns.
var tables = fstest.MapFS{
	"0001_things.sql": {Data: []byte(`CREATE TABLE things (
		id TEXT PRIMARY KEY, n BIGINT NOT NULL, flag BOOLEAN NOT NULL, data BYTEA, note TEXT);
		CREATE UNIQUE INDEX things_n ON things (n);`)},
	"0002_parts.sql": {Data: []byte(`CREATE TABLE parts (
		thing TEXT NOT NULL REFERENCES things (id), place BIGINT NOT NULL, PRIMARY KEY (thing, place));`)},
}

const addThing = `INSERT INTO things (id, n, flag, data, note) VALUES ($1, $2, $3, $4, $5)`

// each is Each with the tables.
func each(t *testing.T, fn func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	Each(t, func(t *testing.T, db *sqldb.DB) {
		if err := db.Migrate(t.Context(), "things", tables); err != nil {
			t.Fatal(err)
		}
		fn(t, db)
	})
}

// write and read fail the test if the operation fails.
func write(t *testing.T, db *sqldb.DB, fn func(context.Context, *sqldb.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), "test.write", fn); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, db *sqldb.DB, fn func(context.Context, *sqldb.Tx) error) {
	t.Helper()
	if err := db.Read(t.Context(), "test.read", fn); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, db *sqldb.DB, n ...int) {
	t.Helper()
	write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		var args []any
		for _, n := range n {
			args = append(args, fmt.Sprintf("id%03d", n), n, n%2 == 0, nil, nil)
		}
		return tx.Insert(ctx, "things", []string{"id", "n", "flag", "data", "note"}, args)
	})
}

// ids gives the first column of a query.
func ids(t *testing.T, db *sqldb.DB, query string, args ...any) (all []string) {
	t.Helper()
	read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return err
			}
			all = append(all, s)
		}
		return rows.Err()
	})
	return all
}

func TestValues(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		type role string
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, addThing, role("a"), uint32(7), true, []byte{0, 1, 255}, "Ünï ' \" $1")
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, addThing, "b", int64(1)<<62, false, nil, nil)
			return err
		})
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			var (
				id   role
				n    int64
				flag bool
				data []byte
				note sql.Null[string]
			)
			row := tx.QueryRow(ctx, `SELECT id, n, flag, data, note FROM things WHERE id = $1`, "a")
			if err := row.Scan(&id, &n, &flag, &data, &note); err != nil {
				return err
			}
			if id != "a" || n != 7 || !flag || !bytes.Equal(data, []byte{0, 1, 255}) || note.V != "Ünï ' \" $1" {
				t.Errorf("got %v %v %v %v %v", id, n, flag, data, note)
			}
			row = tx.QueryRow(ctx, `SELECT id, n, flag, data, note FROM things WHERE NOT flag AND note IS NULL`)
			if err := row.Scan(&id, &n, &flag, &data, &note); err != nil {
				return err
			}
			if id != "b" || n != 1<<62 || flag || data != nil || note.Valid {
				t.Errorf("got %v %v %v %v %v", id, n, flag, data, note)
			}
			return nil
		})
	})
}

func TestEmptyTextIsNotNull(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO things (id, n, flag) VALUES ($1, 1, TRUE)`, "")
			return err
		})
		for range 5 { // the first statement of each connection, too
			if got := ids(t, db, `SELECT id FROM things WHERE id >= $1`, ""); len(got) != 1 || got[0] != "" {
				t.Errorf("found %q", got)
			}
		}
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "things", []string{"id", "n", "flag", "note"}, []any{"a", 2, true, "", "b", 3, true, nil})
		})
		if got := ids(t, db, `SELECT id FROM things WHERE note = $1`, ""); len(got) != 1 || got[0] != "a" {
			t.Errorf("found %q", got)
		}
	})
}

func TestNullIntoStringIsRefused(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1)
		err := db.Read(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
			var s string
			return tx.QueryRow(ctx, `SELECT note FROM things`).Scan(&s)
		})
		if !fault.Is(err, fault.CodeInternal) {
			t.Errorf("got %v", err)
		}
	})
}

func TestNoRows(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		err := db.Read(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
			var s string
			return tx.QueryRow(ctx, `SELECT id FROM things`).Scan(&s)
		})
		if !errors.Is(err, sqldb.ErrNoRows) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUpsertAndReturning(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		const up = `INSERT INTO things (id, n, flag) VALUES ($1, $2, $3)
			ON CONFLICT (id) DO UPDATE SET n = things.n + excluded.n RETURNING n`
		for _, want := range []int64{5, 10, 15} {
			var got int64
			write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.QueryRow(ctx, up, "a", 5, false).Scan(&got)
			})
			if got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		}
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			n, err := tx.Exec(ctx, `INSERT INTO things (id, n, flag) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, "a", 1, true)
			if n != 0 {
				t.Errorf("%d rows changed, want 0", n)
			}
			return err
		})
	})
}

func TestRowValuesAndIn(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1, 2, 3, 4, 5, 6)
		got := ids(t, db, `SELECT id FROM things WHERE (n, id) > ($1, $2) ORDER BY n, id LIMIT 2`, 2, "id002")
		if diff := cmp.Diff([]string{"id003", "id004"}, got); diff != "" {
			t.Error(diff)
		}
		got = ids(t, db, `SELECT id FROM things WHERE flag = $1 AND n IN `+sqldb.In(3, 2)+` ORDER BY n`, true, 2, 3, 6)
		if diff := cmp.Diff([]string{"id002", "id006"}, got); diff != "" {
			t.Error(diff)
		}
		if got := ids(t, db, `SELECT id FROM things WHERE n IN `+sqldb.In(0, 1)); got != nil {
			t.Errorf("In(0) found %v", got)
		}
	})
}

func TestParametersAreNumbered(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1, 2)
		got := ids(t, db, `SELECT id FROM things WHERE (n = $1 OR n = $1 + 1) AND id <> $2 AND n >= $1`, 1, "id001")
		if diff := cmp.Diff([]string{"id002"}, got); diff != "" {
			t.Error(diff)
		}
		err := db.Read(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Query(ctx, `SELECT id FROM things WHERE n = $2 AND id = $1`, "id001", 1)
			return err
		})
		if !fault.Is(err, fault.CodeInternal) {
			t.Errorf("parameters out of order: %v", err)
		}
	})
}

func TestInsertOfManyRows(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		for _, n := range []int{0, 1, 7, 8, 9, 100} {
			write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, `DELETE FROM things`)
				return err
			})
			var numbers []int
			var want []string
			for i := range n {
				numbers = append(numbers, i)
				want = append(want, fmt.Sprintf("id%03d", i))
			}
			add(t, db, numbers...)
			if diff := cmp.Diff(want, ids(t, db, `SELECT id FROM things ORDER BY n`)); diff != "" {
				t.Errorf("%d rows: %s", n, diff)
			}
		}
	})
}

func TestUniqueAndForeignKeys(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1)
		for query, unique := range map[string]bool{
			`INSERT INTO things (id, n, flag) VALUES ('id001', 9, FALSE)`: true,
			`INSERT INTO things (id, n, flag) VALUES ('other', 1, FALSE)`: true,
			`INSERT INTO parts (thing, place) VALUES ('nobody', 1)`:       false,
		} {
			err := db.Write(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.Exec(ctx, query)
				return err
			})
			if sqldb.IsUnique(err) != unique || !fault.Is(err, fault.CodeConflict) {
				t.Errorf("%s: %v", query, err)
			}
		}
	})
}

func TestReadIsASnapshotThatCannotWrite(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1)
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			var before, after int
			if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM things`).Scan(&before); err != nil {
				return err
			}
			add(t, db, 2)
			if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM things`).Scan(&after); err != nil {
				return err
			}
			if before != 1 || after != 1 {
				t.Errorf("saw %d, then %d", before, after)
			}
			return nil
		})
		err := db.Read(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, `DELETE FROM things`)
			return err
		})
		if err == nil {
			t.Error("a read could write")
		}
		if got := ids(t, db, `SELECT id FROM things ORDER BY n`); len(got) != 2 {
			t.Errorf("left: %v", got)
		}
	})
}

func TestNestedRowsOfOneText(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1, 2, 3)
		const query = `SELECT n FROM things WHERE n >= $1 ORDER BY n`
		var got []int
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			outer, err := tx.Query(ctx, query, 1)
			if err != nil {
				return err
			}
			for outer.Next() {
				var o, i int
				if err := outer.Scan(&o); err != nil {
					return err
				}
				if err := tx.QueryRow(ctx, query, o).Scan(&i); err != nil {
					return err
				}
				got = append(got, o, i)
			}
			return outer.Err()
		})
		if !slices.Equal(got, []int{1, 1, 2, 2, 3, 3}) {
			t.Errorf("got %v", got)
		}
	})
}

func TestTimesAreRefused(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		err := db.Write(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, addThing, "a", time.Now(), true, nil, nil)
			return err
		})
		if !fault.Is(err, fault.CodeInternal) {
			t.Errorf("got %v", err)
		}
	})
}

func TestMigrateTwice(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1)
		if err := db.Migrate(t.Context(), "things", tables); err != nil {
			t.Fatal(err)
		}
		if got := ids(t, db, `SELECT id FROM things`); len(got) != 1 {
			t.Errorf("left: %v", got)
		}
	})
}

func TestInsertOfNewRowsAlone(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1, 2)
		columns := []string{"id", "n", "flag", "data", "note"}
		for _, c := range []struct {
			args []any
			want int
		}{
			{nil, 0},
			{[]any{"id001", 1, true, nil, nil}, 0},
			{[]any{"new", 9, false, []byte{1}, "x"}, 1},
			{[]any{"id002", 2, true, nil, nil, "a", 10, true, nil, "", "a", 11, true, nil, nil, "b", 12, false, []byte{}, nil}, 2},
		} {
			write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
				n, err := tx.InsertNew(ctx, "things", columns, c.args)
				if n != c.want {
					t.Errorf("%d rows were new, want %d", n, c.want)
				}
				return err
			})
		}
		if diff := cmp.Diff([]string{"id001", "id002", "new", "a", "b"}, ids(t, db, `SELECT id FROM things ORDER BY n`)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"a", "new"}, ids(t, db, `SELECT id FROM things WHERE note IS NOT NULL ORDER BY id`)); diff != "" {
			t.Error(diff)
		}
	})
}

// Rows that are hardly ever there: if one is, everything of the commit is done
// again, once somebody was told to look.
func TestInsertLater(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1)
		type thing struct {
			id string
			n  int
		}
		look, runs := false, 0
		batch := sqldb.NewBatch(db, "test.later", func(ctx context.Context, tx *sqldb.Tx, things []thing) ([]sqldb.Result[bool], error) {
			runs++
			last := tx.QueryRowLater(`UPDATE things SET n = n + 100 WHERE id = 'id001' RETURNING n`)
			results := make([]sqldb.Result[bool], len(things))
			var args []any
			for i, one := range things {
				known := 0
				if look {
					if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM things WHERE id = $1`, one.id).Scan(&known); err != nil {
						return nil, err
					}
				}
				if results[i].Value = known == 0; known == 0 {
					args = append(args, one.id, one.n, true)
				}
			}
			var n int
			if err := last.Scan(&n); err != nil || n%100 != 1 {
				t.Errorf("n is %d, %v", n, err)
			}
			return results, tx.InsertLater("things", []string{"id", "n", "flag"}, args, func() { look = true })
		})
		for _, c := range []struct {
			add  thing
			want bool
			runs int
		}{{thing{"a", 10}, true, 1}, {thing{"a", 11}, false, 2}, {thing{"b", 12}, true, 1}} {
			runs = 0
			if got, err := batch.Do(t.Context(), c.add); got != c.want || err != nil || runs != c.runs {
				t.Errorf("%v: %v after %d tries, %v", c.add, got, runs, err)
			}
		}
		if got := ids(t, db, `SELECT id || ' ' || n FROM things ORDER BY id`); !slices.Equal(got, []string{"a 10", "b 12", "id001 301"}) {
			t.Errorf("stored %v", got)
		}
		if _, err := batch.Do(t.Context(), thing{"c", 12}); !sqldb.IsUnique(err) { // nobody can find that by looking
			t.Errorf("of a number that is taken: %v", err)
		}
	})
}

func TestInsertOfWrongArguments(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		for name, args := range map[string][]any{
			"half a row": {"a", 1, true, nil, nil, "b"}, "a time": {"a", time.Now(), true, nil, nil}, "a time in many": {"a", 1, true, nil, nil, "b", time.Now(), true, nil, nil},
		} {
			err := db.Write(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
				return tx.Insert(ctx, "things", []string{"id", "n", "flag", "data", "note"}, args)
			})
			if !fault.Is(err, fault.CodeInternal) {
				t.Errorf("%s: %v", name, err)
			}
		}
		err := db.Write(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Insert(ctx, "things; DROP TABLE things", []string{"id"}, []any{"a"})
		})
		if !fault.Is(err, fault.CodeInternal) {
			t.Errorf("a table of another kind: %v", err)
		}
		if got := ids(t, db, `SELECT id FROM things`); got != nil {
			t.Errorf("stored %v", got)
		}
	})
}

func TestSumsAndCounts(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1, 2, 3, 4)
		read(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			var sum, count, even, most int64
			var there bool
			err := tx.QueryRow(ctx, `SELECT SUM(n), COUNT(*), COUNT(*) FILTER (WHERE flag), COALESCE(MAX(n), 0), EXISTS (SELECT 1 FROM things WHERE n = $1) FROM things`, 3).
				Scan(&sum, &count, &even, &most, &there)
			if sum != 10 || count != 4 || even != 2 || most != 4 || !there {
				t.Errorf("got %d %d %d %d %v", sum, count, even, most, there)
			}
			return err
		})
	})
}

func TestChangesWhileRowsAreOpen(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1, 2)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			rows, err := tx.Query(ctx, `SELECT n FROM things WHERE n >= $1 ORDER BY n`, 1)
			if err != nil {
				return err
			}
			for rows.Next() {
				var n int
				if err := rows.Scan(&n); err != nil {
					return err
				}
				if _, err := tx.Exec(ctx, `UPDATE things SET note = 'seen' WHERE n = $1`, n); err != nil { // while rows are open
					return err
				}
			}
			return rows.Err()
		})
		if got := ids(t, db, `SELECT id FROM things WHERE note = 'seen'`); len(got) != 2 {
			t.Errorf("changed %v", got)
		}
	})
}

func TestAFailedStatementSpoilsTheTransaction(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1)
		err := db.Write(t.Context(), "test", func(ctx context.Context, tx *sqldb.Tx) error {
			if _, err := tx.Exec(ctx, addThing, "before", 8, true, nil, nil); err != nil {
				return err
			}
			_, first := tx.Exec(ctx, addThing, "id001", 9, true, nil, nil)
			_, second := tx.Exec(ctx, addThing, "after", 10, true, nil, nil)
			if !sqldb.IsUnique(first) || !sqldb.IsUnique(second) {
				t.Errorf("%v, then %v", first, second)
			}
			return nil
		})
		if !sqldb.IsUnique(err) {
			t.Errorf("got %v", err)
		}
		if got := ids(t, db, `SELECT id FROM things`); len(got) != 1 {
			t.Errorf("stored %v", got)
		}
	})
}

func TestLaterIsBeforeWhatFollowsAndTheCommit(t *testing.T) {
	const number = `UPDATE things SET n = $1 WHERE id = $2`
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1, 2, 3)
		refused := errors.New("refused")
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			if err := errors.Join(tx.ExecLater(number, 11, "id001"), tx.ExecLater(number, 12, "id002")); err != nil {
				return err
			}
			var sum int
			if err := tx.QueryRow(ctx, `SELECT CAST(SUM(n) AS BIGINT) FROM things`).Scan(&sum); err != nil || sum != 26 {
				t.Errorf("the sum is %d, %v", sum, err)
			}
			return tx.ExecLater(number, 13, "id003")
		})
		write(t, db, func(_ context.Context, tx *sqldb.Tx) error { return tx.ExecLater(number, 21, "id001") }) // nothing else
		err := db.Write(t.Context(), "test", func(_ context.Context, tx *sqldb.Tx) error {
			return errors.Join(tx.ExecLater(number, 99, "id002"), refused)
		})
		if !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
		err = db.Write(t.Context(), "test", func(_ context.Context, tx *sqldb.Tx) error {
			return errors.Join(tx.ExecLater(number, 31, "id003"), tx.ExecLater(number, 21, "id002")) // which is taken
		})
		if !sqldb.IsUnique(err) {
			t.Errorf("of a number that is taken: %v", err)
		}
		if got := ids(t, db, `SELECT id || ' ' || n FROM things ORDER BY id`); !slices.Equal(got, []string{"id001 21", "id002 12", "id003 13"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestStatementsMakeRoom(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			for i := range 600 {
				var n int
				if err := tx.QueryRow(ctx, fmt.Sprintf(`SELECT n + %d FROM things`, i)).Scan(&n); err != nil || n != i+1 {
					return fmt.Errorf("%d: %w", n, err)
				}
			}
			return nil
		})
	})
}
