package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nova-chat/nova/internal/load"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/web"
	"github.com/nova-chat/nova/internal/ws"
)

// friend is somebody with two devices: one takes part in the load, the other's
// session is ended while it receives.
type friend struct {
	name, word string
	first      load.Session
}

// signed is what register and login answer.
type signed struct {
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	SessionID   string `json:"session_id"`
	DeviceID    string `json:"device_id"`
	AccessToken string `json:"access_token"`
}

func (d *deployment) client(i int) (*web.Client, error) {
	return web.NewClient("http://"+d.nodes[i].Public, web.ClientOptions{Timeout: 10 * time.Second})
}

// register makes an account whose word is known.
func (p *play) register(ctx context.Context) (friend, error) {
	f := friend{name: "friend-" + strings.ToLower(rand.Text()[:12]), word: rand.Text()}
	s, err := f.sign(ctx, p.deployment, 0, "register", "first")
	f.first = load.Session{UserID: s.User.ID, Username: f.name, DeviceID: s.DeviceID, AccessToken: obs.NewSecret(s.AccessToken)}
	return f, err
}

func (f friend) sign(ctx context.Context, d *deployment, node int, how, device string) (s signed, err error) {
	client, err := d.client(node)
	if err != nil {
		return s, err
	}
	defer client.Close()
	_, err = client.Do(ctx, http.MethodPost, "/api/v1/auth/"+how, map[string]string{"username": f.name, "password": f.word, "device_id": device}, &s)
	if err != nil {
		return s, fmt.Errorf("%s: %w", how, err)
	}
	return s, nil
}

// revoke signs in a second device, connects it to the second node, and has the
// first node end its session while messages come.
func (f friend) revoke(ctx context.Context, p *play) error {
	second, err := f.sign(ctx, p.deployment, 0, "login", "second")
	if err != nil {
		return err
	}
	l, err := p.listen(ctx, second)
	if err != nil {
		return err
	}
	defer l.conn.Drop()
	if !await(ctx, flowWithin, func() bool { return l.got.Load() > 0 }) {
		return fmt.Errorf("a second device got no message within %s", flowWithin)
	}
	client, err := p.client(0)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.As(f.first.AccessToken).Do(ctx, http.MethodDelete, "/api/v1/auth/sessions/"+second.SessionID, nil, nil); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	p.journal.row("revoke", fields{"session": second.SessionID, "node": p.nodes[0].name, "t": p.journal.now()})
	const patience = 5 * time.Second // what comes meanwhile is judged
	select {
	case <-l.ended:
	case <-time.After(patience):
	}
	return nil
}

// listener is a device that only receives.
type listener struct {
	conn  *ws.Client
	got   atomic.Int64
	ended chan struct{}
}

// listen opens a socket on the second node and writes down what comes.
func (p *play) listen(ctx context.Context, s signed) (*listener, error) {
	node := p.nodes[1]
	conn, err := ws.Dial(ctx, "ws://"+node.Public+"/api/v1/ws", ws.DialOptions{Header: http.Header{"Authorization": {"Bearer " + s.AccessToken}}})
	if err != nil {
		return nil, err
	}
	if err := conn.WriteText([]byte(`{"op":"hello","id":"h"}`)); err != nil {
		conn.Drop()
		return nil, err
	}
	l := &listener{conn: conn, ended: make(chan struct{})}
	dev := p.journal.device(s.User.ID, s.DeviceID)
	p.journal.row("open", fields{"dev": dev, "sock": "second", "node": node.name, "session": s.SessionID, "t": p.journal.now()})
	p.group.Go(ctx, "campaign.listener", func(context.Context) {
		defer close(l.ended)
		for {
			frame, err := conn.Read()
			if err != nil {
				p.journal.row("close", fields{"dev": dev, "sock": "second", "code": ws.CloseCode(err), "t": p.journal.now()})
				return
			}
			if p.received(dev, frame) {
				l.got.Add(1)
			}
		}
	})
	return l, nil
}

// message is a message as frames and events have it.
type message struct {
	ID             string `json:"id"`
	ConversationID string `json:"conversation_id"`
	Seq            int64  `json:"seq"`
	SenderID       string `json:"sender_id"`
	DeviceID       string `json:"device_id"`
	ClientMsgID    string `json:"client_msg_id"`
	Body           string `json:"body"`
}

// row is what a history has of a message.
func (m message) row(j *journal) fields {
	return fields{
		"conv": m.ConversationID, "seq": m.Seq, "msg": m.ID, "cmid": m.ClientMsgID,
		"by": j.device(m.SenderID, m.DeviceID), "hash": load.Hash([]byte(m.Body)),
	}
}

// received writes down a message; it is false for another frame.
func (p *play) received(dev string, frame []byte) bool {
	var f struct {
		Op      string  `json:"op"`
		Message message `json:"message"`
	}
	if json.Unmarshal(frame, &f) != nil || f.Op != "message" {
		return false
	}
	row := f.Message.row(p.journal)
	row["dev"], row["sock"], row["src"], row["t"] = dev, "second", "live", p.journal.now()
	p.journal.row("recv", row)
	return true
}
