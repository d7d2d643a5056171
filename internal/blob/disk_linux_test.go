package blob_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nova-chat/nova/internal/fault"
)

func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs a small file system, which only root may mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	d, o := open(t, filepath.Join(dir, "blobs"))
	put(t, d, "small", "hello")
	big := make([]byte, 4<<20)
	err := d.Put(context.Background(), "big", bytes.NewReader(big), int64(len(big)))
	if !fault.Is(err, fault.CodeStorageFull) || strings.Contains(err.Error(), dir) {
		t.Errorf("got error %v, want storage_full without the path", err)
	}
	wantFailures(t, o, "full", "1")
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	put(t, d, "after", "there is room again")
}
