package main

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
)

// names are the names of all classes.
func names() (list []string) {
	for _, c := range classes {
		list = append(list, c.name)
	}
	return list
}

// choose gives the classes of a list of names.
func choose(list string) ([]class, error) {
	if list == "all" {
		return classes, nil
	}
	var chosen []class
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(classes, func(c class) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no class of faults is named %q: there are %s", name, strings.Join(names(), ", "))
		}
		if !slices.ContainsFunc(chosen, func(c class) bool { return c.name == name }) {
			chosen = append(chosen, classes[i])
		}
	}
	return chosen, nil
}

// part is what is played on one deployment.
type part struct {
	brokers int
	classes []class
}

// schedule brings the classes into the seed's order, by the brokers they need.
func schedule(all []class, seed uint64) (parts []part) {
	mixed := slices.Clone(all)
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	slices.SortStableFunc(mixed, func(a, b class) int { return cmp.Compare(a.brokers, b.brokers) })
	for _, c := range mixed {
		if len(parts) == 0 || parts[len(parts)-1].brokers != c.brokers {
			parts = append(parts, part{brokers: c.brokers})
		}
		last := &parts[len(parts)-1]
		last.classes = append(last.classes, c)
	}
	return parts
}

// number stands for the class's name in seeds.
func (c class) number() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.name)) // never fails
	return h.Sum64()
}
