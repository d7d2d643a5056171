package load

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/nova-chat/nova/internal/run"
)

// journal writes the history of a run (docs/history.md). A nil journal writes
// nothing and costs a comparison. Rows are put together under one lock, so that
// the file has them in an order in which they may have happened, and are
// written to the file by a goroutine of their own.
type journal struct {
	begin time.Time
	full  chan []byte
	ended chan struct{}
	err   error // of the file; the writer's until it ended

	mu      sync.Mutex // guards what follows
	buf     []byte
	labels  map[string]string // by USER/DEVICE
	scratch []byte
	opened  int
	strange int
}

const (
	journalBlock = 256 << 10 // bytes that go to the file at a time
	journalQueue = 8         // blocks that may wait; then everybody waits
)

// newJournal starts the writer; close ends it.
func newJournal(ctx context.Context, g *run.Group, w io.Writer, begin time.Time) *journal {
	j := &journal{begin: begin, full: make(chan []byte, journalQueue), ended: make(chan struct{}), labels: map[string]string{}}
	g.Go(ctx, "load.history", func(context.Context) {
		defer close(j.ended)
		for block := range j.full {
			if j.err == nil {
				_, j.err = w.Write(block)
			}
		}
	})
	return j
}

// close waits until everything is in the file.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	j.full <- j.buf
	j.buf = nil
	close(j.full)
	j.mu.Unlock()
	<-j.ended
	if j.err != nil {
		return fmt.Errorf("write the history: %w", j.err)
	}
	return nil
}

// now is the time in the history, nanoseconds since its start.
func (j *journal) now() int64 { return int64(time.Since(j.begin)) }

// row begins a row; the lock is held until end.
func (j *journal) row(op string) {
	j.mu.Lock()
	j.buf = append(append(append(j.buf, `{"op":"`...), op...), '"')
}

// end ends a row.
func (j *journal) end() {
	j.buf = append(j.buf, "}\n"...)
	if len(j.buf) >= journalBlock {
		j.full <- j.buf
		j.buf = make([]byte, 0, journalBlock+journalBlock/8)
	}
	j.mu.Unlock()
}

func (j *journal) name(name string) {
	j.buf = append(append(append(j.buf, `,"`...), name...), `":`...)
}

// raw is a text that needs no escape: an identifier, or what a frame has raw.
func (j *journal) raw(name string, text []byte) {
	j.name(name)
	j.buf = append(append(append(j.buf, '"'), text...), '"')
}

// text is any text.
func (j *journal) text(name, text string) {
	j.name(name)
	quoted, _ := json.Marshal(text) // a text can always be written
	j.buf = append(j.buf, quoted...)
}

func (j *journal) number(name string, n int64) {
	j.name(name)
	j.buf = strconv.AppendInt(j.buf, n, 10)
}

func (j *journal) dev(index int) {
	j.name("dev")
	j.buf = append(strconv.AppendInt(append(j.buf, `"d`...), int64(index), 10), '"')
}

func (j *journal) uuid(id uuid) {
	j.name("cmid")
	j.buf = append(id.appendTo(append(j.buf, '"')), '"')
}

// hash stands for a body, so that the file stays small and private.
func (j *journal) hash(body []byte) {
	j.name("hash")
	j.buf = append(appendHash(append(j.buf, '"'), body), '"')
}

// Hash is what a history has of a body.
func Hash(body []byte) string { return string(appendHash(nil, body)) }

func appendHash(b, body []byte) []byte {
	h := fnv.New64a()
	_, _ = h.Write(body) // never fails
	return strconv.AppendUint(b, h.Sum64(), 16)
}

func (j *journal) time() { j.number("t", j.now()) }

// author gives the label of a message's device. One that is not of this run is
// declared when it is met.
func (j *journal) author(user, device []byte) string {
	j.mu.Lock()
	j.scratch = append(append(append(j.scratch[:0], user...), '/'), device...)
	label, ok := j.labels[string(j.scratch)]
	if !ok {
		j.strange++
		label = "x" + strconv.Itoa(j.strange)
		j.labels[string(j.scratch)] = label
	}
	j.mu.Unlock()
	if !ok {
		j.device(label, string(user), string(device))
	}
	return label
}

func (j *journal) device(label, user, device string) {
	j.row("device")
	j.raw("dev", []byte(label))
	j.text("user", user)
	j.text("device", device)
	j.end()
}
