package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/nova-chat/nova/internal/obs"
)

// pgSession is a connection to PostgreSQL as transactions use it. What begins a
// transaction or a part of it waits for the next statement and travels with it,
// so that it costs no way of its own.
type pgSession struct {
	engine  *postgres
	kind    pgKind
	link    *link
	until   time.Time // when the transaction must have ended
	sent    bool      // the server knows of the transaction
	pending bool      // what is ahead has to be committed
	owed    bool      // the answer to a rollback was not waited for
	ahead   []pgCall  // put, to be sent with the next statement
	before  []pgCall  // were sent before the last one
	open    *pgRows   // whose rows are still on the way
	values  [][]byte  // reused, as are those below, for the arguments of each call
	buffer  []byte
	arrays  []array
}

// pgCall is a statement on its way.
type pgCall struct {
	stmt *pgStmt
	rows *pgRows // who wants its rows
	redo redo    // what an error of it may ask for
}

// begin replaces a connection that died while nobody used it, or on which somebody
// else's statement might be broken off.
func (s *pgSession) begin(until time.Time) error {
	if s.owed {
		s.owed = false
		_ = s.link.net.SetDeadline(until)
		_ = s.link.settle(nil) // if that fails the connection is dead
	}
	if s.link.dead != nil || s.link.spent || !alive(s.link.net) {
		_ = s.link.close()
		l, err := s.engine.dial(until, s.kind)
		if err != nil {
			return err
		}
		s.link = l
	}
	s.until, s.sent, s.pending, s.open = until, false, false, nil
	if err := s.link.net.SetDeadline(until); err != nil {
		return s.link.broke(err)
	}
	s.drop()
	for _, text := range s.kind.begin {
		s.put(pgCall{stmt: s.link.own[text]}, nil)
	}
	return nil
}

// put keeps a call until the next way to the server. Its arguments are not needed
// any more.
func (s *pgSession) put(c pgCall, values [][]byte) {
	s.link.bind(c.stmt, values)
	s.ahead = append(s.ahead, c)
}

// drop forgets what was put.
func (s *pgSession) drop() {
	s.link.forget()
	s.ahead = s.ahead[:0]
}

// commit is certain only of what the server says. A warning at this place says
// that the commit is not where it should be, such as on the standby.
func (s *pgSession) commit() error {
	if !s.sent && !s.pending {
		return nil
	}
	if s.kind.witness != "" {
		s.put(pgCall{stmt: s.link.own[s.kind.witness]}, nil)
	}
	s.link.warned = false
	rows, err := s.execute(s.link.own["COMMIT"], nil)
	if err != nil {
		return err
	}
	if s.link.warned || rows.tag != "COMMIT" {
		return &failure{reason: obs.StoreCommit, engine: true, lost: true, text: "the server did not commit as asked"}
	}
	return nil
}

func (s *pgSession) rollback() error {
	if s.drop(); !s.sent {
		return s.link.dead
	}
	if err := s.stash(false); err != nil {
		return err
	}
	if s.kind.reads { // nobody hangs on it
		s.link.bind(s.link.own["ROLLBACK"], nil)
		s.link.sync()
		s.owed = true
		return s.link.flush()
	}
	_, err := s.execute(s.link.own["ROLLBACK"], nil)
	return err
}

func (s *pgSession) savepoint(step savepoint) error {
	if step == rollbackToSavepoint {
		return s.rollbackTo()
	}
	s.put(pgCall{stmt: s.link.own[savepointTexts[step]]}, nil)
	return nil
}

// rollbackTo goes at once: in a spoilt transaction nothing else can be sent. If
// the savepoint itself was not sent yet there is nothing to take back.
func (s *pgSession) rollbackTo() error {
	if n := len(s.ahead); n > 0 && s.ahead[n-1].stmt == s.link.own[savepointTexts[setSavepoint]] {
		return s.stash(false)
	}
	if err := s.stash(false); err != nil {
		return err
	}
	_, err := s.execute(s.link.own[savepointTexts[rollbackToSavepoint]], nil)
	return err
}

func (s *pgSession) close() error { return s.link.close() }

func (s *pgSession) exec(ctx context.Context, query string, args []any) (int64, error) {
	rows, err := s.run(ctx, query, args)
	if err != nil {
		return 0, err
	}
	err = rows.close()
	return rows.affected, err
}

func (s *pgSession) execLater(query string, args []any) error { return s.later(query, args, noRedo) }

func (s *pgSession) checkLater(query string, args []any) error {
	return s.later(query, args, redoMissed)
}

func (s *pgSession) later(query string, args []any, r redo) error {
	stmt, err := s.prepared(query)
	if err != nil {
		return err
	}
	values, err := s.arguments(stmt, args)
	if err != nil {
		return err
	}
	s.putOff(pgCall{stmt: stmt, redo: r}, values)
	return nil
}

func (s *pgSession) queryLater(query string, args []any) (cursor, int, error) {
	stmt, err := s.prepared(query)
	if err != nil {
		return nil, 0, err
	}
	values, err := s.arguments(stmt, args)
	if err != nil {
		return nil, 0, err
	}
	rows := &pgRows{session: s, stmt: stmt, unsent: true}
	s.putOff(pgCall{stmt: stmt, rows: rows}, values)
	return rows, len(stmt.columns), nil
}

// putOff keeps a statement that has to be committed.
func (s *pgSession) putOff(c pgCall, values [][]byte) {
	s.put(c, values)
	s.pending = true
}

func (s *pgSession) flush() error {
	if !s.pending {
		return nil
	}
	return s.sendAhead()
}

func (s *pgSession) query(ctx context.Context, query string, args []any) (cursor, int, error) {
	rows, err := s.run(ctx, query, args)
	if err != nil {
		return nil, 0, err
	}
	return rows, len(rows.stmt.columns), nil
}

// script runs a text of several statements. Words for types that SQLite and
// PostgreSQL understand differently mean what they mean to SQLite.
func (s *pgSession) script(ctx context.Context, text string) error {
	release := s.watch(ctx)
	defer release()
	err := s.sendAhead()
	if err == nil {
		_, err = s.link.simple(portable(text))
	}
	return because(ctx, err)
}

// run runs a text up to its first row.
func (s *pgSession) run(ctx context.Context, query string, args []any) (*pgRows, error) {
	release := s.watch(ctx)
	rows, err := s.runText(query, args)
	if err != nil {
		release()
		return nil, because(ctx, err)
	}
	if rows.ctx, rows.release = ctx, release; rows.err != nil {
		rows.free()
	}
	return rows, nil
}

func (s *pgSession) runText(query string, args []any) (*pgRows, error) {
	stmt, err := s.prepared(query)
	if err != nil {
		return nil, err
	}
	values, err := s.arguments(stmt, args)
	if err != nil {
		return nil, err
	}
	return s.send(stmt, values)
}

// watch cuts the connection once ctx has ended, and has the server break off
// what it does: it would keep its locks until the statement's time is over.
func (s *pgSession) watch(ctx context.Context) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	l, until, ended := s.link, s.until, make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = l.net.SetDeadline(time.Unix(1, 0))
		l.cancel()
	})
	return func() {
		if stop() {
			return
		}
		<-ended
		l.spent = true
		if l.dead == nil { // nothing was on the way
			_ = l.net.SetDeadline(until)
		}
	}
}

// prepared gives the prepared statement of a text.
func (s *pgSession) prepared(query string) (*pgStmt, error) {
	if stmt := s.link.texts[query]; stmt != nil {
		return stmt, nil
	}
	if err := CheckText(query); err != nil {
		return nil, err
	}
	stmt, err := s.prepare(query, nil)
	if err != nil {
		return nil, err
	}
	s.link.keep(query, stmt)
	return stmt, nil
}

// prepare prepares a text. What is to be sent ahead goes first: if the text is
// wrong, the transaction and its savepoint must be there to be taken back.
func (s *pgSession) prepare(query string, params []uint32) (*pgStmt, error) {
	if err := s.sendAhead(); err != nil {
		return nil, err
	}
	return s.link.prepare(query, params)
}

// arguments gives the arguments the server's form, in memory that the next call
// reuses.
func (s *pgSession) arguments(stmt *pgStmt, args []any) ([][]byte, error) {
	if len(args) != len(stmt.params) {
		return nil, fmt.Errorf("%d arguments for %d parameters", len(args), len(stmt.params))
	}
	if s.buffer == nil {
		s.buffer = make([]byte, 0, 512) // no part of it is nil, which is NULL
	}
	s.values, s.buffer = s.values[:0], s.buffer[:0]
	for i, a := range args {
		if isNull(a) {
			s.values = append(s.values, nil)
			continue
		}
		at := len(s.buffer)
		b, err := appendValue(s.buffer, stmt.params[i], a)
		if err != nil {
			return nil, fmt.Errorf("argument $%d: %w", i+1, err)
		}
		s.buffer = b
		s.values = append(s.values, b[at:len(b):len(b)])
	}
	return s.values, nil
}

// execute runs a statement to its end.
func (s *pgSession) execute(stmt *pgStmt, values [][]byte) (*pgRows, error) {
	rows, err := s.send(stmt, values)
	if err != nil {
		return nil, err
	}
	return rows, rows.close()
}

// sendAhead sends what was put off and reads the answers.
func (s *pgSession) sendAhead() error {
	if err := s.stash(true); err != nil || len(s.ahead) == 0 {
		return err
	}
	wanted := s.ahead[len(s.ahead)-1].rows != nil
	rows, err := s.sendCalls()
	if err != nil {
		return err
	}
	rows.stash(wanted)
	return rows.failed()
}

// send sends a statement after what was put off, and reads up to its first row.
func (s *pgSession) send(stmt *pgStmt, values [][]byte) (*pgRows, error) {
	if err := s.stash(true); err != nil {
		return nil, err
	}
	s.put(pgCall{stmt: stmt, rows: &pgRows{session: s, stmt: stmt}}, values)
	return s.sendCalls()
}

// sendCalls sends what was put off; the rows of the last are given. The first that
// fails has the server pass over the others.
func (s *pgSession) sendCalls() (*pgRows, error) {
	for _, c := range s.ahead {
		if c.rows != nil {
			c.rows.unsent = false
		}
	}
	s.link.sync()
	last := &s.ahead[len(s.ahead)-1]
	if last.rows == nil {
		last.rows = &pgRows{session: s, stmt: last.stmt}
	}
	rows := last.rows
	rows.redo = last.redo
	s.ahead, s.before = s.before[:0], s.ahead
	rows.before = s.before[:len(s.before)-1]
	s.sent, s.pending = true, false
	if err := s.link.flush(); err != nil {
		return nil, err
	}
	s.open = rows
	rows.advance()
	return rows, rows.failed()
}

// stash reads the rows that are still on the way, so that another statement can
// be sent; it keeps them if somebody may want them.
func (s *pgSession) stash(keep bool) error {
	if s.open != nil {
		s.open.stash(keep)
	}
	return s.link.dead
}
