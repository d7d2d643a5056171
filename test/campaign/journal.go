package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// journal is the campaign's own part of a history.
type journal struct {
	clock time.Time

	mu    sync.Mutex // guards what follows
	file  *os.File
	buf   *bufio.Writer
	err   error
	names map[string]string // labels of devices
}

// fields are those of a row, without op.
type fields map[string]any

func newJournal(path, run string, clock time.Time) (*journal, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	j := &journal{clock: clock, file: f, buf: bufio.NewWriter(f), names: map[string]string{}}
	j.row("history", fields{"version": 1, "run": run, "start": clock.UTC().Format(time.RFC3339Nano)})
	return j, nil
}

func (j *journal) now() time.Duration { return time.Since(j.clock) }

// row writes a row. What goes wrong is told by close.
func (j *journal) row(op string, f fields) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.write(op, f)
}

func (j *journal) write(op string, f fields) {
	f["op"] = op
	for name, v := range f {
		if d, ok := v.(time.Duration); ok {
			f[name] = int64(d)
		}
	}
	b, err := json.Marshal(f)
	if err == nil {
		_, err = j.buf.Write(append(b, '\n'))
	}
	j.err = errors.Join(j.err, err)
}

// device gives the label of a device, declared when it is first met.
func (j *journal) device(user, device string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	name := user + "/" + device
	label, known := j.names[name]
	if !known {
		label = fmt.Sprintf("c%d", len(j.names))
		j.names[name] = label
		j.write("device", fields{"dev": label, "user": user, "device": device})
	}
	return label
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(j.err, j.buf.Flush(), j.file.Close())
}
