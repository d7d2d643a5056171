package history

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

// Source is one file of a history.
type Source struct {
	Name string
	io.Reader
}

// UnreadableError says which line of which file is no line of a history.
type UnreadableError struct {
	File string
	Line int // from 1 on
	Err  error
}

// Error gives file, line and what is wrong with it.
func (e *UnreadableError) Error() string { return fmt.Sprintf("%s:%d %v", e.File, e.Line, e.Err) }

// Unwrap gives what is wrong.
func (e *UnreadableError) Unwrap() error { return e.Err }

// Read reads files into the histories of their runs, in the order in which the
// runs first appear. Files of one run are one history and share its clock. A
// line that it cannot read is an [UnreadableError].
func Read(ctx context.Context, sources ...Source) ([]*History, error) {
	var all []*builder
	for _, s := range sources {
		r := &reader{ctx: ctx, name: s.Name, in: bufio.NewReaderSize(s, maxLine)}
		b, err := r.header(all)
		if err != nil {
			return nil, err
		}
		if b.h.Lines == 0 {
			all = append(all, b)
		}
		if err := r.body(b); err != nil {
			return nil, err
		}
	}
	var histories []*History
	for _, b := range all {
		b.h.settle()
		histories = append(histories, b.h)
	}
	return histories, nil
}

// maxLine bounds a line: a device may resume thousands of conversations.
const maxLine = 1 << 20

// reader reads the lines of one file.
type reader struct {
	ctx    context.Context
	name   string
	in     *bufio.Reader
	number int
	line   line
}

var (
	errLong = fmt.Errorf("is longer than %d bytes", maxLine-1)
	errTorn = errors.New("has no end: the file was cut off")
)

// next reads a line; io.EOF after the last.
func (r *reader) next() error {
	raw, err := r.in.ReadSlice('\n')
	r.number++
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return r.bad(errLong)
	case errors.Is(err, io.EOF) && len(raw) == 0:
		return io.EOF
	case errors.Is(err, io.EOF):
		return r.bad(errTorn)
	case err != nil:
		return r.bad(err)
	}
	if err := parse(bytes.TrimSuffix(raw, []byte{'\n'}), &r.line); err != nil {
		return r.bad(err)
	}
	return nil
}

func (r *reader) bad(err error) error { return &UnreadableError{r.name, r.number, err} }

var errHeader = errors.New("is no header: a history begins with a line such as {\"op\":\"history\",\"version\":1,\"run\":\"R\"}")

// header reads the first line and gives the run's builder.
func (r *reader) header(known []*builder) (b *builder, err error) {
	if err := r.next(); errors.Is(err, io.EOF) {
		return nil, r.bad(errHeader)
	} else if err != nil {
		return nil, err
	}
	if string(r.line.text[fOp]) != "history" {
		return nil, r.bad(errHeader)
	}
	if v := r.line.num[fVersion]; v != Version {
		return nil, r.bad(fmt.Errorf("says version %d: this program reads version %d", v, Version))
	}
	run := string(r.line.text[fRun])
	for _, other := range known {
		if other.h.Run == run {
			b = other
		}
	}
	if b == nil {
		b = newBuilder(run)
	}
	b.begin(r.name)
	return b, nil
}

func (r *reader) body(b *builder) error {
	const often = 1 << 16 // lines between looks at the context
	for b.h.Lines++; ; b.h.Lines++ {
		if b.h.Lines%often == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		if b.h.Lines == math.MaxInt32 {
			return r.bad(errors.New("is one more than this program can hold"))
		}
		if err := r.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r.line.number = uint32(b.h.Lines) + 1
		if err := b.add(&r.line); err != nil {
			return r.bad(err)
		}
	}
}

// at says where a line of the history is.
func (h *History) at(line uint32) string {
	i := len(h.files) - 1
	for i > 0 && h.files[i].first > line {
		i--
	}
	return fmt.Sprintf("%s:%d", h.files[i].name, line-h.files[i].first+1)
}
