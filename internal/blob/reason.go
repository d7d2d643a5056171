package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

// classify turns an error into a fault, and counts it if the store is at fault.
// Paths stay out of the cause.
func (d *Disk) classify(err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if foreign, ok := errors.AsType[foreignError](err); ok {
		return foreign.error
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.CodeNotFound, "there is no such object")
	}
	reason, code := reasonOf(err)
	d.failures.Inc(reason)
	return fault.Wrap(code, pathless(err), "")
}

func reasonOf(err error) (obs.StoreReason, fault.Code) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return obs.StoreTimeout, fault.CodeTimeout
	case errors.Is(err, context.Canceled):
		return obs.StoreCanceled, fault.CodeCanceled
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return obs.StoreFull, fault.CodeStorageFull
	case errors.Is(err, errCorrupt), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return obs.StoreCorrupt, fault.CodeInternal
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.EROFS),
		errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, os.ErrClosed):
		return obs.StoreUnreachable, fault.CodeUnavailable
	}
	return obs.StoreUnknown, fault.CodeInternal
}

func pathless(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err
	}
	return err
}
