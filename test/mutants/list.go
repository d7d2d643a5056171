package main

import (
	"fmt"
	"slices"
	"strings"
)

// mutant is a defect that the checker of histories must find.
type mutant struct {
	tag    string // of the build, see internal/mutant
	defect string
	fault  string // class of the campaign
	seed   uint64
	// named are the invariants of which the checker must name one; none for a
	// defect that Nova makes up for, of which it must name nothing.
	named []string
}

// mutants are all of them, in the order of the way of a message.
var mutants = []mutant{
	{"ack_before_commit", "ack before commit", "postgres-crash", 1, []string{"I1", "I11"}},
	{"commit_error_is_sent", "a COMMIT error answered with sent", "postgres-crash", 1, []string{"I1"}},
	{"no_dedupe_index", "dedupe without its index", "rolling-restart", 1, []string{"I3"}},
	{"dedupe_per_node", "dedupe per node", "kill-node", 1, []string{"I3"}},
	{"sequence_outside", "sequence outside the transaction", "kill-node", 1, []string{"I4"}},
	{"position_early", "relay by a number taken before the commit", "redis-flush", 1, []string{"I9", "I13"}},
	{"cursor_before_broker", "relay's cursor moved before the broker accepts", "kafka-nodes", 1, []string{"I13"}},
	{"no_gap_detector", "gap detector off", "redis-cut", 1, []string{"I8", "I9"}},
	// Harmless: what is not heard is read from the database (decision 0020).
	{"stream_from_end", "XREAD from $ after a reconnect", "redis-readers", 1, nil},
	{"resume_too_late", "resume one too late", "rolling-restart", 1, []string{"I8"}},
	{"read_before_join", "resume reads the log before joining the hub", "slow-resume", 1, []string{"I8"}},
	{"drain_acks_queued", "drain acks what it queued and exits before the commit", "slow-restart", 1, []string{"I1"}},
	{"offset_before_handling", "Kafka's offset committed before handling", "consumer-kill", 1, []string{"I13"}},
	{"outage_is_dead_letter", "an outage sent to dead letters", "consumer-kill", 1, []string{"I13"}},
	{"revoke_one_node", "revocation on one node only", "redis-flush", 1, []string{"I15"}},
}

// choose gives the mutants of a list of tags.
func choose(list string) ([]mutant, error) {
	if list == "all" {
		return mutants, nil
	}
	var chosen []mutant
	for tag := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(mutants, func(m mutant) bool { return m.tag == tag })
		if i < 0 {
			return nil, fmt.Errorf("there is no mutant %q", tag)
		}
		chosen = append(chosen, mutants[i])
	}
	return chosen, nil
}
