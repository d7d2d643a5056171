package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nova-chat/nova/internal/blob"
	"github.com/nova-chat/nova/internal/fault"
)

// Check is one thing that a store has to do. Run gets an empty store.
type Check struct {
	Name string
	Run  func(blob.Store) error
}

// Run runs all checks, each on a store that open makes anew.
func Run(t *testing.T, open func(*testing.T) blob.Store) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Checks lists what a store has to do.
func Checks() []Check {
	return []Check{
		{"objects of every size come back", sizes},
		{"a reader may begin anywhere", seek},
		{"an object that is not there is not found", absent},
		{"an object is replaced as a whole", replace},
		{"a failed put changes nothing", failedPut},
		{"a deleted object is gone", remove},
		{"bad names are refused", badNames},
		{"names may begin with other names", nested},
		{"an ended context stops everything", ended},
		{"many may use one name at once", parallel},
	}
}

// some makes n bytes that look random and depend on n alone.
func some(n int) []byte {
	b, r := make([]byte, n), rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(b) // never fails
	return b
}

func put(s blob.Store, name string, b []byte) error {
	if err := s.Put(context.Background(), name, bytes.NewReader(b), int64(len(b))); err != nil {
		return fmt.Errorf("put %q: %w", name, err)
	}
	return nil
}

func get(s blob.Store, name string) (b []byte, info blob.Info, err error) {
	r, info, err := s.Get(context.Background(), name)
	if err != nil {
		return nil, info, fmt.Errorf("get %q: %w", name, err)
	}
	b, err = io.ReadAll(r)
	return b, info, errors.Join(err, r.Close())
}

func want(s blob.Store, name string, b []byte) error {
	got, info, err := get(s, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, b) {
		return fmt.Errorf("%q came back with %d bytes that are not the %d that were put", name, len(got), len(b))
	}
	if info.Size != int64(len(b)) || info.SHA256 != sha256.Sum256(b) {
		return fmt.Errorf("%q: info %d bytes, sum %x; want %d, %x", name, info.Size, info.SHA256, len(b), sha256.Sum256(b))
	}
	if age := time.Since(info.Modified); age < -time.Minute || age > time.Hour {
		return fmt.Errorf("%q was modified at %v, it is %v", name, info.Modified, time.Now())
	}
	return nil
}

func wantCode(err error, code fault.Code) error {
	if fault.Is(err, code) {
		return nil
	}
	return fmt.Errorf("got error %w, want %v", err, code)
}

func sizes(s blob.Store) error {
	const piece = 256 << 10
	for _, n := range []int{0, 1, 31, piece - 1, piece, piece + 1, 2 * piece, 3*piece + 7} {
		name := fmt.Sprintf("sizes/%d", n)
		if err := put(s, name, some(n)); err != nil {
			return err
		}
		if err := want(s, name, some(n)); err != nil {
			return err
		}
	}
	slow := iotest.OneByteReader(bytes.NewReader(some(1000)))
	if err := s.Put(context.Background(), "slow", slow, 1000); err != nil {
		return fmt.Errorf("put from a slow reader: %w", err)
	}
	return want(s, "slow", some(1000))
}

func seek(s blob.Store) (err error) {
	all := some(700_000)
	if err := put(s, "seek", all); err != nil {
		return err
	}
	r, _, err := s.Get(context.Background(), "seek")
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := iotest.TestReader(readSeeker{r}, all); err != nil {
		return fmt.Errorf("the reader: %w", err)
	}
	for _, from := range []int64{699_999, 262_143, 262_144, 0, 700_000, 700_005} {
		if at, err := r.Seek(from, io.SeekStart); err != nil || at != from {
			return fmt.Errorf("seek to %d gave %d, %w", from, at, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, all[min(from, int64(len(all))):]) {
			return fmt.Errorf("from %d came %d bytes, %w", from, len(got), err)
		}
	}
	if at, err := r.Seek(-10, io.SeekEnd); err != nil || at != 699_990 {
		return fmt.Errorf("seek from the end gave %d, %w", at, err)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		return errors.New("a seek before the beginning was accepted")
	}
	return nil
}

// readSeeker hides Close from the test of the reader.
type readSeeker struct{ io.ReadSeeker }

func absent(s blob.Store) error {
	r, _, err := s.Get(context.Background(), "absent/object")
	if r != nil {
		return errors.New("a reader was given")
	}
	return wantCode(err, fault.CodeNotFound)
}

func replace(s blob.Store) error {
	first, second := some(300_000), some(10)
	if err := put(s, "name", first); err != nil {
		return err
	}
	r, _, err := s.Get(context.Background(), "name")
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if err := errors.Join(put(s, "name", second), want(s, "name", second)); err != nil {
		return errors.Join(err, r.Close())
	}
	old, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(old, first) {
		err = errors.New("a reader that was open saw another object's bytes")
	}
	return errors.Join(err, r.Close())
}

var errReader = errors.New("the reader broke on purpose")

func failedPut(s blob.Store) error {
	if err := put(s, "kept", some(20)); err != nil {
		return err
	}
	broken := func() io.Reader { return io.MultiReader(bytes.NewReader(some(300_000)), iotest.ErrReader(errReader)) }
	for _, c := range []struct {
		name string
		r    func() io.Reader
		size int64
		is   func(error) bool
	}{
		{"too short", func() io.Reader { return strings.NewReader("abc") }, 4, badRequest},
		{"too long", func() io.Reader { return strings.NewReader("abcde") }, 4, badRequest},
		{"not empty", func() io.Reader { return strings.NewReader("a") }, 0, badRequest},
		{"negative size", func() io.Reader { return strings.NewReader("abc") }, -1, badRequest},
		{"broken reader", broken, 400_000, func(err error) bool { return errors.Is(err, errReader) }},
		{"broken at the end", broken, 300_000, func(err error) bool { return errors.Is(err, errReader) }},
	} {
		for _, name := range []string{"kept", "never/there"} {
			if err := s.Put(context.Background(), name, c.r(), c.size); !c.is(err) {
				return fmt.Errorf("put %q, %s: got error %w", name, c.name, err)
			}
		}
		if err := want(s, "kept", some(20)); err != nil {
			return fmt.Errorf("after a put that was %s: %w", c.name, err)
		}
		if _, _, err := get(s, "never/there"); !fault.Is(err, fault.CodeNotFound) {
			return fmt.Errorf("after a put that was %s: get gave %w", c.name, err)
		}
	}
	return nil
}

func badRequest(err error) bool { return fault.Is(err, fault.CodeBadRequest) }

func remove(s blob.Store) error {
	if err := errors.Join(put(s, "a/b", some(5)), put(s, "a/c", some(6))); err != nil {
		return err
	}
	for range 2 { // what is not there is no error
		if err := s.Delete(context.Background(), "a/b"); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if _, _, err := get(s, "a/b"); !fault.Is(err, fault.CodeNotFound) {
			return fmt.Errorf("get after delete gave %w", err)
		}
	}
	return want(s, "a/c", some(6))
}

func badNames(s blob.Store) error {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "a/./b", ".hidden", "a/.hidden", "-a",
		"a b", "a\x00b", "a\nb", `a\b`, "ä", "a~", "a:b", "%2e%2e", strings.Repeat("a", 129),
		strings.Repeat("a/", 8) + "a", strings.Repeat(strings.Repeat("a", 100)+"/", 5) + "abcdefghijklm",
	} {
		err := s.Put(context.Background(), name, strings.NewReader("abc"), 3)
		if wrong := wantCode(err, fault.CodeBadID); wrong != nil {
			return fmt.Errorf("put %q: %w", name, wrong)
		}
		_, _, err = s.Get(context.Background(), name)
		if wrong := wantCode(err, fault.CodeBadID); wrong != nil {
			return fmt.Errorf("get %q: %w", name, wrong)
		}
		if wrong := wantCode(s.Delete(context.Background(), name), fault.CodeBadID); wrong != nil {
			return fmt.Errorf("delete %q: %w", name, wrong)
		}
	}
	for _, name := range []string{"a", "0", strings.Repeat("a", 128), "a/b/c/d/e/f/g/h", "A-1_2.png", "a..b"} {
		if err := errors.Join(put(s, name, some(3)), want(s, name, some(3))); err != nil {
			return err
		}
	}
	return nil
}

func nested(s blob.Store) error {
	names := []string{"a/b", "a", "a/b/c"}
	for i, name := range names {
		if err := put(s, name, some(i+1)); err != nil {
			return err
		}
	}
	if err := s.Delete(context.Background(), "a/b"); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return errors.Join(want(s, "a", some(2)), want(s, "a/b/c", some(3)))
}

func ended(s blob.Store) error {
	if err := put(s, "kept", some(3)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := wantCode(s.Put(ctx, "kept", strings.NewReader("abcd"), 4), fault.CodeCanceled); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	_, _, err := s.Get(ctx, "kept")
	if err := wantCode(err, fault.CodeCanceled); err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if err := wantCode(s.Delete(ctx, "kept"), fault.CodeCanceled); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return want(s, "kept", some(3))
}

// parallel writes and reads one name; a reader sees one of the objects as a whole.
func parallel(s blob.Store) error {
	if err := put(s, "p/q/r", some(1000)); err != nil {
		return err
	}
	errs := make([]error, 8)
	var done sync.WaitGroup
	for i := range errs {
		done.Go(func() { errs[i] = putAndGet(s, 1000+i) })
	}
	done.Wait()
	return errors.Join(errs...)
}

func putAndGet(s blob.Store, size int) error {
	for range 5 {
		if err := put(s, "p/q/r", some(size)); err != nil {
			return err
		}
		got, _, err := get(s, "p/q/r")
		if err != nil {
			return err
		}
		if !bytes.Equal(got, some(len(got))) {
			return fmt.Errorf("got %d bytes that nobody put", len(got))
		}
	}
	return nil
}
