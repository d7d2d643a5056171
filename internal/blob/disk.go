package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/run"
)

const (
	objects  = "objects"  // finished ones; a name is its path here, with suffix
	incoming = "incoming" // unfinished ones, on the same file system

	// suffix is no character of names, so an object never has the path of a
	// folder that another object's name needs.
	suffix = "~"

	// abandoned is the age at which an unfinished object has no writer any more.
	abandoned = time.Hour

	closeTime = 2 * time.Second
)

// Disk is a Store in a folder. It is safe for concurrent use, also by several
// processes.
type Disk struct {
	failures obs.CounterBy[obs.StoreReason]
	root     *os.Root
}

var _ Store = (*Disk)(nil)

// NewDisk opens a store in a folder, which it creates, and removes what a crash
// left unfinished. It is closed by a step of the group.
func NewDisk(o *obs.Obs, g *run.Group, dir string) (*Disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("blob folder: %w", err)
	}
	d := &Disk{failures: o.Metrics.Blobs(), root: root}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("blob folder: %w", err), root.Close())
	}
	g.OnStop("blob", closeTime, func(context.Context) error { return root.Close() })
	return d, nil
}

func (d *Disk) prepare() error {
	for _, dir := range []string{objects, incoming} {
		if err := d.makeFolder(dir); err != nil {
			return err
		}
	}
	left, err := fs.ReadDir(d.root.FS(), incoming)
	if err != nil {
		return err
	}
	for _, entry := range left {
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) > abandoned {
			err = d.root.Remove(path.Join(incoming, entry.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Put is part of Store.
func (d *Disk) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if size < 0 {
		return fault.OnField(fault.CodeBadRequest, "size", "at least 0")
	}
	temp := path.Join(incoming, id.New())
	err := d.write(ctx, temp, r, size)
	if err == nil {
		err = d.move(temp, place(name))
	}
	if err != nil {
		_ = d.root.Remove(temp) // if it fails too, the next start sweeps
	}
	return d.classify(err)
}

func place(name string) string { return path.Join(objects, name) + suffix }

func (d *Disk) write(ctx context.Context, temp string, r io.Reader, size int64) (err error) {
	f, err := d.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := seal(ctx, f, r, size); err != nil {
		return err
	}
	return f.Sync()
}

func (d *Disk) move(temp, to string) error {
	if err := d.makeFolders(path.Dir(to)); err != nil {
		return err
	}
	if err := d.root.Rename(temp, to); err != nil {
		return err
	}
	return d.sync(path.Dir(to))
}

func (d *Disk) makeFolders(dir string) error {
	if _, err := d.root.Stat(dir); err == nil {
		return nil
	}
	if err := d.makeFolders(path.Dir(dir)); err != nil {
		return err
	}
	return d.makeFolder(dir)
}

func (d *Disk) makeFolder(dir string) error {
	if err := d.root.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return d.sync(path.Dir(dir))
}

func (d *Disk) sync(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get is part of Store.
func (d *Disk) Get(ctx context.Context, name string) (io.ReadSeekCloser, Info, error) {
	if err := CheckName(name); err != nil {
		return nil, Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return nil, Info{}, d.classify(err)
	}
	f, err := d.root.Open(place(name))
	if err != nil {
		return nil, Info{}, d.classify(err)
	}
	s, info, err := unseal(f)
	if err != nil {
		return nil, Info{}, errors.Join(d.classify(err), f.Close())
	}
	return &object{disk: d, sealed: s}, info, nil
}

// Delete is part of Store. It leaves the folders of the name.
func (d *Disk) Delete(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return d.classify(err)
	}
	err := d.root.Remove(place(name))
	if err == nil {
		err = d.sync(path.Dir(place(name)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return d.classify(err)
}

// object is an open object whose errors are faults.
type object struct {
	disk *Disk
	*sealed
}

// Read is part of io.Reader.
func (o *object) Read(p []byte) (int, error) {
	n, err := o.sealed.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = o.disk.classify(err)
	}
	return n, err
}
