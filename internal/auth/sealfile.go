package auth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	sealFile  = "seal"      // 32 random bytes, base64
	firstFile = "auth.seal" // the same in the first version, taken over
)

// sealFileIn reads the seal of a folder, or makes it. Processes that start in an
// empty folder at once get the same one.
func sealFileIn(dir string) (string, error) {
	path := filepath.Join(dir, sealFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = takeOver(dir, path); err == nil {
			err = makeSeal(dir, path)
		}
		if err == nil {
			text, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	return string(text), nil
}

// oldSeal is the seal of a folder, if there is a sound one.
func oldSeal(dir string) (*seal, bool) {
	for _, name := range []string{sealFile, firstFile} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if old, err := readSeal(string(text), true); err == nil {
			return old, true
		}
	}
	return nil, false
}

// takeOver gives the first version's file its present name, if there is one. The
// old name stays, so that the version before can still start.
func takeOver(dir, path string) error {
	err := os.Link(filepath.Join(dir, firstFile), path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// makeSeal writes the file under another name first and then links it into
// place: whoever links first has made the seal, and nobody ever reads half of
// one, whenever the power goes.
func makeSeal(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, sealFile+".new-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a left-over is harmless
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(randomBytes(sealLen)))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
