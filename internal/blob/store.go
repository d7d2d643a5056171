package blob

import (
	"context"
	"crypto/sha256"
	"io"
	"strings"
	"time"

	"github.com/nova-chat/nova/internal/fault"
)

// Store keeps objects by name. Its errors are faults.
type Store interface {
	// Put stores exactly size bytes of r, in place of what had the name. Fewer or
	// more are refused with bad_request; an error of r's is given back as it is.
	Put(ctx context.Context, name string, r io.Reader, size int64) error

	// Get opens an object; not_found if there is none. The reader stays valid when
	// the object is replaced or deleted. ctx is for the opening alone.
	Get(ctx context.Context, name string) (io.ReadSeekCloser, Info, error)

	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, name string) error
}

// Info describes an object.
type Info struct {
	Size     int64 // bytes
	SHA256   [sha256.Size]byte
	Modified time.Time
}

const (
	maxName    = 512 // bytes
	maxSegment = 128 // bytes
	maxDepth   = 8   // segments
)

// CheckName refuses, with bad_id, what is no name: one to eight segments between
// slashes, each of 1 to 128 letters, digits, dots, lines and dashes, the first
// character a letter or digit; 512 bytes in all. A name may also be the beginning
// of another.
func CheckName(name string) error {
	segments := strings.Split(name, "/")
	if len(name) > maxName || len(segments) > maxDepth {
		return badName()
	}
	for _, s := range segments {
		if s == "" || len(s) > maxSegment || !alphanumeric(s[0]) {
			return badName()
		}
		for i := range len(s) {
			if c := s[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
				return badName()
			}
		}
	}
	return nil
}

func badName() error {
	return fault.OnField(fault.CodeBadID, "name", "1 to 8 segments of A-Z a-z 0-9 . _ - between slashes, each beginning with a letter or digit")
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
