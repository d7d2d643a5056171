package history_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nova-chat/nova/internal/history"
)

func TestGoodHistoryHolds(t *testing.T) {
	r := check(t, good())
	var b strings.Builder
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	if len(r.Broken())+len(r.Undecided()) > 0 {
		t.Errorf("broken %v, not judged %v\n%s", r.Broken(), r.Undecided(), b.String())
	}
	if len(r.Verdicts) != 16 || !strings.Contains(b.String(), "all that was judged holds") {
		t.Errorf("%s", b.String())
	}
}

// TestATryThatWasLeftOpenMayHaveStored: the server could not tell whether m5 was
// stored, and counted its first try as that and its repeat as one.
func TestATryThatWasLeftOpenMayHaveStored(t *testing.T) {
	for committed, broken := range map[int]bool{3: false, 2: false, 1: true} {
		s := good().set(t, 0, row{"op": "fail", "cmid": "m5"}, row{"reason": "unavailable"})
		s = s.set(t, 0, row{"op": "metrics", "node": "n1"}, row{"delta": row{
			"messages_accepted_total": 5, "messages_rejected_total": 1, "messages_unknown_total": 1,
			"messages_committed_total": committed, "messages_repeated_total": 3 - committed,
		}})
		if r := check(t, s); slices.Contains(r.Broken(), "I16") != broken {
			t.Errorf("%d committed: broken %v, %+v", committed, r.Broken(), r.Verdicts[indexOf(r.Verdicts, "I16")])
		}
	}
}

// TestBrokenHistoriesAreNamed breaks the good history in one way each, and the
// checker must name the invariant, and no other.
func TestBrokenHistoriesAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		want    string
		because string
		change  func(t *testing.T, s script) script
	}{
		"an acknowledged message is in no log": {"I1", "not in the log", func(t *testing.T, s script) script {
			// the last one: it leaves no hole, and its event and row are gone too
			s = s.each(row{"op": "log", "cmid": "m7"}, func(row) bool { return false })
			return s.set(t, 0, row{"op": "metrics", "node": "n2"}, row{"delta": row{"messages_accepted_total": 3, "messages_committed_total": 2, "messages_repeated_total": 1}})
		}},
		"stored elsewhere than acknowledged": {"I1", "under another id", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "ack", "cmid": "m6"}, row{"msg": "other"})
		}},
		"somebody else's message": {"I2", "never sent", func(t *testing.T, s script) script {
			// m7 without its send and answer, as if it came from nowhere
			s = s.drop(t, 0, row{"op": "send", "cmid": "m7"}).drop(t, 0, row{"op": "ack", "cmid": "m7"})
			s = s.set(t, 0, row{"op": "close", "sock": "b1"}, row{})
			return s.each(row{"op": "metrics"}, func(row) bool { return false })
		}},
		"another body": {"I2", "another body", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "recv", "cmid": "m4", "dev": "a"}, row{"hash": "other"})
		}},
		"refused and stored": {"I2", "definitely refused", func(t *testing.T, s script) script {
			s = s.set(t, 0, row{"op": "ack", "cmid": "m7"}, row{"op": "fail", "kind": "definite"})
			a := s[s.find(t, 0, row{"op": "fail", "cmid": "m7"})]
			delete(a, "msg")
			delete(a, "seq")
			return s.each(row{"op": "metrics"}, func(row) bool { return false })
		}},
		"two answers": {"I3", "when repeated", func(t *testing.T, s script) script {
			s = s.after(t, 0, row{"op": "ack", "cmid": "m6"}, sent("a", "a2", "m6", 103), acked("a", "a2", "m6", 99, 104))
			return s.set(t, 0, row{"op": "metrics", "node": "n2"}, row{"delta": row{"messages_accepted_total": 4, "messages_committed_total": 3, "messages_repeated_total": 1, "message_deliveries_total": 12}})
		}},
		"two rows": {"I3", "more than once", func(t *testing.T, s script) script {
			// the retry of m5 is stored again, as 15, m6 and m7 follow, everybody gets it
			return duplicated(t, s)
		}},
		"a hole": {"I4", "where 16 should be", func(t *testing.T, s script) script {
			return s.each(row{"cmid": "m7"}, func(r row) bool {
				if _, ok := r["seq"]; ok {
					r["seq"] = 17
				}
				return true
			}).each(row{"op": "caught_up"}, func(r row) bool { r["seq"] = 17; return true })
		}},
		"sent after the answer, stored before it": {"I5", "answered before", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "send", "cmid": "m2"}, row{"t": 37 * ms}).set(t, 0, row{"op": "ack", "cmid": "m2"}, row{"t": 38 * ms})
		}},
		"pipelined and turned round": {"I6", "one after the other", func(t *testing.T, s script) script {
			return swapped(t, s)
		}},
		"two devices see different messages": {"I7", "is two messages", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "recv", "cmid": "m4", "dev": "a"}, row{"msg": "other"})
		}},
		"left out on a socket": {"I8", "left out", func(t *testing.T, s script) script {
			s = s.drop(t, 0, row{"op": "recv", "cmid": "m1", "dev": "b"})
			return s.after(t, 0, row{"op": "open", "sock": "b2"}, got("b", "b2", "a", "m1", 11, "history", 15_011))
		}},
		"resumed one too late": {"I8", "left out", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "open", "sock": "b1"}, row{"from": row{"K": 9}}).
				set(t, 0, row{"op": "conv"}, row{"base": 10}).
				drop(t, 0, row{"op": "recv", "cmid": "m1", "dev": "c"}).
				each(row{"op": "caught_up", "dev": "c"}, func(row) bool { return false })
		}},
		"twice on a socket": {"I8", "came after", func(t *testing.T, s script) script {
			return s.after(t, 0, row{"op": "recv", "cmid": "m6"}, got("b", "b1", "a", "m6", 15, "live", 103))
		}},
		"handed back to its sender": {"I8", "over the socket that sent it", func(t *testing.T, s script) script {
			return s.after(t, 0, row{"op": "ack", "cmid": "m6"}, got("a", "a2", "a", "m6", 15, "live", 103))
		}},
		"never arrives": {"I9", "never got", func(t *testing.T, s script) script {
			return s.drop(t, 0, row{"op": "recv", "cmid": "m7"})
		}},
		"arrives late": {"I9", "caught up only after", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "recv", "cmid": "m7"}, row{"t": 25_900 * ms})
		}},
		"lost live and repaired by a reconnect": {"I9", "never came over a socket", func(t *testing.T, s script) script {
			s = s.drop(t, 0, row{"op": "recv", "cmid": "m6"})
			return s.set(t, 0, row{"op": "open", "sock": "b2"}, row{"from": row{"K": 14}}).
				after(t, 0, row{"op": "open", "sock": "b2"}, got("b", "b2", "a", "m6", 15, "resume", 15_011))
		}},
		"received after the removal": {"I10", "no member", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "member", "kind": "remove"}, row{"seq": 12})
		}},
		"received long after the removal": {"I10", "more than 1 s", func(t *testing.T, s script) script {
			// an older message, to a socket of a session that goes on
			s = s.each(row{"op": "revoke"}, func(r row) bool { r["within"] = 60_000 * ms; return true })
			return s.set(t, 0, row{"op": "recv", "cmid": "m4", "dev": "c"}, row{"t": 1_100 * ms})
		}},
		"history from before the joining": {"I10", "does not show", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "member", "user": "C"}, row{"since": 13})
		}},
		"an answer that the other node does not show": {"I11", "was not in it", func(t *testing.T, s script) script {
			return s.drop(t, 0, row{"op": "recv", "cmid": "m4", "src": "history"})
		}},
		"a read mark goes back": {"I12", "went back", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "mark", "kind": "seen"}, row{"seq": 12})
		}},
		"read marks differ": {"I12", "13 and 14", func(t *testing.T, s script) script {
			return s.set(t, 1, row{"op": "mark", "kind": "final"}, row{"seq": 14})
		}},
		"unread messages are counted wrongly": {"I12", "is told 2", func(t *testing.T, s script) script {
			return s.set(t, 1, row{"op": "mark", "kind": "final"}, row{"unread": 2})
		}},
		"versions differ": {"I12", "version 1 and 2", func(t *testing.T, s script) script {
			return s.set(t, 1, row{"op": "log", "cmid": "m2"}, row{"version": 2})
		}},
		"no event": {"I13", "no topic", func(t *testing.T, s script) script {
			return s.drop(t, 0, row{"op": "event", "cmid": "m2"})
		}},
		"events out of order": {"I13", "comes after", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "event", "cmid": "m2"}, row{"offset": 9})
		}},
		"an event that nobody handled": {"I13", "has not done", func(t *testing.T, s script) script {
			return s.after(t, 0, row{"op": "outbox"}, row{"op": "handled", "service": "user", "id": "U", "kind": "missing", "t": 1})
		}},
		"events left": {"I13", "still has 3", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "outbox"}, row{"depth": 3})
		}},
		"received after the session ended": {"I15", "after its session was ended", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "revoke"}, row{"within": 0, "t": 30 * ms})
		}},
		"counters that nobody can explain": {"I16", "messages_accepted_total rose by 9", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "metrics"}, row{"delta": row{"messages_accepted_total": 6, "messages_committed_total": 3, "messages_repeated_total": 1, "messages_rejected_total": 2}})
		}},
		"a ledger that does not balance": {"I17", "accepted 6", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "shutdown"}, row{"accepted": 6})
		}},
		"acknowledged more than was committed": {"I17", "acknowledged 5", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "shutdown"}, row{"acknowledged": 5})
		}},
		"an unclean end": {"I17", "exit code 1", func(t *testing.T, s script) script {
			return s.set(t, 0, row{"op": "shutdown"}, row{"exit": 1})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.change(t, good())
			r := check(t, s)
			if diff := cmp.Diff([]string{c.want}, r.Broken()); diff != "" {
				var b strings.Builder
				_ = r.Print(&b)
				t.Fatalf("broken (-want +got):\n%s%s", diff, b.String())
			}
			v := r.Verdicts[indexOf(r.Verdicts, c.want)]
			if !slices.ContainsFunc(v.Evidence, func(e history.Evidence) bool { return strings.Contains(e.What, c.because) && len(e.Lines) > 0 }) {
				t.Errorf("the evidence is %+v, want %q", v.Evidence, c.because)
			}
		})
	}
}

func indexOf(list []history.Verdict, name string) int {
	for i, v := range list {
		if v.Invariant == name {
			return i
		}
	}
	return -1
}

// shift moves what comes from a sequence on by one.
func shift(s script, from int) script {
	for _, r := range s {
		if seq, ok := r["seq"].(int); ok && seq >= from && r["op"] != "member" && r["op"] != "mark" {
			r["seq"] = seq + 1
		}
	}
	return s
}

// duplicated stores the repeat of m5 once more, as 15, and shows it to everybody.
func duplicated(t *testing.T, s script) script {
	s = shift(s, 15)
	s = s.after(t, 0, row{"op": "recv", "cmid": "m5", "dev": "b"}, got("b", "b1", "a", "m5", 15, "live", 66))
	for n := range 2 {
		again := row{"op": "log", "node": "n1", "conv": "K", "seq": 15, "msg": "Mm5", "cmid": "m5", "by": "a", "hash": "hm5", "version": 1}
		if n == 1 {
			again["node"] = "n2"
		}
		s = s.after(t, 0, row{"op": "log", "node": again["node"], "cmid": "m5"}, again)
	}
	s = s.set(t, 0, row{"op": "open", "sock": "b2"}, row{"from": row{"K": 16}})
	return s.set(t, 0, row{"op": "metrics", "node": "n1"}, row{"delta": row{"messages_accepted_total": 5, "messages_committed_total": 4, "messages_rejected_total": 1}})
}

// swapped stores m2 before m1.
func swapped(_ *testing.T, s script) script {
	for _, r := range s {
		if _, ok := r["seq"]; !ok {
			continue
		}
		switch r["cmid"] {
		case "m1":
			r["cmid"], r["msg"], r["hash"] = "m2", "Mm2", "hm2"
			if r["op"] == "ack" {
				delete(r, "hash")
			}
		case "m2":
			r["cmid"], r["msg"], r["hash"] = "m1", "Mm1", "hm1"
			if r["op"] == "ack" {
				delete(r, "hash")
			}
		}
	}
	return s
}
