package history_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// world is a Nova that keeps its promises, and writes down what its clients see.
type world struct {
	rt      *rapid.T
	out     script
	now     int
	devices []*client
	log     []written
	made    int
	socks   int
}

type client struct {
	name    string
	sock    string // "" = away
	prefix  int    // has everything up to here, of its own too
	pending []written
}

type written struct {
	by, cmid string
	seq      int
}

func (w *world) add(r row) {
	w.now++
	if r["op"] != "log" && r["op"] != "conv" && r["op"] != "device" {
		r["t"] = w.now * ms
	}
	w.out = append(w.out, r)
}

// online opens a socket, which brings what was missed, and repeats what had no answer.
func (w *world) online(c *client) {
	w.socks++
	c.sock = fmt.Sprintf("s%d", w.socks)
	w.add(row{"op": "open", "dev": c.name, "sock": c.sock, "node": "n1", "session": "S" + c.name, "from": row{"K": c.prefix}})
	for _, m := range w.log[c.prefix:] {
		w.add(got(c.name, c.sock, m.by, m.cmid, m.seq, "resume", 0))
	}
	c.prefix = len(w.log)
	for _, m := range c.pending {
		w.send(c, m.cmid, true)
		i := slices.IndexFunc(w.log, func(l written) bool { return l.cmid == m.cmid })
		if i < 0 {
			w.commit(c, m.cmid)
			i = len(w.log) - 1
		}
		w.add(acked(c.name, c.sock, m.cmid, w.log[i].seq, 0))
	}
	c.pending = nil
}

func (w *world) send(c *client, cmid string, again bool) {
	r := sent(c.name, c.sock, cmid, 0)
	if again {
		r["again"] = true
	}
	w.add(r)
}

func (w *world) away(c *client) {
	w.add(row{"op": "close", "sock": c.sock, "code": 1006})
	c.sock = ""
}

// commit stores a message and shows it to everybody online.
func (w *world) commit(by *client, cmid string) {
	m := written{by.name, cmid, len(w.log) + 1}
	w.log = append(w.log, m)
	for _, c := range w.devices {
		switch {
		case c == by:
			if c.sock != "" {
				c.prefix = m.seq
			}
		case c.sock != "":
			w.add(got(c.name, c.sock, m.by, m.cmid, m.seq, "live", 0))
			c.prefix = m.seq
		}
	}
}

func (w *world) step() {
	c := w.devices[rapid.IntRange(0, len(w.devices)-1).Draw(w.rt, "device")]
	if c.sock == "" {
		w.online(c)
		return
	}
	what := rapid.IntRange(0, 9).Draw(w.rt, "step")
	if what == 0 {
		w.away(c)
		return
	}
	w.made++
	cmid := fmt.Sprintf("m%d", w.made)
	w.send(c, cmid, false)
	switch what {
	case 1:
		w.add(row{"op": "fail", "dev": c.name, "sock": c.sock, "cmid": cmid, "kind": "definite", "reason": "invalid"})
	case 2, 3: // lost, stored or not
		before := c.prefix
		if what == 2 {
			w.commit(c, cmid)
		}
		c.prefix = before // it does not know
		c.pending = append(c.pending, written{c.name, cmid, 0})
		w.away(c)
	default:
		w.commit(c, cmid)
		w.add(acked(c.name, c.sock, cmid, len(w.log), 0))
	}
}

// correct draws a history that holds.
func correct(rt *rapid.T) (script, []written) {
	w := &world{rt: rt}
	w.out = script{{"op": "history", "version": 1, "run": "R"}, {"op": "conv", "conv": "K", "base": 0}}
	for i := range rapid.IntRange(2, 4).Draw(rt, "devices") {
		c := &client{name: fmt.Sprintf("d%d", i)}
		w.devices = append(w.devices, c)
		w.add(row{"op": "device", "dev": c.name, "user": "U" + c.name, "device": "x"})
		w.add(row{"op": "member", "conv": "K", "user": "U" + c.name, "kind": "add", "seq": 0})
	}
	for _, c := range w.devices {
		w.online(c)
	}
	for range rapid.IntRange(5, 40).Draw(rt, "steps") {
		w.step()
	}
	for _, c := range w.devices {
		if c.sock == "" {
			w.online(c)
		}
	}
	for len(w.log) < 3 {
		w.made++
		c, cmid := w.devices[0], fmt.Sprintf("m%d", w.made)
		w.send(c, cmid, false)
		w.commit(c, cmid)
		w.add(acked(c.name, c.sock, cmid, len(w.log), 0))
	}
	w.now += 20_000
	for _, c := range w.devices {
		w.add(row{"op": "caught_up", "dev": c.name, "conv": "K", "seq": len(w.log)})
	}
	for _, node := range []string{"n1", "n2"} {
		for _, m := range w.log {
			w.add(row{"op": "log", "node": node, "conv": "K", "seq": m.seq, "msg": "M" + m.cmid, "cmid": m.cmid, "by": m.by, "hash": "h" + m.cmid})
		}
		w.add(row{"op": "logged", "node": node, "conv": "K"})
	}
	return w.out, w.log
}

// mutations break one thing of any correct history. Of want at least one must
// be named; others may be, since one lie can show in several places.
var mutations = []struct {
	name   string
	want   []string
	mutate func(rt *rapid.T, s script, log []written) script
}{
	{"a row is gone", []string{"I1", "I4"}, func(rt *rapid.T, s script, log []written) script {
		return drop(s, pick(rt, s, row{"op": "log"}))
	}},
	{"a row is doubled", []string{"I3"}, func(rt *rapid.T, s script, log []written) script {
		i := pick(rt, s, row{"op": "log"})
		return slices.Insert(s, i, s[i])
	}},
	{"received under another id", []string{"I7"}, func(rt *rapid.T, s script, log []written) script {
		s[pick(rt, s, row{"op": "recv"})]["msg"] = "other"
		return s
	}},
	{"received with another body", []string{"I2"}, func(rt *rapid.T, s script, log []written) script {
		s[pick(rt, s, row{"op": "recv"})]["hash"] = "other"
		return s
	}},
	{"received under another author", []string{"I2"}, func(rt *rapid.T, s script, log []written) script {
		r := s[pick(rt, s, row{"op": "recv"})]
		if r["by"] == "d0" {
			r["by"] = "d1"
		} else {
			r["by"] = "d0"
		}
		return s
	}},
	{"never received", []string{"I8", "I9"}, func(rt *rapid.T, s script, log []written) script {
		// one's own message may be missing: its answer says as much
		others := s.clone()
		for _, r := range others {
			r["foreign"] = r["by"] != r["dev"]
		}
		return drop(s, pick(rt, others, row{"op": "recv", "foreign": true}))
	}},
	{"received twice", []string{"I8"}, func(rt *rapid.T, s script, log []written) script {
		i := pick(rt, s, row{"op": "recv"})
		return slices.Insert(s, i, s[i])
	}},
	{"answered with another place", []string{"I1", "I3"}, func(rt *rapid.T, s script, log []written) script {
		s[pick(rt, s, row{"op": "ack"})]["msg"] = "other"
		return s
	}},
	{"refused after all", []string{"I2"}, func(rt *rapid.T, s script, log []written) script {
		cmid := s[pick(rt, s, row{"op": "ack"})]["cmid"]
		return s.each(row{"op": "ack", "cmid": cmid}, func(row) bool { return false }).each(row{"op": "send", "cmid": cmid}, func(r row) bool {
			r["refuse"] = true
			return true
		}).refuse()
	}},
	{"stored in another order", []string{"I5"}, func(rt *rapid.T, s script, log []written) script {
		first, last := log[0], log[len(log)-1]
		s.each(row{"op": "send", "cmid": last.cmid}, func(r row) bool { r["t"] = 1; return true })
		s.each(row{"op": "ack", "cmid": last.cmid}, func(r row) bool { r["t"] = 2; return true })
		s.each(row{"op": "send", "cmid": first.cmid}, func(r row) bool { r["t"] = 3; return true })
		return s
	}},
}

// refuse answers every marked send with a definite refusal.
func (s script) refuse() (out script) {
	for _, r := range s {
		out = append(out, r)
		if r["refuse"] == true {
			delete(r, "refuse")
			out = append(out, row{"op": "fail", "dev": r["dev"], "sock": r["sock"], "cmid": r["cmid"], "kind": "definite", "t": r["t"]})
		}
	}
	return out
}

// pick draws one of the rows that have all of that. A correct history has
// three messages that are seen by two devices at least, so there is one.
func pick(rt *rapid.T, s script, like row) int {
	var all []int
	for i, r := range s {
		if r.like(like) {
			all = append(all, i)
		}
	}
	return rapid.SampledFrom(all).Draw(rt, "row")
}

func drop(s script, i int) script { return append(s[:i:i], s[i+1:]...) }

func TestCorrectHistoriesHoldAndMutantsAreNamed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, log := correct(rt)
		if r := check(t, s); len(r.Broken()) > 0 {
			rt.Fatalf("a correct history breaks %v: %+v\n%s", r.Broken(), r.Verdicts, s)
		}
		m := rapid.SampledFrom(mutations).Draw(rt, "mutation")
		bad := m.mutate(rt, s.clone(), log)
		broken := check(t, bad).Broken()
		if !slices.ContainsFunc(broken, func(name string) bool { return slices.Contains(m.want, name) }) {
			rt.Fatalf("%s: broken %v, want one of %v\n%s", m.name, broken, m.want, bad)
		}
	})
}
