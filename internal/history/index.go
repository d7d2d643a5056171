package history

import "slices"

// The index keeps every name as a small number and every line as its number, so
// that a history of millions of lines fits into memory many times over. -1 as
// an index means none.

// History is the index of one run. It is not changed by being judged.
type History struct {
	Run   string
	Lines int

	files   []file
	users   names
	convs   []conversation
	nodes   names
	devices []device
	ops     []op
	subs    []submission
	repeats []answer // acks of an op after its first
	socks   []socket
	recvs   []reception // in the order of their lines, resyncs too

	members   []member
	reads     []reading
	caught    []caughtUp
	marks     []mark
	revokes   []revocation
	faults    []window
	leftOpen  int64   // answers that leave a send open
	logs      []entry // by node and conversation, then as they came
	logged    []logRead
	events    []event
	topics    map[int32]uint32 // read to the end, with the line that says so
	topicList names
	handled   []handling
	outboxes  []depth
	metrics   []metric
	shutdowns []shutdown
}

// file is one file and where its lines begin.
type file struct {
	name  string
	first uint32 // number of its first line in the history
}

type conversation struct {
	name  string
	base  int64 // the history covers what is above
	spots spots
	ops   []int32 // by first submission's line
	last  int64   // greatest sequence that any log or answer shows
}

type device struct {
	name string // USER/DEVICE
	user int32
}

// op is one message that a device means to send, however often it tries.
type op struct {
	dev    int32
	conv   int32 // -1 = never sent, and only seen elsewhere
	hash   uint64
	hashes []uint64 // other bodies under the same identifier
	line   uint32   // of the first submission
	sendT  int64    // of the first submission
	sends  int32
	sock   int32 // of the first submission
	roamed bool  // it was submitted on other sockets too

	refused int32 // definite answers
	open    int32 // answers that leave it open, and sockets that were lost

	ackLine uint32 // 0 = never answered
	ackT    int64
	msg     uint64
	seq     int64
}

func (o *op) sent() bool  { return o.line > 0 }
func (o *op) acked() bool { return o.ackLine > 0 }

// is says whether the op was ever sent with that body.
func (o *op) is(hash uint64) bool { return o.hash == hash || slices.Contains(o.hashes, hash) }

// submission is one attempt.
type submission struct {
	op, sock int32
	line     uint32
	again    bool
}

type answer struct {
	op   int32
	seq  int64
	msg  uint64
	line uint32
}

type socket struct {
	dev, node, session int32
	openT, closeT      int64
	closed, page       bool // page = a page of history, no socket
	line               uint32
	from               []place
}

type place struct {
	conv int32
	seq  int64
}

// source is where a reception came from.
type source uint8

const (
	live source = iota
	resumed
	fetched // read over REST
	resynced
)

type reception struct {
	op, dev, sock, conv int32 // sock -1 = none; conv -1 = all, of a resync
	seq, t              int64
	msg, hash           uint64
	line                uint32
	src                 source
}

type member struct {
	conv, user int32
	added      bool
	seq, since int64 // since = first sequence that its history shows
	t          int64
	line       uint32
}

// reading is one page of history, whose messages are receptions on its sock.
type reading struct {
	sock, conv, node int32
	after            int64
	more             bool
	begin            int64
	line             uint32
}

type caughtUp struct {
	dev, conv int32
	seq, t    int64
	line      uint32
}

// mark is a read mark: set and answered, seen, or seen at the end.
type mark struct {
	user, conv, node int32
	seq              int64
	unread           int64 // -1 = not said
	begin, t         int64
	set, final       bool
	line             uint32
}

type revocation struct {
	session int32
	t       int64
	within  int64
	line    uint32
}

// window is a fault, from its injection to its healing.
type window struct {
	name     string
	from, to int64
	line     uint32
}

// entry is one row of a node's log.
type entry struct {
	node, conv, op int32
	seq, version   int64
	msg, hash      uint64
	line           uint32
}

type logRead struct {
	node, conv int32
	line       uint32
}

type event struct {
	topic     int32
	partition int32
	offset    int64
	id        uint64
	conv, op  int32 // -1 = not about a message
	seq       int64
	msg, hash uint64
	line      uint32
}

// handling is what came of an event at a service that handles it.
type handling struct {
	service, id string
	done        bool
	line        uint32
}

type depth struct {
	service string
	n       int64
	t       int64
	line    uint32
}

type metric struct {
	node  string
	delta map[string]int64
	line  uint32
}

type shutdown struct {
	node                                            string
	accepted, committed, rejected, unknown, answers int64
	goroutines, exit                                int64
	line                                            uint32
}
