package blob_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-chat/nova/internal/blob"
	"github.com/nova-chat/nova/internal/blob/blobtest"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDisk(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		d, _ := open(t, t.TempDir())
		return d
	})
}

func open(t *testing.T, dir string) (*blob.Disk, *obs.Obs) {
	t.Helper()
	o, err := obs.New(obs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := run.New(o)
	t.Cleanup(func() {
		if err := g.Stop(context.Background()).Err(); err != nil {
			t.Error(err)
		}
	})
	d, err := blob.NewDisk(o, g, dir)
	if err != nil {
		t.Fatal(err)
	}
	return d, o
}

func put(t *testing.T, d *blob.Disk, name, content string) {
	t.Helper()
	if err := d.Put(context.Background(), name, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

// files lists all files below a folder.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantFailures(t *testing.T, o *obs.Obs, reason string, want string) {
	t.Helper()
	rec := httptest.NewRecorder()
	o.Metrics.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if line := `blob_failures_total{reason="` + reason + `"} ` + want; !strings.Contains(rec.Body.String(), "\n"+line+"\n") {
		t.Errorf("the metrics lack %s", line)
	}
}

func TestObjectsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	first, _ := open(t, dir)
	put(t, first, "a/b", "hello")
	second, _ := open(t, dir)
	r, _, err := second.Get(context.Background(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Every byte of a stored file matters: whichever is flipped, cut off or added,
// no reader gets a byte that was not put.
func TestDamageIsNeverHandedOut(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 50_000/16*16)
	for name, damage := range map[string]func([]byte) []byte{
		"first byte":   func(b []byte) []byte { b[0] ^= 1; return b },
		"third piece":  func(b []byte) []byte { b[600_000] ^= 1; return b },
		"sum table":    func(b []byte) []byte { b[len(content)+5] ^= 1; return b },
		"mark":         func(b []byte) []byte { b[len(b)-80] ^= 1; return b },
		"size":         func(b []byte) []byte { b[len(b)-65] ^= 1; return b },
		"huge size":    func(b []byte) []byte { b[len(b)-72] ^= 0x7f; return b },
		"whole sum":    func(b []byte) []byte { b[len(b)-64] ^= 1; return b },
		"table's sum":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"cut":          func(b []byte) []byte { return b[:len(b)-1] },
		"cut short":    func(b []byte) []byte { return b[:10] },
		"empty":        func([]byte) []byte { return nil },
		"longer":       func(b []byte) []byte { return append(b, 0) },
		"pieces moved": func(b []byte) []byte { return append(append([]byte{}, b[16:]...), b[:16]...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, o := open(t, dir)
			put(t, d, "x", content)
			spoil(t, filepath.Join(dir, "objects", "x~"), damage)
			r, _, err := d.Get(context.Background(), "x")
			if err == nil {
				var got []byte
				got, err = io.ReadAll(r)
				if !strings.HasPrefix(content, string(got)) {
					t.Error("damaged bytes were handed out")
				}
				_ = r.Close()
			}
			if !fault.Is(err, fault.CodeInternal) {
				t.Errorf("got error %v, want internal", err)
			}
			wantFailures(t, o, "corrupt", "1")
		})
	}
}

func spoil(t *testing.T, file string, damage func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, damage(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatShrinksWhileItIsReadIsNoEnd(t *testing.T) {
	dir := t.TempDir()
	d, _ := open(t, dir)
	put(t, d, "x", strings.Repeat("x", 600_000))
	r, _, err := d.Get(context.Background(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := os.Truncate(filepath.Join(dir, "objects", "x~"), 300_000); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !fault.Is(err, fault.CodeInternal) {
		t.Errorf("got error %v, want internal", err)
	}
}

func TestNobodyElseMayRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	d, _ := open(t, dir)
	put(t, d, "a/b", "hello")
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestASymbolicLinkLeadsNowhere(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	d, _ := open(t, dir)
	if err := os.Symlink(outside, filepath.Join(dir, "objects", "out")); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(context.Background(), "out/x", strings.NewReader("abc"), 3); err == nil {
		t.Error("a put through a link out of the folder was accepted")
	}
	if left := files(t, outside); len(left) != 0 {
		t.Errorf("written outside: %v", left)
	}
}

func TestWhatACrashLeftIsSwept(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	old, fresh := filepath.Join(dir, "incoming", "old"), filepath.Join(dir, "incoming", "fresh")
	for _, f := range []string{old, fresh} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, before, before); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if left := files(t, dir); len(left) != 1 || left[0] != fresh {
		t.Errorf("left: %v, want what another process may be writing: %s", left, fresh)
	}
}

func TestAFailedPutLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	d, _ := open(t, dir)
	if err := d.Put(context.Background(), "a/b", strings.NewReader("abc"), 4); err == nil {
		t.Fatal("a short object was accepted")
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestReasons(t *testing.T) {
	for errno, want := range map[syscall.Errno]struct {
		code   fault.Code
		reason string
	}{
		syscall.ENOSPC: {fault.CodeStorageFull, "full"},
		syscall.EDQUOT: {fault.CodeStorageFull, "full"},
		syscall.EIO:    {fault.CodeUnavailable, "unreachable"},
		syscall.EROFS:  {fault.CodeUnavailable, "unreachable"},
		syscall.EACCES: {fault.CodeInternal, "unknown"},
	} {
		d, o := open(t, t.TempDir())
		err := d.Classify(&fs.PathError{Op: "write", Path: "/somewhere", Err: errno})
		if !fault.Is(err, want.code) || !errors.Is(err, errno) || strings.Contains(err.Error(), "somewhere") {
			t.Errorf("%v became %v, want %v", errno, err, want.code)
		}
		wantFailures(t, o, want.reason, "1")
	}
}
