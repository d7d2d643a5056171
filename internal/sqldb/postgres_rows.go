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
	before   []pgCall // whose answers come first
	unsent   bool     // the statement is not sent yet
	redo     redo     // what an error of the statement may ask for
	current  [][]byte // the row that was read last, in the connection's memory
	ready    bool     // nobody has had it yet
	kept     [][]driver.Value
	unread   error // why a row that had to be kept could not be
	tag      string
	affected int64
	err      error // io.EOF after the last row
	ctx      context.Context
	release  func()
}

// advance reads the next row, or why there is none.
func (r *pgRows) advance() {
	if r.unsent {
		r.sendLater()
		return
	}
	l := r.session.link
	for r.err == nil {
		m, err := l.receive()
		if err != nil {
			r.end(err)
			return
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			if len(r.before) == 0 {
				r.current, r.ready = m.Values, true
				return
			}
			if first := r.before[0].rows; first != nil {
				first.current = m.Values
				first.keep()
			}
		case *pgproto3.CommandComplete:
			r.completed(m.CommandTag)
		case *pgproto3.EmptyQueryResponse:
			r.completed(nil)
		case *pgproto3.ErrorResponse:
			r.end(r.refused(l.settle(l.refusal(m))))
		case *pgproto3.ReadyForQuery:
			r.end(io.EOF)
		case *pgproto3.CopyInResponse, *pgproto3.CopyOutResponse, *pgproto3.CopyBothResponse:
			r.end(l.broke(errProtocol))
		}
	}
}

func (r *pgRows) completed(tag []byte) {
	if len(r.before) == 0 {
		r.tag, r.affected = commandOf(tag)
		return
	}
	if first := r.before[0].rows; first != nil && first.err == nil {
		first.err = io.EOF
	}
	r.before = r.before[1:]
}

// refused is the error that a statement met, which may be one of those before. Only
// of an error that the connection survives is it certain that the server passed over
// what came after it, such as a commit: a pooler puts its own last words into the
// stream when it has lost the server, and with it some answers.
func (r *pgRows) refused(err error) error {
	again := r.redo
	if f, ok := errors.AsType[*failure](err); ok && len(r.before) > 0 {
		first := *f
		first.beforeCommit = r.session.link.dead == nil
		again, err = r.before[0].redo, &first
	}
	return again.as(err)
}

// sendLater sends what was put off, and this with it. Answers that did not come
// are those of a transaction that is over.
func (r *pgRows) sendLater() {
	err := r.session.sendAhead()
	if r.err == nil && err == nil {
		err = errProtocol
	}
	if r.err == nil {
		r.err = err
	}
}

// end notes that nothing more comes.
func (r *pgRows) end(err error) {
	r.err = err
	for _, c := range r.before {
		if c.rows != nil {
			c.rows.err = err
		}
	}
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
	if len(r.kept) == 0 && !r.ready {
		r.advance()
	}
	switch {
	case len(r.kept) > 0:
		copy(row, r.kept[0])
		r.kept = r.kept[1:]
		return nil
	case r.unread != nil:
		return r.unread
	case !r.ready:
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
			keep = r.keep()
		}
		r.ready = false
		r.advance()
	}
}

// keep keeps the current row for later; false if it cannot be read.
func (r *pgRows) keep() bool {
	row := make([]driver.Value, len(r.current))
	if err := r.decode(row); err != nil {
		r.kept, r.unread = nil, err
		return false
	}
	r.kept = append(r.kept, row)
	return true
}

// close reads to the end, but looks at nothing.
func (r *pgRows) close() error {
	if r.unsent {
		return nil
	}
	r.stash(false)
	r.kept = nil
	return r.failed()
}
