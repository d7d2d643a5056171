package process

import (
	"bytes"
	"strings"
	"sync"
)

// lines is a writer that calls each with every whole line and keeps the last.
type lines struct {
	each func(line string)

	mu   sync.Mutex // guards what follows
	part []byte
	last string
	kept strings.Builder
}

const mostKept = 16 << 10

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.last = string(line)
		if l.kept.Len() < mostKept {
			_, _ = l.kept.WriteString(l.last + "\n")
		}
		l.each(l.last)
		l.part = append(l.part[:0], rest...)
	}
}

func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept.String()
}
