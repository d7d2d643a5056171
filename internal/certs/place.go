package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Modes: even what is public stays with its owner; whoever runs Nova under
// another user hands it over on purpose.
const (
	fileMode   = 0o600
	folderMode = 0o700
)

// writeNew writes a file that is not there yet, whole or not at all.
func writeNew(path string, text []byte) error {
	return place(path, text, func(temp string) error {
		if err := os.Link(temp, path); err != nil {
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already and is not overwritten", path)
			}
			return err
		}
		return os.Remove(temp)
	})
}

// replace puts text in the place of what a reader finds at path, in one step.
func replace(path string, text []byte) error {
	return place(path, text, func(temp string) error { return os.Rename(temp, path) })
}

// place writes text beside path, to the disk, and has it moved there.
func place(path string, text []byte, move func(temp string) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(fileMode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return move(f.Name())
}

// keep gives what is at path a second name beside it, so that replacing it loses
// nothing.
func keep(path, serial string) error {
	kept := path + "." + serial + ".old"
	if err := os.Link(path, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
