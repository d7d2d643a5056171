package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// sealFile holds 32 random bytes, base64, that open what the database keeps.
const sealFile = "auth.seal"

// seal encrypts the keys that stand in the database (AES-256-GCM), so that a
// copy of the database alone signs nothing.
type seal struct{ aead cipher.AEAD }

var errNoFit = errors.New("the file auth.seal does not belong to this database: restore the one that was made with it")

// openSeal reads the seal of a folder, or makes it. Two processes that start in
// an empty folder at once get the same one.
func openSeal(dir string) (*seal, []byte, error) {
	path := filepath.Join(dir, sealFile)
	raw, err := readSeal(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeSeal(dir, path); err == nil {
			raw, err = readSeal(path)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, nil, fmt.Errorf("seal: %w", err)
	}
	return &seal{aead}, raw, nil
}

func readSeal(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(raw) != 32 {
		return nil, errors.New("the file auth.seal is damaged")
	}
	return raw, nil
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
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(randomBytes(32)))
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

// close seals a value; it opens only under the same name.
func (s *seal) close(name string, value []byte) string {
	return base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, value, []byte(name))) //nolint:gosec // this AEAD makes a random nonce itself and takes none
}

func (s *seal) open(name, sealed string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, errNoFit
	}
	value, err := s.aead.Open(nil, nil, raw, []byte(name))
	if err != nil {
		return nil, errNoFit
	}
	return value, nil
}
