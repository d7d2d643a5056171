package sqldb

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/nova-chat/nova/internal/obs"
)

// link is one connection to a PostgreSQL server and its prepared statements. It
// speaks the extended protocol by itself: so the statements that begin a
// transaction travel with its first one, and no goroutine is started. pgx has
// found the server, encrypted the way and logged in.
type link struct {
	login  *pgconn.PgConn // which logged in; good for cancelling alone
	net    net.Conn
	wire   *pgproto3.Frontend // which reads; what is sent stands in out
	out    []byte
	closes []byte // what goes before its end: statements that are not used any more
	unfit  error  // why something does not stand in out
	pid    uint32
	warned bool // the server warned since this was reset
	dead   error
	spent  bool               // the server was asked to break something off, and may do so late
	made   int                // statements so far, for their names
	own    map[string]*pgStmt // what transactions are made of
	texts  map[string]*pgStmt
	rows   map[string][]*pgRowsStmts
}

// pgStmt is a prepared statement.
type pgStmt struct {
	name    string
	params  []uint32 // types, by their number in the catalogue
	columns []uint32
	formats []int16 // of the parameters
	results []int16 // of the columns
}

func newLink(c *pgconn.PgConn, h *pgconn.HijackedConn) *link {
	return &link{
		login: c, net: h.Conn, wire: h.Frontend, pid: h.PID,
		own: map[string]*pgStmt{}, texts: map[string]*pgStmt{}, rows: map[string][]*pgRowsStmts{},
	}
}

// close says goodbye if the server listens.
func (l *link) close() error {
	if l.dead == nil {
		_ = l.net.SetDeadline(time.Now().Add(rest))
		l.forget()
		l.out, _ = (&pgproto3.Terminate{}).Encode(l.out) // which never fails
		_ = l.flush()
	}
	if err := l.net.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return away(err)
	}
	return nil
}

// cancel asks the server, over another connection, to break off what it does.
func (l *link) cancel() {
	ctx, cancel := context.WithTimeout(context.Background(), cancelTime)
	defer cancel()
	_ = l.login.CancelRequest(ctx) // what it does has a time, too
}

// broke notes that nothing more comes over this connection. What an error of
// the network says may hold addresses, so it goes no further.
func (l *link) broke(err error) error {
	if l.dead == nil {
		l.dead = away(err)
	}
	return l.dead
}

// keepOut is the memory for what is sent that is not given back.
const keepOut = 1 << 20

// put adds what the encoding of a message gave to what is sent.
func (l *link) put(out []byte, err error) {
	if err != nil {
		l.unfit = cmp.Or(l.unfit, err)
		return
	}
	l.out = out
}

// forget drops what is not sent yet.
func (l *link) forget() {
	if l.out, l.unfit = l.out[:0], nil; cap(l.out) > keepOut {
		l.out = nil
	}
}

// sync ends a way. After an error the server passes over the statements that should
// be closed too; their names are not used again.
func (l *link) sync() {
	l.put(append(l.out, l.closes...), nil)
	l.closes = l.closes[:0]
	l.put((&pgproto3.Sync{}).Encode(l.out))
}

// flush sends all that was put, or nothing.
func (l *link) flush() error {
	defer l.forget()
	switch {
	case l.dead != nil:
		return l.dead
	case l.unfit != nil: // nobody knows what was to be answered
		l.dead = &failure{reason: obs.StoreUnknown, engine: true, lost: true, text: l.unfit.Error()}
		return l.dead
	}
	if _, err := l.net.Write(l.out); err != nil {
		return l.broke(err)
	}
	return nil
}

// receive gives the next message that answers something.
func (l *link) receive() (pgproto3.BackendMessage, error) {
	for l.dead == nil {
		m, err := l.wire.Receive()
		if err != nil {
			return nil, l.broke(err)
		}
		switch m := m.(type) {
		case *pgproto3.NoticeResponse:
			l.warned = l.warned || m.SeverityUnlocalized == "WARNING"
		case *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		default:
			return m, nil
		}
	}
	return nil, l.dead
}

// settle reads to the end of the answers and gives the first refusal.
func (l *link) settle(refused error) error {
	for {
		m, err := l.receive()
		if err != nil {
			return cmp.Or(refused, err)
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			refused = cmp.Or(refused, l.refusal(m))
		case *pgproto3.ReadyForQuery:
			return refused
		}
	}
}

// refusal is an error of the server; after some, it hangs up.
func (l *link) refusal(m *pgproto3.ErrorResponse) error {
	f := judgePostgres(pgconn.ErrorResponseToPgError(m))
	if f.lost && l.dead == nil && m.SeverityUnlocalized != "ERROR" {
		l.dead = f
	}
	return f
}

// prepareOwn prepares what transactions are made of, in one go. None of it has
// parameters, or a result that anybody reads.
func (l *link) prepareOwn(texts []string) error {
	for _, text := range texts {
		l.made++
		s := &pgStmt{name: "n" + strconv.Itoa(l.made)}
		l.put((&pgproto3.Parse{Name: s.name, Query: text}).Encode(l.out))
		l.own[text] = s
	}
	l.sync()
	if err := l.flush(); err != nil {
		return err
	}
	return l.settle(nil)
}

// prepare prepares a text.
func (l *link) prepare(query string, params []uint32) (*pgStmt, error) {
	l.made++
	s := &pgStmt{name: "n" + strconv.Itoa(l.made)}
	l.put((&pgproto3.Parse{Name: s.name, Query: query, ParameterOIDs: params}).Encode(l.out))
	l.put((&pgproto3.Describe{ObjectType: 'S', Name: s.name}).Encode(l.out))
	l.sync()
	if err := l.flush(); err != nil {
		return nil, err
	}
	return s, l.parsed(s)
}

// parsed reads what the server says of a statement, to the end of the answers.
func (l *link) parsed(s *pgStmt) error {
	for {
		m, err := l.receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.ParameterDescription:
			s.params = slices.Clone(m.ParameterOIDs)
			s.formats = formats(s.params)
		case *pgproto3.RowDescription:
			s.describe(m)
		case *pgproto3.ErrorResponse:
			return l.settle(l.refusal(m))
		case *pgproto3.ReadyForQuery:
			return nil
		}
	}
}

func (s *pgStmt) describe(m *pgproto3.RowDescription) {
	s.columns = make([]uint32, len(m.Fields))
	for i, f := range m.Fields {
		s.columns[i] = f.DataTypeOID
	}
	s.results = formats(s.columns)
}

// bind puts a statement to be executed.
func (l *link) bind(s *pgStmt, values [][]byte) {
	l.put((&pgproto3.Bind{
		PreparedStatement: s.name, ParameterFormatCodes: s.formats, Parameters: values, ResultFormatCodes: s.results,
	}).Encode(l.out))
	l.put((&pgproto3.Execute{}).Encode(l.out))
}

// simple runs a text of several statements, without parameters, and gives the
// last row of each, in text.
func (l *link) simple(text string) (rows [][]string, err error) {
	l.put((&pgproto3.Query{String: text}).Encode(l.out))
	if err := l.flush(); err != nil {
		return nil, err
	}
	for {
		m, err := l.receive()
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			row := make([]string, len(m.Values))
			for i, v := range m.Values {
				row[i] = string(v)
			}
			rows = append(rows, row)
		case *pgproto3.ErrorResponse:
			return nil, l.settle(l.refusal(m))
		case *pgproto3.CopyInResponse, *pgproto3.CopyOutResponse, *pgproto3.CopyBothResponse:
			return nil, l.broke(errProtocol)
		case *pgproto3.ReadyForQuery:
			return rows, nil
		}
	}
}

// keep keeps a prepared statement and makes room for it: rare enough that which
// one goes does not matter. One that goes may be used by what is put already.
func (l *link) keep(query string, s *pgStmt) {
	for text, old := range l.texts {
		if len(l.texts) < maxStatements {
			break
		}
		l.closes, _ = (&pgproto3.Close{ObjectType: 'S', Name: old.name}).Encode(l.closes) // a name is never too long
		delete(l.texts, text)
	}
	l.texts[query] = s
}

// errProtocol: the server answers otherwise than the protocol has it.
var errProtocol = errors.New("PostgreSQL answered otherwise than expected")

// commandOf reads what a command says when it is done, such as "UPDATE 3". Only
// what begins or ends a transaction needs the word.
func commandOf(tag []byte) (word string, rows int64) {
	i := len(tag)
	unit := int64(1)
	for i > 0 && tag[i-1] >= '0' && tag[i-1] <= '9' {
		i--
		rows += unit * int64(tag[i]-'0')
		unit *= 10
	}
	switch string(tag) {
	case "COMMIT":
		word = "COMMIT"
	case "ROLLBACK":
		word = "ROLLBACK"
	}
	return word, rows
}
