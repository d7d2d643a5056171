package history

import "hash/fnv"

// names gives each name a small number.
type names struct {
	list []string
	of   map[string]int32
}

func (n *names) number(name []byte) int32 {
	if i, ok := n.of[string(name)]; ok {
		return i
	}
	if n.of == nil {
		n.of = map[string]int32{}
	}
	i := int32(len(n.list))
	n.list = append(n.list, string(name))
	n.of[n.list[i]] = i
	return i
}

// find gives -1 for a name that has no number.
func (n *names) find(name []byte) int32 {
	if i, ok := n.of[string(name)]; ok {
		return i
	}
	return -1
}

// identifier stands for a client's message identifier: 128 bits of its hash, so
// that two of a run are never mixed up, and a million of them stay small.
type identifier [16]byte

func identify(text []byte) (id identifier) {
	h := fnv.New128a()
	_, _ = h.Write(text) // never fails
	h.Sum(id[:0])
	return id
}

// digest stands for a message's id or a body's hash.
func digest(text []byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, c := range text {
		h = (h ^ uint64(c)) * prime
	}
	return h
}

// spot is what a sequence of a conversation holds.
type spot struct {
	op   int32 // -1 = nothing is known to be there
	line uint32
	msg  uint64
}

// spots are the sequences of a conversation. Those that a wrong sequence puts
// far away are kept apart, so that it costs no memory.
type spots struct {
	near  []spot
	far   map[int64]spot
	count int64
}

// nearby is how far beyond what is known a sequence may be and still be near.
const nearby = 1 << 16

func (s *spots) get(i int64) (spot, bool) {
	if i >= 0 && i < int64(len(s.near)) && s.near[i].line > 0 {
		return s.near[i], true
	}
	at, ok := s.far[i]
	return at, ok
}

func (s *spots) put(i int64, at spot) {
	s.count++
	if i < 0 || i > 2*s.count+nearby {
		if s.far == nil {
			s.far = map[int64]spot{}
		}
		s.far[i] = at
		return
	}
	for int64(len(s.near)) <= i {
		s.near = append(s.near, spot{op: -1})
	}
	s.near[i] = at
	delete(s.far, i)
}
