package ws

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/fault"
)

const (
	upgradeLine = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	versionLine = "Sec-WebSocket-Version: 13\r\n"
	keyLine     = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	protoLine   = "Sec-WebSocket-Protocol: nova.v1\r\n"
	full        = upgradeLine + versionLine + keyLine + protoLine
)

// TestRefusedUpgrades compares status, code and headers of every way in which
// an upgrade can be wrong. The allowed origin is https://chat.example:8443.
func TestRefusedUpgrades(t *testing.T) {
	b := newBench(t, Config{Origins: func(o string, _ *http.Request) bool { return o == "https://chat.example:8443" }})
	for _, c := range []struct {
		name, line, headers string
		want                fault.Code
		header, value       string
	}{
		{name: "POST", line: "POST /api/v1/ws", headers: full + "Content-Length: 0\r\n", want: fault.CodeMethodNotAllowed, header: "Allow", value: "GET"},
		{name: "HEAD", line: "HEAD /api/v1/ws", headers: full, want: fault.CodeMethodNotAllowed, header: "Allow", value: "GET"},
		{name: "no Upgrade", headers: "Connection: Upgrade\r\n" + versionLine + keyLine + protoLine, want: fault.CodeBadRequest},
		{name: "Upgrade to something else", headers: "Upgrade: h2c\r\nConnection: Upgrade\r\n" + versionLine + keyLine + protoLine, want: fault.CodeBadRequest},
		{name: "no Connection", headers: "Upgrade: websocket\r\n" + versionLine + keyLine + protoLine, want: fault.CodeBadRequest},
		{name: "Connection: keep-alive", headers: "Upgrade: websocket\r\nConnection: keep-alive\r\n" + versionLine + keyLine + protoLine, want: fault.CodeBadRequest},
		{name: "nothing at all", headers: "", want: fault.CodeBadRequest},
		{name: "no key", headers: upgradeLine + versionLine + protoLine, want: fault.CodeBadRequest},
		{name: "empty key", headers: upgradeLine + versionLine + protoLine + "Sec-WebSocket-Key:\r\n", want: fault.CodeBadRequest},
		{name: "key of 15 bytes", headers: upgradeLine + versionLine + protoLine + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n", want: fault.CodeBadRequest},
		{name: "key of 17 bytes", headers: upgradeLine + versionLine + protoLine + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n", want: fault.CodeBadRequest},
		{name: "key that is no base64", headers: upgradeLine + versionLine + protoLine + "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n", want: fault.CodeBadRequest},
		{name: "two keys", headers: full + keyLine, want: fault.CodeBadRequest},
		{name: "a body", headers: full + "Content-Length: 2\r\n\r\nab", want: fault.CodeBadRequest},
		{name: "a chunked body", headers: full + "Transfer-Encoding: chunked\r\n\r\n0\r\n", want: fault.CodeBadRequest},
		{name: "HTTP/1.0", line: "1.0", headers: full, want: fault.CodeBadRequest},
		{name: "no version", headers: upgradeLine + keyLine + protoLine, want: fault.CodeUpgradeRequired, header: "Sec-Websocket-Version", value: "13"},
		{name: "version 8", headers: upgradeLine + keyLine + protoLine + "Sec-WebSocket-Version: 8\r\n", want: fault.CodeUpgradeRequired, header: "Sec-Websocket-Version", value: "13"},
		{name: "version 14", headers: upgradeLine + keyLine + protoLine + "Sec-WebSocket-Version: 14\r\n", want: fault.CodeUpgradeRequired, header: "Sec-Websocket-Version", value: "13"},
		{name: "two versions", headers: full + "Sec-WebSocket-Version: 8\r\n", want: fault.CodeUpgradeRequired},
		{name: "no subprotocol", headers: upgradeLine + versionLine + keyLine, want: fault.CodeBadSubprotocol},
		{name: "another subprotocol", headers: upgradeLine + versionLine + keyLine + "Sec-WebSocket-Protocol: nova.v2, chat\r\n", want: fault.CodeBadSubprotocol},
		{name: "the subprotocol in upper case", headers: upgradeLine + versionLine + keyLine + "Sec-WebSocket-Protocol: NOVA.V1\r\n", want: fault.CodeBadSubprotocol},
		{name: "token in the address", line: "GET /api/v1/ws?token=abc", headers: full, want: fault.CodeTokenInURL},
		{name: "access_token in the address", line: "GET /api/v1/ws?x=1&access_token=abc", headers: full, want: fault.CodeTokenInURL},
		{name: "ticket in the address", line: "GET /api/v1/ws?ticket", headers: full, want: fault.CodeTokenInURL},
		{name: "token, escaped", line: "GET /api/v1/ws?%74oken=abc", headers: full, want: fault.CodeTokenInURL},
		{name: "foreign origin", headers: full + "Origin: https://evil.example\r\n", want: fault.CodeForbidden},
		{name: "origin null", headers: full + "Origin: null\r\n", want: fault.CodeForbidden},
		{name: "empty origin", headers: full + "Origin:\r\n", want: fault.CodeForbidden},
		{name: "origin with another scheme", headers: full + "Origin: http://chat.example:8443\r\n", want: fault.CodeForbidden},
		{name: "origin with another port", headers: full + "Origin: https://chat.example\r\n", want: fault.CodeForbidden},
		{name: "origin as suffix", headers: full + "Origin: https://evilchat.example:8443\r\n", want: fault.CodeForbidden},
		{name: "origin as prefix", headers: full + "Origin: https://chat.example:8443.evil.example\r\n", want: fault.CodeForbidden},
		{name: "origin in upper case", headers: full + "Origin: https://CHAT.example:8443\r\n", want: fault.CodeForbidden},
		{name: "two origins", headers: full + "Origin: https://chat.example:8443\r\nOrigin: https://chat.example:8443\r\n", want: fault.CodeForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := b.ask(t, c.line, c.headers)
			err := next1(t, b.faults)
			if fault.CodeOf(err) != c.want {
				t.Errorf("fault %v, want %v", err, c.want)
			}
			if resp.StatusCode == 101 || c.header != "" && resp.Header.Get(c.header) != c.value {
				t.Errorf("answer %d, %s: %q", resp.StatusCode, c.header, resp.Header.Get(c.header))
			}
		})
	}
	if n := b.srv.Count(); n != 0 {
		t.Errorf("%d sockets after refusals alone", n)
	}
}

// ask sends a request; line "" is the usual one and "1.0" that with HTTP/1.0.
func (b *bench) ask(t *testing.T, line, headers string) *http.Response {
	t.Helper()
	version := " HTTP/1.1\r\nHost: x\r\n"
	switch line {
	case "1.0":
		line, version = "GET /api/v1/ws", " HTTP/1.0\r\nHost: x\r\n"
	case "":
		line = "GET /api/v1/ws"
	}
	nc, err := net.Dial("tcp", b.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Write([]byte(line + version + headers + "\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: strings.Fields(line)[0]})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestAcceptedUpgrades(t *testing.T) {
	at := time.Now().Add(-time.Second)
	b := newBench(t, Config{
		Origins:  func(o string, _ *http.Request) bool { return o == "https://chat.example" },
		Accepted: func(context.Context) time.Time { return at },
	})
	for name, headers := range map[string]string{
		"as usual":                full,
		"allowed origin":          full + "Origin: https://chat.example\r\n",
		"lists and other case":    "Upgrade: h2c, WebSocket\r\nConnection: keep-alive, UPGRADE\r\n" + versionLine + keyLine + "Sec-WebSocket-Protocol: chat , nova.v1\r\n",
		"subprotocol second line": upgradeLine + versionLine + keyLine + "Sec-WebSocket-Protocol: chat\r\n" + protoLine,
		"compression offered":     full + "Sec-WebSocket-Extensions: permessage-deflate\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			resp := b.ask(t, "", headers)
			if resp.StatusCode != 101 {
				t.Fatal(resp.Status)
			}
			for k, want := range map[string]string{
				"Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-Websocket-Protocol": "nova.v1", "X-Correlation-Id": "corr-1",
				"Sec-Websocket-Extensions": "", "Upgrade": "websocket", "Connection": "Upgrade",
			} {
				if got := resp.Header.Get(k); got != want {
					t.Errorf("%s: %q, want %q", k, got, want)
				}
			}
			c := b.conn()
			if c.Correlation() != "corr-1" || !c.AcceptedAt().Equal(at) || len(c.ID()) != 26 {
				t.Errorf("correlation %q, accepted %v, id %q", c.Correlation(), c.AcceptedAt(), c.ID())
			}
		})
	}
}

func TestUpgradeNeedsAConnectionToTakeOver(t *testing.T) {
	b := newBench(t, Config{})
	r := httptest.NewRequest(http.MethodGet, "/api/v1/ws", nil)
	for line := range strings.SplitSeq(strings.TrimSpace(full), "\r\n") {
		k, v, _ := strings.Cut(line, ": ")
		r.Header.Set(k, v)
	}
	if _, err := b.srv.Upgrade(httptest.NewRecorder(), r, "", Handler{}); fault.CodeOf(err) != fault.CodeInternal {
		t.Errorf("fault %v", err)
	}
}

func TestStoppingServerRefuses(t *testing.T) {
	b := newBench(t, Config{})
	c := b.dial()
	end := make(chan error)
	go func() {
		_, err := c.Read()
		end <- err
	}()
	b.group.Stop(context.Background())
	if err := next1(t, end); CloseCode(err) != 1012 {
		t.Errorf("open socket: %v", err)
	}
	_, err := Dial(context.Background(), b.url(), DialOptions{})
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Status != 503 {
		t.Errorf("new socket: %v", err)
	}
	if err := next1(t, b.faults); fault.CodeOf(err) != fault.CodeUnavailable {
		t.Errorf("fault %v", err)
	}
}
