package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"

	"github.com/jackc/pgx/v5/pgproto3"
)

// pgRows are the rows of a statement. They are read from the connection when
// they are wanted, or kept when another statement needs it first.
type pgRows struct {
	session  *pgSession
	stmt     *pgStmt
	before   int      // how many statements' answers come first
	current  [][]byte // the row that was read last, in the connection's memory
	ready    bool     // nobody has had it yet
	kept     [][]driver.Value
	tag      string
	affected int64
	err      error // io.EOF after the last row
	ctx      context.Context
	release  func()
}

// advance reads the next row, or why there is none.
func (r *pgRows) advance() {
	l := r.session.link
	for r.err == nil {
		m, err := l.receive()
		if err != nil {
			r.end(err)
			return
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			if r.before == 0 {
				r.current, r.ready = m.Values, true
				return
			}
		case *pgproto3.CommandComplete:
			r.completed(m.CommandTag)
		case *pgproto3.EmptyQueryResponse:
			r.completed(nil)
		case *pgproto3.ErrorResponse:
			r.end(l.settle(l.refusal(m)))
		case *pgproto3.ReadyForQuery:
			r.end(io.EOF)
		case *pgproto3.CopyInResponse, *pgproto3.CopyOutResponse, *pgproto3.CopyBothResponse:
			r.end(l.broke(errProtocol))
		}
	}
}

func (r *pgRows) completed(tag []byte) {
	if r.before > 0 {
		r.before--
		return
	}
	r.tag, r.affected = commandOf(tag)
}

// end notes that nothing more comes.
func (r *pgRows) end(err error) {
	r.err = err
	if r.session.open == r {
		r.session.open = nil
	}
	r.free()
}

func (r *pgRows) free() {
	if r.release == nil {
		return
	}
	r.release()
	r.release = nil
	if !errors.Is(r.err, io.EOF) {
		r.err = because(r.ctx, r.err)
	}
}

// failed is why the statement failed, or nil.
func (r *pgRows) failed() error {
	if r.err == nil || errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

func (r *pgRows) next(row []driver.Value) error {
	if len(r.kept) > 0 {
		copy(row, r.kept[0])
		r.kept = r.kept[1:]
		return nil
	}
	if !r.ready {
		r.advance()
	}
	if !r.ready {
		return r.err
	}
	r.ready = false
	return r.decode(row)
}

func (r *pgRows) decode(row []driver.Value) (err error) {
	if len(r.current) != len(row) {
		return errProtocol
	}
	for i, b := range r.current {
		if row[i], err = decode(r.stmt.columns[i], b); err != nil {
			return err
		}
	}
	return nil
}

// stash reads all rows.
func (r *pgRows) stash(keep bool) {
	for r.err == nil {
		if r.ready && keep {
			row := make([]driver.Value, len(r.current))
			if err := r.decode(row); err != nil {
				keep = false
				r.kept = nil
			} else {
				r.kept = append(r.kept, row)
			}
		}
		r.ready = false
		r.advance()
	}
}

// close reads to the end, but looks at nothing.
func (r *pgRows) close() error {
	r.stash(false)
	r.kept = nil
	return r.failed()
}
