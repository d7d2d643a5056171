package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
)

const (
	saltLen   = 16
	digestLen = 32
	// noEntry is the verifier of an account that nobody can log in to.
	noEntry = "!"
)

// hasher computes argon2id (RFC 9106) with a bound on memory and waiting.
type hasher struct {
	cfg   HashConfig
	slots chan struct{}
	held  atomic.Int64 // computations that run or wait
	dummy phc          // costs as much as a real one and fits nothing
}

func defaultSlots() int { return max(1, runtime.GOMAXPROCS(0)/2) }

func newHasher(cfg HashConfig) *hasher {
	return &hasher{
		cfg: cfg, slots: make(chan struct{}, cfg.Slots),
		dummy: phc{cfg.MemoryKiB, cfg.Passes, 1, randomBytes(saltLen), randomBytes(digestLen)},
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return b
}

func (h *hasher) inFlight() float64 { return float64(h.held.Load()) }

// hash makes the PHC string of a password. wanted is asked when a slot is free:
// what made it worthwhile may be gone after the wait.
func (h *hasher) hash(ctx context.Context, password obs.Secret, wanted func() error) (string, error) {
	p := phc{h.cfg.MemoryKiB, h.cfg.Passes, 1, randomBytes(saltLen), nil}
	var unwanted error
	err := h.run(ctx, func() {
		if unwanted = wanted(); unwanted == nil {
			p.digest = p.compute(password, digestLen)
		}
	})
	if err == nil {
		err = unwanted
	}
	return p.String(), err
}

func always() error { return nil }

// verify says whether a password fits a PHC string, and whether the string was
// made with lower parameters than are in force now. A string that is no PHC
// string ("" for an account that does not exist) costs the same and never fits.
func (h *hasher) verify(ctx context.Context, verifier string, password obs.Secret) (fits, outdated bool, err error) {
	p, real := parsePHC(verifier)
	if !real {
		p = h.dummy
	}
	err = h.run(ctx, func() {
		fits = subtle.ConstantTimeCompare(p.compute(password, len(p.digest)), p.digest) == 1
	})
	outdated = p.memoryKiB < h.cfg.MemoryKiB || p.passes < h.cfg.Passes
	return fits && real, outdated, err
}

// run computes f in a slot, waiting for one no longer than the configuration
// says; who comes when the queue is full is refused at once.
func (h *hasher) run(ctx context.Context, f func()) error {
	defer h.held.Add(-1)
	if h.held.Add(1) > int64(h.cfg.Slots+h.cfg.Queue) {
		return busy()
	}
	patience := time.NewTimer(h.cfg.Wait)
	defer patience.Stop()
	select {
	case h.slots <- struct{}{}:
	case <-patience.C:
		return busy()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-h.slots }()
	f()
	return nil
}

func busy() error {
	return fault.New(fault.CodeAuthBusy, "too many sign-ins are being checked").After(time.Second)
}

// phc is a parsed "$argon2id$v=19$m=19456,t=2,p=1$salt$digest".
type phc struct {
	memoryKiB, passes uint32
	lanes             uint8
	salt, digest      []byte
}

// compute hashes the Unicode normal form C, so that the same text typed on
// another device fits; nothing is cut off.
func (p phc) compute(password obs.Secret, n int) []byte {
	return argon2.IDKey(norm.NFC.Bytes([]byte(password.Reveal())), p.salt, p.passes, p.memoryKiB, p.lanes, uint32(n))
}

// String is the PHC string format.
func (p phc) String() string {
	enc := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memoryKiB, p.passes, p.lanes, enc(p.salt), enc(p.digest))
}

// parsePHC reads what String writes. Costs beyond reason are refused: a damaged
// row must not take the process down.
func parsePHC(s string) (p phc, ok bool) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" {
		return p, false
	}
	var version int
	if n, err := fmt.Sscanf(part[2]+" "+part[3], "v=%d m=%d,t=%d,p=%d", &version, &p.memoryKiB, &p.passes, &p.lanes); n != 4 || err != nil {
		return p, false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(part[4])
	digest, err2 := base64.RawStdEncoding.DecodeString(part[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(digest) < 16 {
		return p, false
	}
	p.salt, p.digest = salt, digest
	sane := version == argon2.Version && p.memoryKiB <= 1<<20 && p.passes >= 1 && p.passes <= 64 && p.lanes >= 1
	return p, sane
}
