package sqldb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// FolderLock is a process's hold on a data folder. It ends with the process,
// however that ends.
type FolderLock struct{ file *os.File }

// LockFolder takes the folder for a server: a second server is refused, with
// the process id of the first. Other commands that only write through their
// own connections, such as seeding, do not take it and work beside a server.
func LockFolder(dir string) (*FolderLock, error) {
	f, err := lockFile(dir, "LOCK", syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, &folderInUse{holder(dir)}
	}
	if err != nil {
		return nil, err
	}
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if _, err := f.WriteAt(pid, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock of the data folder: %w", err), f.Close())
	}
	if err := f.Truncate(int64(len(pid))); err != nil {
		return nil, errors.Join(fmt.Errorf("lock of the data folder: %w", err), f.Close())
	}
	return &FolderLock{f}, nil
}

// folderInUse is why a folder cannot be had.
type folderInUse struct{ by string }

// Error is part of error.
func (e *folderInUse) Error() string {
	_, detail := e.WrongSetting()
	return "the data folder " + detail
}

// WrongSetting says which setting to change, and why.
func (e *folderInUse) WrongSetting() (setting, detail string) {
	return "data_dir", "is in use by process " + e.by + ": stop it, or choose another folder"
}

// Serialize runs fn while no other process runs Serialize on the folder. It
// waits for its turn; it is for short work that must happen once, such as
// making a signing pair.
func Serialize(dir string, fn func() error) error {
	f, err := lockFile(dir, "LOCK.once", syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return fn()
}

// Close gives the folder back.
func (l *FolderLock) Close() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("lock of the data folder: %w", err)
	}
	return nil
}

func lockFile(dir, name string, how int) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the data folder: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock of the data folder: %w", err), f.Close())
	}
	return f, nil
}

// holder is the process id that stands in the lock file.
func holder(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "LOCK"))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}
