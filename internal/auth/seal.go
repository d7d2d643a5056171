package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/nova-chat/nova/internal/obs"
)

// sealLen is the length of a seal in bytes.
const sealLen = 32

// seal encrypts the keys that stand in the database (AES-256-GCM with a random
// nonce), so that a copy of the database alone signs nothing.
type seal struct {
	aead cipher.AEAD
	raw  []byte
	file bool // it came from a file of this machine, not from the setting
}

// SealError says what is wrong with the setting seal. Its text never holds the
// value.
type SealError struct{ Detail string }

func (e *SealError) Error() string { return "seal: " + e.Detail }

// WrongSetting says which setting to change, and why.
func (e *SealError) WrongSetting() (setting, detail string) { return "seal", e.Detail }

// errNoFit: the seal is not the one with which a row was closed.
var errNoFit = errors.New("the seal does not open what the database holds")

// noFit turns errNoFit into what an operator can act on.
func (s *seal) noFit(err error) error {
	switch {
	case !errors.Is(err, errNoFit):
		return err
	case s.file:
		return &SealError{"the file of this name below data_dir was not made for this database: restore the one that was; processes that share a database need the same, set for all of them"}
	}
	return &SealError{"it is not the one that this database was sealed with: all processes that share a database need the same"}
}

// openSeal takes the seal from the setting, else from a folder, where it is made
// at the first start.
func openSeal(set obs.Secret, dir string) (*seal, error) {
	if !set.Empty() {
		return readSeal(set.Reveal(), false)
	}
	text, err := sealFileIn(dir)
	if err != nil {
		return nil, err
	}
	return readSeal(text, true)
}

func readSeal(text string, file bool) (*seal, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	switch {
	case (err != nil || len(raw) != sealLen) && file:
		return nil, &SealError{"the file of this name below data_dir is damaged: restore it"}
	case err != nil || len(raw) != sealLen:
		return nil, &SealError{"must be 32 random bytes in base64"}
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &seal{aead, raw, file}, nil
}

// sealVersion begins every sealed text and is part of what the seal vouches for.
// Texts without it are of the first version, which vouched for the name alone.
const sealVersion = "2:"

func bound(k sealedKey) []byte { return []byte(sealVersion + k.purpose + "\x00" + k.name) }

// close seals a value; it opens only under the same purpose and name.
func (s *seal) close(purpose, name string, value []byte) string {
	box := s.aead.Seal(nil, nil, value, bound(sealedKey{name: name, purpose: purpose})) //nolint:gosec // this AEAD makes a random nonce itself and takes none
	return sealVersion + base64.StdEncoding.EncodeToString(box)
}

func (s *seal) open(k sealedKey) ([]byte, error) {
	text, present := strings.CutPrefix(k.sealed, sealVersion)
	vouched := bound(k)
	if !present {
		vouched = []byte(k.name)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errNoFit
	}
	value, err := s.aead.Open(nil, nil, raw, vouched)
	if err != nil {
		return nil, errNoFit
	}
	return value, nil
}
