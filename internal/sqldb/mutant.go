package sqldb

// What only mutants run; see package mutant.

// answerEarly answers batches before the commit, and gives the rest.
func (w *writer) answerEarly(parts []part) (rest []part) {
	for _, p := range parts {
		if p.divisible() {
			rest = append(rest, p)
		} else {
			w.settle([]part{p}, nil)
		}
	}
	return rest
}
