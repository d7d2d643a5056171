package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nova-chat/nova/internal/blob"
	"github.com/nova-chat/nova/internal/fault"
)

// memory is a store that does what it has to, except for its defects.
type memory struct {
	mu     sync.Mutex
	m      map[string][]byte
	defect string
}

func (s *memory) has(defect string) bool { return s.defect == defect }

func (s *memory) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := s.check(ctx, name); err != nil {
		return err
	}
	if size < 0 {
		return fault.New(fault.CodeBadRequest, "")
	}
	b, err := io.ReadAll(r)
	if s.has("failed puts leave something") && name == "never/there" {
		s.set(name, b)
	}
	if err != nil && !s.has("reader errors are ignored") {
		return fmt.Errorf("read: %w", err)
	}
	if int64(len(b)) != size && !s.has("sizes are not checked") && err == nil {
		return fault.New(fault.CodeBadRequest, "")
	}
	if s.has("large objects are cut") {
		b = b[:min(len(b), 300_000)]
	}
	s.set(name, b)
	return nil
}

func (s *memory) set(name string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.m[name]
	switch {
	case s.has("the old object stays") && old != nil:
	case s.has("objects are written in place") && len(old) > len(b):
		copy(old, b)
		s.m[name] = old[:len(b)]
	case s.has("names are files and folders") && strings.Contains(name, "/") && s.m[name[:strings.LastIndex(name, "/")]] != nil:
	case s.has("writers mix") && old != nil:
		s.m[name] = append(b[:len(b)/2:len(b)/2], old[min(len(b)/2, len(old)):]...)
	default:
		s.m[name] = b
	}
}

func (s *memory) Get(ctx context.Context, name string) (io.ReadSeekCloser, blob.Info, error) {
	if err := s.check(ctx, name); err != nil {
		return nil, blob.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.m[name]
	if !ok && s.has("what is absent is empty") {
		b, ok = []byte{}, true
	}
	if !ok {
		return nil, blob.Info{}, fault.New(fault.CodeNotFound, "")
	}
	info := blob.Info{Size: int64(len(b)), SHA256: sha256.Sum256(b), Modified: time.Now()}
	if s.has("the sum is wrong") {
		info.SHA256[0]++
	}
	return reader{bytes.NewReader(b), s}, info, nil
}

func (s *memory) Delete(ctx context.Context, name string) error {
	if err := s.check(ctx, name); err != nil {
		return err
	}
	if s.has("nothing is deleted") {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, name)
	return nil
}

func (s *memory) check(ctx context.Context, name string) error {
	if ctx.Err() != nil && !s.has("contexts are ignored") {
		return fault.From(ctx.Err())
	}
	if s.has("names are not checked") {
		return nil
	}
	return blob.CheckName(name)
}

type reader struct {
	*bytes.Reader
	s *memory
}

func (r reader) Close() error { return nil }

func (r reader) Seek(offset int64, whence int) (int64, error) {
	if r.s.has("seeking does nothing") {
		return offset, nil
	}
	return r.Reader.Seek(offset, whence)
}

func TestBrokenStoresFail(t *testing.T) {
	defects := map[string][]string{
		"objects of every size come back":          {"large objects are cut", "the sum is wrong"},
		"a reader may begin anywhere":              {"seeking does nothing"},
		"an object that is not there is not found": {"what is absent is empty"},
		"an object is replaced as a whole":         {"the old object stays", "objects are written in place"},
		"a failed put changes nothing":             {"failed puts leave something", "reader errors are ignored", "sizes are not checked"},
		"a deleted object is gone":                 {"nothing is deleted"},
		"bad names are refused":                    {"names are not checked"},
		"names may begin with other names":         {"names are files and folders"},
		"an ended context stops everything":        {"contexts are ignored"},
		"many may use one name at once":            {"writers mix"},
	}
	for _, c := range Checks() {
		if err := c.Run(&memory{m: map[string][]byte{}}); err != nil {
			t.Errorf("%s: a good store does not pass: %v", c.Name, err)
		}
		if len(defects[c.Name]) == 0 {
			t.Errorf("no defect shows that %q can fail", c.Name)
		}
		for _, defect := range defects[c.Name] {
			if err := c.Run(&memory{m: map[string][]byte{}, defect: defect}); err == nil {
				t.Errorf("%s: passed although %s", c.Name, defect)
			}
		}
	}
}
