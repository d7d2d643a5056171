package auth

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// model is what the sessions ought to be: by device of each account, the latest
// answer that opened or renewed it.
type model struct {
	r      *rig
	live   map[string]reply // by "name/device"
	ended  []reply
	opened int
}

func (m *model) open(at string, a reply) {
	if old, ok := m.live[at]; ok {
		m.ended = append(m.ended, old)
	}
	m.live[at] = a
	m.opened++
}

func (m *model) end(at string) {
	m.ended = append(m.ended, m.live[at])
	delete(m.live, at)
}

// TestNoSessionWithoutItsProof drives random operations and compares what the
// service does with the model: no session but by registration or login, none
// that outlives its end, none that ends unasked.
func TestNoSessionWithoutItsProof(t *testing.T) {
	r := newRig(t, cheap())
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		m := &model{r: r, live: map[string]reply{}}
		names := []string{fmt.Sprintf("ann-%d", round), fmt.Sprintf("ben-%d", round)}
		before, revoked := r.count(`SELECT COUNT(*) FROM sessions`), r.poll(0, 0).GetLast()
		for _, name := range names {
			m.open(name+"/a", r.call("POST", "auth/register", "", try(name, password, "a")))
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			m.step(t, rapid.SampledFrom(names).Draw(t, "name"))
		}
		m.check(t)
		if n := r.count(`SELECT COUNT(*) FROM sessions`) - before; n != len(m.live) {
			t.Fatalf("%d sessions in the store, %d in the model", n, len(m.live))
		}
		if n := int(r.poll(0, 0).GetLast() - revoked); n != len(m.ended) {
			t.Fatalf("%d revocations, %d sessions ended", n, len(m.ended))
		}
	})
	if a, e := r.count(`SELECT COUNT(*) FROM accounts`), r.count(`SELECT taken FROM positions`); a != e {
		t.Errorf("%d accounts, %d events", a, e)
	}
}

func (m *model) step(t *rapid.T, name string) {
	at := name + "/" + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "device")
	device := at[len(at)-1:]
	have, ok := m.live[at]
	switch op := rapid.SampledFrom([]string{"login", "wrong", "refresh", "old", "logout", "others", "again"}).Draw(t, "op"); op {
	case "login":
		m.open(at, m.r.call("POST", "auth/login", "", try(name, password, device)))
	case "wrong":
		if a := m.r.call("POST", "auth/login", "", try(name, password+"!", device)); a.status == 200 {
			t.Fatal("a wrong proof opened a session")
		}
		m.r.exec(`DELETE FROM login_failures`)
	case "again":
		if a := m.r.call("POST", "auth/register", "", try(name, password, device)); a.status != 409 {
			t.Fatalf("a second registration answers %d", a.status)
		}
	case "refresh":
		if ok {
			if m.live[at] = m.r.refresh(have.text("refresh_token")); m.live[at].status != 200 {
				t.Fatalf("refresh answers %d", m.live[at].status)
			}
		}
	case "old":
		for _, a := range m.ended {
			if m.r.refresh(a.text("refresh_token")).status != 401 {
				t.Fatal("an ended session refreshed")
			}
		}
	case "logout":
		if ok {
			m.r.call("POST", "auth/logout", have.text("access_token"), nil)
			m.end(at)
		}
	case "others":
		if ok {
			m.r.call("DELETE", "auth/sessions", have.text("access_token"), nil)
			for _, d := range []string{"a", "b", "c"} {
				if _, there := m.live[name+"/"+d]; there && d != device {
					m.end(name + "/" + d)
				}
			}
		}
	}
}

func (m *model) check(t *rapid.T) {
	for at, a := range m.live {
		if !m.r.alive(a.text("access_token")) {
			t.Fatalf("the session of %s died unasked", at)
		}
	}
	for _, a := range m.ended {
		if m.r.alive(a.text("access_token")) {
			t.Fatal("a session outlives its end")
		}
	}
}
