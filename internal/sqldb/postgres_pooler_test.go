package sqldb

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/nova-chat/nova/test/servers"
)

// pooler is as small as a pooler can be: it logs everybody in, under a process
// id of its own making, and gives a connection to the server to whoever speaks,
// until the transaction or, by session, the client ends.
type pooler struct {
	t       *testing.T
	session bool
	server  string
	idle    chan *pgconn.HijackedConn
	wg      sync.WaitGroup
}

func newPooler(t *testing.T, address string, session bool) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pooler{t: t, session: session, server: address, idle: make(chan *pgconn.HijackedConn, 10)}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.wg.Wait()
		close(p.idle)
		for h := range p.idle {
			_ = h.Conn.Close()
		}
	})
	u.Host = l.Addr().String()
	return u.String()
}

// take gives the connection that was used last, or a new one.
func (p *pooler) take() *pgconn.HijackedConn {
	select {
	case h := <-p.idle:
		return h
	default:
	}
	c, err := pgconn.Connect(context.Background(), p.server)
	if err != nil {
		p.t.Error(err)
		return nil
	}
	h, err := c.Hijack()
	if err != nil {
		p.t.Error(err)
	}
	return h
}

func (p *pooler) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	client := pgproto3.NewBackend(c, c)
	if _, err := client.ReceiveStartupMessage(); err != nil {
		return
	}
	client.Send(&pgproto3.AuthenticationOk{})
	client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if client.Flush() != nil {
		return
	}
	var server *pgconn.HijackedConn
	defer func() {
		if server != nil {
			p.idle <- server
		}
	}()
	for {
		m, err := client.Receive()
		if _, bye := m.(*pgproto3.Terminate); err != nil || bye {
			return
		}
		if server == nil {
			server = p.take()
		}
		server.Frontend.Send(m)
		if !ends(m) {
			continue
		}
		status, ok := answer(client, server)
		if !ok {
			return
		}
		if status == 'I' && !p.session {
			p.idle <- server
			server = nil
		}
	}
}

// ends says whether the server answers up to its being ready.
func ends(m pgproto3.FrontendMessage) bool {
	switch m.(type) {
	case *pgproto3.Query, *pgproto3.Sync:
		return true
	}
	return false
}

// answer passes the server's answer on.
func answer(client *pgproto3.Backend, server *pgconn.HijackedConn) (status byte, ok bool) {
	if server.Frontend.Flush() != nil {
		return 0, false
	}
	for {
		m, err := server.Frontend.Receive()
		if err != nil {
			return 0, false
		}
		client.Send(m)
		if ready, ok := m.(*pgproto3.ReadyForQuery); ok {
			return ready.TxStatus, client.Flush() == nil
		}
	}
}

func TestPoolersOfTransactionsAreRefused(t *testing.T) {
	address := servers.Postgres(t)
	_, err := tryOpen(t, newPooler(t, address, false))
	if err == nil || !strings.Contains(err.Error(), "pooler") || !strings.Contains(err.Error(), `"database"`) {
		t.Errorf("by transaction: %v", err)
	}
	db, _, _ := start(t, newPooler(t, address, true), nil)
	if err := db.Migrate(t.Context(), "test", numbers); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := db.Write(ctx, "test", put(1)); err != nil {
		t.Errorf("by session: %v", err)
	}
	unclean := newPooler(t, address, true)
	if _, err := tryOpen(t, unclean); err != nil {
		t.Errorf("the first by session: %v", err)
	}
	if _, err := tryOpen(t, unclean); err == nil || !strings.Contains(err.Error(), "pooler") || !strings.Contains(err.Error(), `"database"`) {
		t.Errorf("what another left behind: %v", err)
	}
}
