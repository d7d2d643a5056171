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
)

// link is one connection to a PostgreSQL server and its prepared statements. It
// speaks the extended protocol by itself: so the statements that begin a
// transaction travel with its first one, and no goroutine is started. pgx has
// found the server, encrypted the way and logged in.
type link struct {
	login   *pgconn.PgConn // which logged in; good for cancelling alone
	net     net.Conn
	wire    *pgproto3.Frontend
	pid     uint32
	warned  bool // the server warned since this was reset
	dead    error
	spent   bool               // the server was asked to break something off, and may do so late
	made    int                // statements so far, for their names
	own     map[string]*pgStmt // what transactions are made of
	texts   map[string]*pgStmt
	inserts map[string][]*pgInsert
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
		own: map[string]*pgStmt{}, texts: map[string]*pgStmt{}, inserts: map[string][]*pgInsert{},
	}
}

// close says goodbye if the server listens.
func (l *link) close() error {
	if l.dead == nil {
		_ = l.net.SetDeadline(time.Now().Add(rest))
		l.wire.Send(&pgproto3.Terminate{})
		_ = l.wire.Flush()
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

// flush sends what was prepared to be sent.
func (l *link) flush() error {
	if l.dead != nil {
		return l.dead
	}
	if err := l.wire.Flush(); err != nil {
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
		l.wire.SendParse(&pgproto3.Parse{Name: s.name, Query: text})
		l.own[text] = s
	}
	l.wire.SendSync(&pgproto3.Sync{})
	if err := l.flush(); err != nil {
		return err
	}
	return l.settle(nil)
}

// prepare prepares a text.
func (l *link) prepare(query string, params []uint32) (*pgStmt, error) {
	l.made++
	s := &pgStmt{name: "n" + strconv.Itoa(l.made)}
	l.wire.SendParse(&pgproto3.Parse{Name: s.name, Query: query, ParameterOIDs: params})
	l.wire.SendDescribe(&pgproto3.Describe{ObjectType: 'S', Name: s.name})
	l.wire.SendSync(&pgproto3.Sync{})
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

// bind sends a statement to be executed.
func (l *link) bind(s *pgStmt, values [][]byte) {
	l.wire.SendBind(&pgproto3.Bind{
		PreparedStatement: s.name, ParameterFormatCodes: s.formats, Parameters: values, ResultFormatCodes: s.results,
	})
	l.wire.SendExecute(&pgproto3.Execute{})
}

// simple runs a text of several statements, without parameters, and gives the
// last row of each, in text.
func (l *link) simple(text string) (rows [][]string, err error) {
	l.wire.SendQuery(&pgproto3.Query{String: text})
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
// one goes does not matter. What is sent here goes with the next statement.
func (l *link) keep(query string, s *pgStmt) {
	for text, old := range l.texts {
		if len(l.texts) < maxStatements {
			break
		}
		l.wire.SendClose(&pgproto3.Close{ObjectType: 'S', Name: old.name})
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
