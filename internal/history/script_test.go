package history_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/nova-chat/nova/internal/history"
)

// row is one line of a history in the making.
type row map[string]any

// script is a history in the making.
type script []row

func (s script) String() string {
	var b strings.Builder
	for _, r := range s {
		line, err := json.Marshal(r)
		if err != nil {
			panic(err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}

func (s script) clone() script {
	out := make(script, 0, len(s))
	for _, r := range s {
		out = append(out, maps.Clone(r))
	}
	return out
}

// find gives the n-th row (from 0 on) that has all of that.
func (s script) find(t testing.TB, n int, like row) int {
	t.Helper()
	for i, r := range s {
		if r.like(like) {
			if n == 0 {
				return i
			}
			n--
		}
	}
	t.Fatalf("the script has no such row: %v", like)
	return 0
}

func (r row) like(like row) bool {
	for k, v := range like {
		if fmt.Sprint(r[k]) != fmt.Sprint(v) {
			return false
		}
	}
	return true
}

// each changes every row that has all of that, and drops those for which change says so.
func (s script) each(like row, change func(row) (keep bool)) script {
	var out script
	for _, r := range s {
		if !r.like(like) || change(r) {
			out = append(out, r)
		}
	}
	return out
}

// set changes the n-th row that has all of that.
func (s script) set(t testing.TB, n int, like, change row) script {
	t.Helper()
	r := s[s.find(t, n, like)]
	maps.Copy(r, change)
	return s
}

func (s script) drop(t testing.TB, n int, like row) script {
	t.Helper()
	i := s.find(t, n, like)
	return append(s[:i:i], s[i+1:]...)
}

// after puts rows behind the n-th row that has all of that.
func (s script) after(t testing.TB, n int, like row, more ...row) script {
	t.Helper()
	i := s.find(t, n, like) + 1
	return append(append(s[:i:i], more...), s[i:]...)
}

func check(t testing.TB, s script) history.Report {
	t.Helper()
	all, err := history.Read(t.Context(), history.Source{Name: "h", Reader: strings.NewReader(s.String())})
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	if len(all) != 1 {
		t.Fatalf("%d histories of one run", len(all))
	}
	return all[0].Report(5)
}

const ms = 1_000_000

// good is a history in which each invariant has instances and holds: two nodes,
// three devices of two users, a reconnect with a repeat, a refusal, a fault, a
// removal, a revocation, read marks, events, counters and a ledger.
func good() script {
	s := script{
		{"op": "history", "version": 1, "run": "R", "start": "2026-01-01T00:00:00Z"},
		{"op": "device", "dev": "a", "user": "A", "device": "x"},
		{"op": "device", "dev": "b", "user": "B", "device": "x"},
		{"op": "device", "dev": "c", "user": "C", "device": "x"},
		{"op": "conv", "conv": "K", "base": 10},
		{"op": "member", "conv": "K", "user": "A", "kind": "add", "seq": 10, "t": 0},
		{"op": "member", "conv": "K", "user": "B", "kind": "add", "seq": 10, "t": 0},
		{"op": "member", "conv": "K", "user": "C", "kind": "add", "seq": 10, "t": 0, "since": 1},
		{"op": "open", "dev": "a", "sock": "a1", "node": "n1", "session": "SA", "from": row{"K": 10}, "t": 1 * ms},
		{"op": "open", "dev": "b", "sock": "b1", "node": "n2", "session": "SB", "from": row{"K": 10}, "t": 1 * ms},
		{"op": "open", "dev": "c", "sock": "c1", "node": "n2", "session": "SC", "from": row{"K": 10}, "t": 1 * ms},
	}
	// m1 and m2 are pipelined, m3 is refused, m4 comes from the other side.
	s = append(s, sent("a", "a1", "m1", 10), sent("a", "a1", "m2", 11))
	s = append(s, acked("a", "a1", "m1", 11, 20), acked("a", "a1", "m2", 12, 21))
	s = append(s, got("b", "b1", "a", "m1", 11, "live", 22), got("c", "c1", "a", "m1", 11, "live", 22))
	s = append(s, got("b", "b1", "a", "m2", 12, "live", 23), got("c", "c1", "a", "m2", 12, "live", 23))
	s = append(s, sent("a", "a1", "m3", 24), row{"op": "fail", "dev": "a", "sock": "a1", "cmid": "m3", "kind": "definite", "reason": "invalid", "t": 25 * ms})
	s = append(s, sent("b", "b1", "m4", 30), acked("b", "b1", "m4", 13, 35), got("a", "a1", "b", "m4", 13, "live", 36), got("c", "c1", "b", "m4", 13, "live", 36))
	// A page of history is read on the other node.
	s = append(s, row{"op": "read", "dev": "c", "sock": "r1", "conv": "K", "node": "n1", "after": 11, "begin": 40 * ms, "t": 42 * ms},
		got("c", "r1", "a", "m2", 12, "history", 41), got("c", "r1", "b", "m4", 13, "history", 41))
	// C's session ends, and C is removed.
	s = append(s, row{"op": "revoke", "session": "SC", "t": 45 * ms}, row{"op": "close", "dev": "c", "sock": "c1", "code": 4410, "t": 46 * ms},
		row{"op": "member", "conv": "K", "user": "C", "kind": "remove", "seq": 13, "t": 47 * ms})
	// m5 loses its answer with the socket, is stored, and is repeated on the next.
	s = append(s, row{"op": "fault", "name": "kill", "t": 50 * ms}, sent("a", "a1", "m5", 51),
		row{"op": "fail", "dev": "a", "sock": "a1", "cmid": "m5", "kind": "indeterminate", "reason": "socket_lost", "t": 52 * ms},
		row{"op": "close", "dev": "a", "sock": "a1", "code": 1006, "t": 52 * ms}, row{"op": "heal", "name": "kill", "t": 60 * ms},
		got("b", "b1", "a", "m5", 14, "live", 61),
		row{"op": "open", "dev": "a", "sock": "a2", "node": "n2", "session": "SA", "from": row{"K": 13}, "t": 62 * ms},
		got("a", "a2", "a", "m5", 14, "resume", 63))
	again := sent("a", "a2", "m5", 64)
	again["again"] = true
	s = append(s, again, acked("a", "a2", "m5", 14, 65))
	// m6 is long before B's socket ends, and m7 comes after that.
	s = append(s, sent("a", "a2", "m6", 100), acked("a", "a2", "m6", 15, 101), got("b", "b1", "a", "m6", 15, "live", 102))
	s = append(s, row{"op": "close", "dev": "b", "sock": "b1", "code": 1012, "t": 15_000 * ms},
		row{"op": "open", "dev": "b", "sock": "b2", "node": "n1", "session": "SB", "from": row{"K": 15}, "t": 15_010 * ms})
	s = append(s, sent("b", "b2", "m7", 15_100), acked("b", "b2", "m7", 16, 15_101), got("a", "a2", "b", "m7", 16, "live", 15_102))
	// Read marks.
	s = append(s, row{"op": "mark", "dev": "a", "conv": "K", "kind": "set", "seq": 13, "begin": 15_110 * ms, "t": 15_111 * ms, "node": "n1"},
		row{"op": "mark", "dev": "a", "conv": "K", "kind": "seen", "seq": 13, "begin": 15_112 * ms, "t": 15_113 * ms, "node": "n2"},
		row{"op": "mark", "dev": "a", "conv": "K", "kind": "final", "seq": 13, "unread": 1, "begin": 15_114 * ms, "t": 15_115 * ms, "node": "n1"},
		row{"op": "mark", "dev": "a", "conv": "K", "kind": "final", "seq": 13, "unread": 1, "begin": 15_114 * ms, "t": 15_115 * ms, "node": "n2"})
	s = append(s, row{"op": "caught_up", "dev": "a", "conv": "K", "seq": 16, "t": 26_000 * ms}, row{"op": "caught_up", "dev": "b", "conv": "K", "seq": 16, "t": 26_000 * ms})
	return append(s, atTheEnd()...)
}

// stored are the messages of good, from sequence 11 on.
var stored = []struct{ by, cmid string }{{"a", "m1"}, {"a", "m2"}, {"b", "m4"}, {"a", "m5"}, {"a", "m6"}, {"b", "m7"}}

func atTheEnd() (s script) {
	s = append(s, row{"op": "handled", "service": "user", "id": "A", "kind": "done", "t": 26_000 * ms})
	for _, node := range []string{"n1", "n2"} {
		for i, m := range stored {
			s = append(s, row{"op": "log", "node": node, "conv": "K", "seq": 11 + i, "msg": "M" + m.cmid, "cmid": m.cmid, "by": m.by, "hash": "h" + m.cmid, "version": 1})
		}
		s = append(s, row{"op": "logged", "node": node, "conv": "K", "t": 26_001 * ms})
	}
	for i, m := range stored {
		s = append(s, row{"op": "event", "topic": "messages", "partition": 0, "offset": i, "id": "e" + m.cmid, "type": "message.sent", "conv": "K", "seq": 11 + i, "msg": "M" + m.cmid, "cmid": m.cmid, "by": m.by, "hash": "h" + m.cmid})
	}
	return append(s,
		row{"op": "event", "topic": "messages", "partition": 0, "offset": 6, "id": "em7", "type": "message.sent", "conv": "K", "seq": 16, "msg": "Mm7", "cmid": "m7", "by": "b", "hash": "hm7"}, // again
		row{"op": "event", "topic": "users", "partition": 0, "offset": 0, "id": "u1", "type": "user.registered"},
		row{"op": "events", "topic": "messages", "t": 26_002 * ms},
		row{"op": "outbox", "service": "messaging", "depth": 0, "t": 26_002 * ms},
		row{"op": "metrics", "node": "n1", "delta": row{"messages_accepted_total": 5, "messages_committed_total": 3, "messages_repeated_total": 1, "messages_rejected_total": 1}},
		row{"op": "metrics", "node": "n2", "delta": row{"messages_accepted_total": 3, "messages_committed_total": 3, "message_deliveries_total": 12}},
		row{"op": "shutdown", "node": "n1", "accepted": 5, "committed": 4, "rejected": 1, "unknown": 0, "acknowledged": 4, "goroutines_left": 0, "exit": 0},
	)
}

func sent(dev, sock, cmid string, t int) row {
	return row{"op": "send", "dev": dev, "sock": sock, "conv": "K", "cmid": cmid, "hash": "h" + cmid, "t": t * ms}
}

func acked(dev, sock, cmid string, seq, t int) row {
	return row{"op": "ack", "dev": dev, "sock": sock, "cmid": cmid, "msg": "M" + cmid, "seq": seq, "t": t * ms}
}

func got(dev, sock, by, cmid string, seq int, src string, t int) row {
	return row{"op": "recv", "dev": dev, "sock": sock, "conv": "K", "seq": seq, "msg": "M" + cmid, "cmid": cmid, "by": by, "hash": "h" + cmid, "src": src, "t": t * ms}
}
