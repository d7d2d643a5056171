package audit

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// told is the code of the problem document in err, "" if there is none.
func told(err error) (string, error) {
	if err == nil {
		return "", nil
	}
	return fault.CodeOf(err).String(), nil
}

// tryLogin tries again what a busy deployment did not judge.
func (p *scenario) tryLogin(ctx context.Context, name string) (string, error) {
	const tries = 5
	for try := 1; ; try++ {
		_, err := p.t.public.Do(ctx, http.MethodPost, "/api/v1/auth/login",
			map[string]string{"username": name, "password": "never this phrase", "device_id": "audit-guess"}, nil)
		if err == nil || fault.CodeOf(err).Kind() != fault.Unavailable || try == tries {
			return told(err)
		}
		if err := pause(ctx, max(fault.From(err).RetryAfter, time.Second)); err != nil {
			return "", err
		}
	}
}

// logins produces the reasons of a refused login. It takes 12 of the 20 logins
// that an address has in a minute.
func (p *scenario) logins(ctx context.Context) error {
	const metric, lockedAfter = "login_failures_total", 10
	nobody := p.t.name("nobody")
	wrong := func(ctx context.Context) (string, error) { return p.tryLogin(ctx, p.victim.name) }
	for _, e := range []expect{
		{"a login with a wrong phrase", metric, "wrong_password", 1, "login_refused", wrong},
		{"a login to an account that does not exist", metric, "user_not_found", 1, "login_refused", func(ctx context.Context) (string, error) { return p.tryLogin(ctx, nobody) }},
		{"nine more with a wrong phrase", metric, "wrong_password", lockedAfter - 1, "login_refused", func(ctx context.Context) (last string, err error) {
			for range lockedAfter - 1 {
				if last, err = wrong(ctx); err != nil {
					return "", err
				}
			}
			return last, nil
		}},
		{"a login to an account that is locked by then", metric, "account_locked", 1, "login_throttled", wrong},
	} {
		if err := p.t.breathe(ctx); err != nil {
			return err
		}
		if err := p.judge(ctx, e); err != nil {
			return left(p.c, err)
		}
	}
	now, err := p.t.scrape(ctx)
	if err != nil {
		return err
	}
	if v, ok := now.value(metric, "reason", "2fa_failed"); p.c.fact(ok, "%s has a series for 2fa_failed, it is %g", metric, v) {
		p.produced[metric+" 2fa_failed"] = true
		p.c.notJudged("2fa_failed: there is no second factor in this version")
	}
	return nil
}

// endsWithin is how long other processes may take to hear of a session's end.
const endsWithin = time.Second

// identities produces refused proofs of identity.
func (p *scenario) identities(ctx context.Context) error {
	const metric = "identity_refusals_total"
	with := func(proof string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			_, err := p.t.public.As(obs.NewSecret(proof)).Do(ctx, http.MethodGet, "/api/v1/users/me", nil, nil)
			return told(err)
		}
	}
	leaver, err := p.bob.login(ctx, p.t.name("d"))
	if err != nil {
		return left(p.c, err)
	}
	if err := leaver.do(ctx, http.MethodPost, "auth/logout", nil, nil); err != nil {
		return fmt.Errorf("log a probe account out: %w", err)
	}
	if err := pause(ctx, endsWithin); err != nil {
		return err
	}
	for _, e := range []expect{
		{"a ticket that was never given", metric, "ticket_unknown", 1, "4401", p.withTicket},
		{"a request without proof of identity", metric, "missing", 1, "unauthenticated", func(ctx context.Context) (string, error) {
			_, err := p.t.public.Do(ctx, http.MethodGet, "/api/v1/users/me", nil, nil)
			return told(err)
		}},
		{"a request with an unreadable one", metric, "malformed", 1, "unauthenticated", with("audit")},
		{"a request with a forged one", metric, "wrong_signature", 1, "unauthenticated", with(forge(p.alice.access.Reveal()))},
		{"a request after the logout", metric, "revoked", 1, "unauthenticated", with(leaver.access.Reveal())},
		{"a refresh with something that was never given", metric, "refresh_unknown", 1, "unauthenticated", func(ctx context.Context) (string, error) {
			_, err := p.t.public.Do(ctx, http.MethodPost, "/api/v1/auth/refresh", map[string]string{"refresh_token": p.alice.refresh.Reveal()[:8] + "~audit"}, nil)
			return told(err)
		}},
	} {
		if err := p.judge(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// forge changes one character in the middle of a signature.
func forge(proof string) string {
	i := (strings.LastIndexByte(proof, '.') + len(proof)) / 2
	other := byte('A')
	if proof[i] == other {
		other = 'B'
	}
	return proof[:i] + string(other) + proof[i+1:]
}

// ending does something on a fresh live socket and gives the close code.
func (p *scenario) ending(do func(ctx context.Context, s *socket) error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		s, _, err := p.bob.connect(ctx, nil, "")
		if err != nil {
			return "", err
		}
		defer s.c.Drop()
		if err := do(ctx, s); err != nil {
			return "", err
		}
		return strconv.Itoa(s.closed(frameWithin)), nil
	}
}

// raw writes bytes that are a frame or not.
func raw(frame string) func(context.Context, *socket) error {
	return func(_ context.Context, s *socket) error { return s.c.WriteText([]byte(frame)) }
}

// below writes below the client, which would not do it.
func below(frame string) func(context.Context, *socket) error {
	return func(_ context.Context, s *socket) error {
		_, err := s.nc.Write([]byte(frame))
		return err
	}
}

// sockets produces ends of sockets.
func (p *scenario) sockets(ctx context.Context) error {
	const metric = "ws_closes_total"
	const maxMessage = 64 << 10
	for _, e := range []expect{
		{"a client that closes", metric, "client", 1, "1000", p.ending(func(_ context.Context, s *socket) error { return s.c.Close(1000, "") })},
		{"a frame that is no JSON", metric, "bad_frame", 1, "4400", p.ending(raw("audit"))},
		{"a frame that is no UTF-8", metric, "bad_utf8", 1, "1007", p.ending(raw("\"\xff\xfe\""))},
		{"a frame that is too big", metric, "too_big", 1, "1009", p.ending(raw(strings.Repeat(" ", maxMessage+1)))},
		{"a binary frame", metric, "binary", 1, "1003", p.ending(below(binary))},
		{"a frame without a mask", metric, "protocol", 1, "1002", p.ending(below(unmasked))},
		{"a second hello", metric, "bad_frame", 1, "4400", p.ending(raw(`{"op":"hello","id":"2"}`))},
		{"a ticket that was never given", metric, "not_authenticated", 1, "4401", p.withTicket},
		{"an upgrade without a hello", metric, "hello_timeout", 1, "4408", p.silent},
		{"a logout", metric, "revoked", 1, "4410", p.logout},
	} {
		if err := p.judge(ctx, e); err != nil {
			return left(p.c, err)
		}
	}
	return p.replacedBy(ctx)
}

func (p *scenario) withTicket(ctx context.Context) (string, error) {
	s, err := p.t.dial(ctx, p.bob, "")
	if err != nil {
		return "", err
	}
	defer s.c.Drop()
	if err := s.write(map[string]string{"op": "hello", "id": "h", "ticket": "audit~never-given"}); err != nil {
		return "", err
	}
	return strconv.Itoa(s.closed(frameWithin)), nil
}

func (p *scenario) silent(ctx context.Context) (string, error) {
	s, err := p.t.dial(ctx, p.bob, "")
	if err != nil {
		return "", err
	}
	defer s.c.Drop()
	return strconv.Itoa(s.closed(frameWithin)), nil
}

func (p *scenario) logout(ctx context.Context) (string, error) {
	leaver, err := p.bob.login(ctx, p.t.name("d"))
	if err != nil {
		return "", err
	}
	s, _, err := leaver.connect(ctx, nil, "")
	if err != nil {
		return "", err
	}
	defer s.c.Drop()
	if err := leaver.do(ctx, http.MethodPost, "auth/logout", nil, nil); err != nil {
		return "", err
	}
	return strconv.Itoa(s.closed(frameWithin)), nil
}

// replacedBy keeps the second socket open until the first has been judged.
func (p *scenario) replacedBy(ctx context.Context) error {
	var second *socket
	err := p.judge(ctx, expect{"a second socket of the same session", "ws_closes_total", "replaced", 1, "4409", p.ending(func(ctx context.Context, _ *socket) (err error) {
		second, _, err = p.bob.connect(ctx, nil, "")
		return err
	})})
	if second != nil {
		second.bye()
	}
	return err
}

// sends produces sends that are refused.
func (p *scenario) sends(ctx context.Context) error {
	const metric = "messages_rejected_total"
	conversation, err := p.alice.converse(ctx, "", p.bob)
	if err != nil {
		return err
	}
	client := p.t.name("m")
	if _, _, err := p.alice.post(ctx, conversation, client, "audit"); err != nil {
		return err
	}
	sending := func(conversation, client, body string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			_, _, err := p.alice.post(ctx, conversation, client, body)
			return told(err)
		}
	}
	for _, e := range []expect{
		{"a message to a conversation of others", metric, "not_found", 1, "not_found", sending(swapEnd(conversation), p.t.name("m"), "audit")},
		{"another text under a used identifier", metric, "idempotency_conflict", 1, "idempotency_conflict", sending(conversation, client, "other")},
	} {
		if err := p.judge(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// swapEnd makes a well-formed identifier of something that does not exist.
func swapEnd(id string) string {
	last := byte('0')
	if id[len(id)-1] == last {
		last = '1'
	}
	return id[:len(id)-1] + string(last)
}
