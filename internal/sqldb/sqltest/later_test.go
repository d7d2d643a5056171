package sqltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/nova-chat/nova/internal/sqldb"
)

var thingColumns = []string{"id", "n", "flag"}

// A row that is there is found where its insert is sent, whatever it is sent
// with, and the one who said InsertLater is told.
func TestInsertLaterIsToldWhateverSendsIt(t *testing.T) {
	insert := func(tx *sqldb.Tx, id string, n int, look *bool) error {
		if *look {
			return nil
		}
		return tx.InsertLater("things", thingColumns, []any{id, n, true}, func() { *look = true })
	}
	for name, follows := range map[string]func(context.Context, *sqldb.Tx) error{
		"nothing": func(context.Context, *sqldb.Tx) error { return nil },
		"a text that is not prepared": func(_ context.Context, tx *sqldb.Tx) error {
			return tx.ExecLater(`UPDATE things SET n = n WHERE id = $1`, "x")
		},
		"a query": func(ctx context.Context, tx *sqldb.Tx) error {
			var n int
			return tx.QueryRow(ctx, `SELECT COUNT(*) FROM things`).Scan(&n)
		},
		"another such insert": func(_ context.Context, tx *sqldb.Tx) error {
			return tx.InsertLater("parts", []string{"thing", "place"}, []any{"id001", 1}, func() {})
		},
		"another such insert of nothing": func(_ context.Context, tx *sqldb.Tx) error {
			return tx.InsertLater("parts", []string{"thing", "place"}, nil, func() {})
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, db *sqldb.DB) {
				add(t, db, 1)
				look := false
				write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
					return errors.Join(insert(tx, "id001", 9, &look), follows(ctx, tx))
				})
				if !look {
					t.Error("nobody was told")
				}
			})
		})
	}
}

// Rows of several lengths, in all orders: what was put off is sent as it was said.
func TestPutOffArgumentsAreKept(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		var want []string
		n := 0
		rows := func(count int) (args []any) {
			for range count {
				n++
				id := fmt.Sprintf("%03d%0*d", n, n%40, 0)
				want = append(want, fmt.Sprintf("%s %d", id, n))
				args = append(args, id, n, true)
			}
			return args
		}
		never := func() { t.Error("none was there") }
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			for round := range 12 {
				if err := tx.InsertLater("things", thingColumns, rows(1+round%3), never); err != nil {
					return err
				}
				switch round % 4 {
				case 0:
					if err := tx.Insert(ctx, "things", thingColumns, rows(3)); err != nil {
						return err
					}
				case 1:
					if err := tx.ExecLater(fmt.Sprintf(`UPDATE things SET note = 'r%d' WHERE id = $1`, round), "none"); err != nil {
						return err
					}
				case 2:
					row := tx.QueryRowLater(`SELECT COUNT(*) + CAST($1 AS BIGINT) FROM things`, 1000)
					if _, err := tx.InsertNew(ctx, "things", thingColumns, rows(2)); err != nil {
						return err
					}
					var got int
					if err := row.Scan(&got); err != nil || got != 1000+n-2 {
						t.Errorf("%d rows, want %d, %v", got, 1000+n-2, err)
					}
				}
			}
			return nil
		})
		if got := ids(t, db, `SELECT id || ' ' || n FROM things ORDER BY n`); !slices.Equal(got, want) {
			t.Errorf("stored %v, want %v", got, want)
		}
	})
}

func TestRowsThatArePutOff(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1, 2, 3)
		write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
			none := tx.QueryRowLater(`SELECT n FROM things WHERE id = $1`, "none")
			one := tx.QueryRowLater(`SELECT n FROM things WHERE id >= $1 ORDER BY id`, "id002")
			_ = tx.QueryRowLater(`UPDATE things SET n = n + 10 WHERE id = $1 RETURNING n`, "id003") // never scanned
			outer, err := tx.Query(ctx, `SELECT n FROM things ORDER BY n`)
			if err != nil {
				return err
			}
			var n int
			if err := none.Scan(&n); !errors.Is(err, sqldb.ErrNoRows) {
				t.Errorf("of no rows: %v", err)
			}
			if err := one.Scan(&n); err != nil || n != 2 {
				t.Errorf("got %d, %v", n, err)
			}
			var got []int
			for outer.Next() {
				if err := outer.Scan(&n); err != nil {
					return err
				}
				got = append(got, n)
				m := 0
				if err := tx.QueryRowLater(`SELECT n FROM things WHERE n = $1`, n).Scan(&m); err != nil || m != n { // nothing follows
					t.Errorf("inside: %d, %v", m, err)
				}
			}
			if !slices.Equal(got, []int{1, 2, 13}) {
				t.Errorf("got %v", got)
			}
			_ = tx.QueryRowLater(`UPDATE things SET n = n + 10 WHERE id = $1 RETURNING n`, "id001") // nor sent with another
			return outer.Err()
		})
		if got := ids(t, db, `SELECT id || ' ' || n FROM things ORDER BY id`); !slices.Equal(got, []string{"id001 11", "id002 2", "id003 13"}) {
			t.Errorf("stored %v", got)
		}
		err := db.Write(t.Context(), "test", func(_ context.Context, tx *sqldb.Tx) error {
			one := tx.QueryRowLater(`UPDATE things SET n = 2 WHERE id = $1 RETURNING n`, "id001")
			two := tx.QueryRowLater(`SELECT n FROM things WHERE id = $1`, "id002")
			var n int
			if err := two.Scan(&n); !sqldb.IsUnique(err) {
				t.Errorf("after one that failed: %v", err)
			}
			if err := one.Scan(&n); !sqldb.IsUnique(err) {
				t.Errorf("of one that failed: %v", err)
			}
			return nil
		})
		if !sqldb.IsUnique(err) {
			t.Errorf("got %v", err)
		}
	})
}

// Rows of several numbers, so that each of the statements for them is used.
func TestUpdateLaterChangesTheRowsOfItsKeys(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		var want []string
		for i := range 200 {
			add(t, db, i)
			want = append(want, fmt.Sprintf("id%03d %d first", i, i))
		}
		change := func(from, to int) error {
			var args []any
			for i := from; i < to; i++ {
				args = append(args, fmt.Sprintf("id%03d", i), i, 1000+i, "changed")
				if i < len(want) { // what has no row changes nothing
					want[i] = fmt.Sprintf("id%03d %d changed", i, 1000+i)
				}
			}
			return db.Write(t.Context(), "test.write", func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := tx.Exec(ctx, `UPDATE things SET note = 'first' WHERE note IS NULL`); err != nil {
					return err
				}
				return tx.UpdateLater("things", "id", []string{"n", "note"}, args, func() { t.Error("it is so") })
			})
		}
		for _, part := range [][2]int{{0, 0}, {3, 4}, {7, 12}, {20, 40}, {50, 199}, {199, 210}} {
			if err := change(part[0], part[1]); err != nil {
				t.Fatal(err)
			}
		}
		if got := ids(t, db, `SELECT id || ' ' || n || ' ' || note FROM things ORDER BY id`); !slices.Equal(got, want) {
			t.Errorf("stored %v, want %v", got, want)
		}
		never := func() { t.Error("it is so") }
		if err := db.Write(t.Context(), "test.write", func(_ context.Context, tx *sqldb.Tx) error {
			return tx.UpdateLater("things", "id", []string{"n"}, []any{"id000", 0, 5000, "id001"}, never)
		}); err == nil {
			t.Error("half a row is taken")
		}
		err := db.Write(t.Context(), "test.write", func(_ context.Context, tx *sqldb.Tx) error {
			return tx.UpdateLater("things", "id", []string{"n"}, []any{"id000", 0, 2, "id001", 1, 5}, never) // n is unique
		})
		if !sqldb.IsUnique(err) {
			t.Errorf("of a number that is taken: %v", err)
		}
	})
}

// One row of one or of many is not as it was believed to be.
func TestUpdateLaterFromSomethingElse(t *testing.T) {
	for _, many := range []int{1, 40} {
		t.Run(strconv.Itoa(many), func(t *testing.T) {
			each(t, func(t *testing.T, db *sqldb.DB) {
				var all []int
				for i := range many {
					all = append(all, i)
				}
				add(t, db, all...)
				believed, tries := 99, 0
				write(t, db, func(_ context.Context, tx *sqldb.Tx) error {
					tries++
					var args []any
					for i := range many {
						had := i
						if i == many/2 {
							had = believed
						}
						args = append(args, fmt.Sprintf("id%03d", i), had, 1000+i)
					}
					return tx.UpdateLater("things", "id", []string{"n"}, args, func() { believed = many / 2 })
				})
				if got := ids(t, db, `SELECT id FROM things WHERE n >= 1000`); len(got) != many || tries != 2 {
					t.Errorf("%d of %d are changed after %d tries", len(got), many, tries)
				}
			})
		})
	}
}

// What a transaction relies on is looked at wherever the statement is sent, and if it
// is not so everything is done again, once.
func TestCheckLaterHasEverythingDoneAgain(t *testing.T) {
	const raise = `UPDATE things SET n = CASE WHEN n = $1 THEN n + $2 ELSE NULL END WHERE id = 'id001'`
	for name, follows := range map[string]func(context.Context, *sqldb.Tx) error{
		"nothing": func(context.Context, *sqldb.Tx) error { return nil },
		"a text that is not prepared": func(_ context.Context, tx *sqldb.Tx) error {
			return tx.ExecLater(`UPDATE things SET flag = flag WHERE id = $1`, "x")
		},
		"a query": func(ctx context.Context, tx *sqldb.Tx) error {
			var n int
			return tx.QueryRow(ctx, `SELECT COUNT(*) FROM things`).Scan(&n)
		},
		"an insert of the kind that is done again": func(_ context.Context, tx *sqldb.Tx) error {
			return tx.InsertLater("things", thingColumns, []any{"new", 77, true}, func() { t.Error("no row was there") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, db *sqldb.DB) {
				add(t, db, 1)
				believed, tries := 5, 0
				write(t, db, func(ctx context.Context, tx *sqldb.Tx) error {
					tries++
					return errors.Join(tx.CheckLater(raise, []any{believed, 10}, func() { believed = 1 }), follows(ctx, tx))
				})
				if got := ids(t, db, `SELECT CAST(n AS TEXT) FROM things WHERE id = 'id001'`); !slices.Equal(got, []string{"11"}) || tries != 2 || believed != 1 {
					t.Errorf("n is %v after %d tries, believed %d", got, tries, believed)
				}
				write(t, db, func(_ context.Context, tx *sqldb.Tx) error {
					return tx.CheckLater(raise, []any{11, 10}, func() { t.Error("it is so") })
				})
			})
		})
	}
}

// A NULL where there may be none is somebody's mistake if nobody said CheckLater.
func TestANullIsNotDoneAgain(t *testing.T) {
	each(t, func(t *testing.T, db *sqldb.DB) {
		add(t, db, 1)
		tries := 0
		err := db.Write(t.Context(), "test.write", func(_ context.Context, tx *sqldb.Tx) error {
			tries++
			return tx.ExecLater(`UPDATE things SET n = $1 WHERE id = 'id001'`, nil)
		})
		if err == nil || tries > 2 {
			t.Errorf("got %v after %d tries", err, tries)
		}
	})
}
