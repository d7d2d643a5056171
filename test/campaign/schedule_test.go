package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nova-chat/nova/test/servers"
)

func TestClassesAreChosenByName(t *testing.T) {
	chosen, err := choose("redis-kill,kill-node,redis-kill")
	if err != nil || len(chosen) != 2 || chosen[0].name != "redis-kill" || chosen[1].name != "kill-node" {
		t.Errorf("%v, %v", chosen, err)
	}
	if every, err := choose("all"); err != nil || len(every) != len(classes) {
		t.Errorf("%d of %d, %v", len(every), len(classes), err)
	}
	if _, err := choose("redis-kill,storm"); err == nil || !strings.Contains(err.Error(), "storm") || !strings.Contains(err.Error(), "kill-node") {
		t.Errorf("an unknown class: %v", err)
	}
}

func order(seed uint64) (list []string) {
	for _, p := range schedule(classes, seed) {
		for _, c := range p.classes {
			list = append(list, fmt.Sprint(p.brokers, " ", c.name))
		}
	}
	return list
}

func TestTheSeedGivesTheOrder(t *testing.T) {
	one := order(1)
	if !slices.Equal(one, order(1)) || slices.Equal(one, order(2)) {
		t.Error("one seed gives one order, another one another")
	}
	if len(one) != len(classes) || len(slices.Compact(slices.Sorted(slices.Values(one)))) != len(one) {
		t.Errorf("every class is played once: %v", one)
	}
	if !slices.IsSortedFunc(one, func(a, b string) int { return int(a[0]) - int(b[0]) }) {
		t.Errorf("a deployment is made once for each number of brokers: %v", one)
	}
}

// sketch is what a class does in its first cycles.
func sketch(t *testing.T, c class, seed uint64) string {
	t.Helper()
	d := &deployment{postgres: &servers.PostgresServer{}, redis: &servers.RedisServer{}, kafka: &servers.KafkaServer{Nodes: make([]*servers.Server, c.brokers)}, guest: &node{}}
	for i := range nodeCount {
		d.nodes = append(d.nodes, &node{name: fmt.Sprint("n", i+1)})
	}
	s := &scene{deployment: d, Rand: rand.New(rand.NewPCG(seed, c.number()))}
	var b strings.Builder
	for range 4 {
		for _, st := range c.cycle(s) {
			if st.inject == nil || st.heal == nil || st.text == "" {
				t.Errorf("%s: a stroke is done, taken back and has a name: %+v", c.name, st)
			}
			fmt.Fprintln(&b, st.text, st.hold, st.want, st.away)
		}
	}
	return b.String()
}

// TestAClassMeetsTheSameInAnyCompany: what a class does depends on the seed
// alone, so that it can be repeated by itself.
func TestAClassMeetsTheSameInAnyCompany(t *testing.T) {
	varied := 0
	for _, c := range classes {
		one, again, other := sketch(t, c, 7), sketch(t, c, 7), sketch(t, c, 8)
		if one != again {
			t.Errorf("%s: one seed gives two courses", c.name)
		}
		if one != other {
			varied++
		}
	}
	if varied < len(classes)/2 {
		t.Errorf("another seed changes %d of %d classes", varied, len(classes))
	}
}
