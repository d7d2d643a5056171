package blob

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/nova-chat/nova/internal/fault"
)

// A sealed file holds the object, then the SHA-256 of each piece of it, then a
// footer: a mark, the size, the SHA-256 of the whole object, and the SHA-256 of
// all that stands between the object and it. So a reader that begins in the
// middle checks what it hands out without reading the rest.
const (
	pieceSize  = 256 << 10
	sealMark   = "novablob"
	footerSize = len(sealMark) + 8 + 2*sha256.Size
)

var errCorrupt = errors.New("the object is damaged")

// foreignError is an error of the reader that was given to Put.
type foreignError struct{ error }

func (e foreignError) Unwrap() error { return e.error }

// seal writes exactly size bytes of r, and what proves them.
func seal(ctx context.Context, w io.Writer, r io.Reader, size int64) error {
	whole, buf := sha256.New(), make([]byte, min(size, pieceSize))
	var table []byte
	for left := size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := buf[:min(left, pieceSize)]
		if n, err := io.ReadFull(r, piece); err != nil {
			return short(err, size-left+int64(n), size)
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		_, _ = whole.Write(piece) // never fails
		sum := sha256.Sum256(piece)
		table = append(table, sum[:]...)
		left -= int64(len(piece))
	}
	switch _, err := io.ReadFull(r, make([]byte, 1)); {
	case err == nil:
		return fault.Newf(fault.CodeBadRequest, "the object is longer than the %d bytes that were announced", size)
	case err != io.EOF:
		return foreignError{err}
	}
	_, err := w.Write(footer(table, size, whole.Sum(nil)))
	return err
}

func short(err error, have, size int64) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Newf(fault.CodeBadRequest, "the object ends after %d of %d bytes", have, size)
	}
	return foreignError{err}
}

// footer extends the table by the footer.
func footer(table []byte, size int64, whole []byte) []byte {
	table = append(table, sealMark...)
	table = binary.BigEndian.AppendUint64(table, uint64(size))
	table = append(table, whole...)
	sum := sha256.Sum256(table)
	return append(table, sum[:]...)
}

// sealed reads an object, checking every piece before any of it is handed out.
type sealed struct {
	f     *os.File
	size  int64
	table []byte
	pos   int64
	piece []byte
	index int64 // of piece; -1 = none
}

// unseal opens a sealed file. f stays the caller's if it fails.
func unseal(f *os.File) (*sealed, Info, error) {
	stat, err := f.Stat()
	if err != nil {
		return nil, Info{}, err
	}
	end := stat.Size() - int64(footerSize)
	if end < 0 {
		return nil, Info{}, errCorrupt
	}
	foot := make([]byte, footerSize)
	if _, err := f.ReadAt(foot, end); err != nil {
		return nil, Info{}, err
	}
	size := int64(binary.BigEndian.Uint64(foot[len(sealMark):]))
	pieces := size/pieceSize + min(size%pieceSize, 1)
	if size < 0 || size > end || end-size != pieces*sha256.Size {
		return nil, Info{}, errCorrupt
	}
	table := make([]byte, stat.Size()-size)
	if _, err := f.ReadAt(table, size); err != nil {
		return nil, Info{}, err
	}
	body := len(table) - sha256.Size
	if sha256.Sum256(table[:body]) != [sha256.Size]byte(table[body:]) || string(foot[:len(sealMark)]) != sealMark {
		return nil, Info{}, errCorrupt
	}
	info := Info{Size: size, SHA256: [sha256.Size]byte(table[body-sha256.Size : body]), Modified: stat.ModTime()}
	return &sealed{f: f, size: size, table: table, index: -1}, info, nil
}

// Read is part of io.Reader.
func (s *sealed) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if s.pos >= s.size {
		return 0, io.EOF
	}
	if err := s.load(s.pos / pieceSize); err != nil {
		return 0, err
	}
	n := copy(p, s.piece[s.pos%pieceSize:])
	s.pos += int64(n)
	return n, nil
}

func (s *sealed) load(index int64) error {
	if s.index == index {
		return nil
	}
	s.index = -1
	if s.piece == nil {
		s.piece = make([]byte, min(s.size, pieceSize))
	}
	from := index * pieceSize
	s.piece = s.piece[:min(pieceSize, s.size-from)]
	if _, err := s.f.ReadAt(s.piece, from); err == io.EOF {
		return errCorrupt // shorter than its footer said; not the object's end
	} else if err != nil {
		return err
	}
	if sha256.Sum256(s.piece) != [sha256.Size]byte(s.table[index*sha256.Size:]) {
		return errCorrupt
	}
	s.index = index
	return nil
}

// Seek is part of io.Seeker.
func (s *sealed) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, fault.OnField(fault.CodeBadRequest, "offset", "not before the beginning")
	}
	s.pos = offset
	return offset, nil
}

// Close is part of io.Closer.
func (s *sealed) Close() error { return s.f.Close() }
