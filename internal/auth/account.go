package auth

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nova-chat/nova/internal/bus"
	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/id"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

const (
	minUsername, maxUsername = 3, 32   // bytes, of a small alphabet
	maxDisplayName           = 64      // runes
	minPassword, maxPassword = 10, 256 // bytes
	maxDevice                = 64      // bytes
	maxTyped                 = 256     // bytes of a name that somebody tries to log in with
)

// registration is a request for an account.
type registration struct {
	username, displayName, device string
	password                      obs.Secret
}

// register makes an account and its first session.
func (s *Service) register(ctx context.Context, in registration) (*grant, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	free := func() error { return s.checkFree(ctx, in.username) }
	if err := free(); err != nil {
		return nil, err
	}
	verifier, err := s.hasher.hash(ctx, in.password, free)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	acct := account{id: id.New(), username: in.username, displayName: in.displayName, verifier: verifier, created: now}
	event, err := registered(acct)
	if err != nil {
		return nil, err
	}
	g, err := s.grantIn(ctx, "auth.register", now, func(ctx context.Context, tx *sqldb.Tx) (*grant, error) {
		return s.create(ctx, tx, acct, in.device, event, now)
	})
	if err == nil {
		s.metrics.Registrations.Inc()
	}
	return g, err
}

// create writes account, session and event; they stand or fall together.
func (s *Service) create(ctx context.Context, tx *sqldb.Tx, acct account, device string, event bus.Envelope, now time.Time) (*grant, error) {
	free, err := insertAccount(ctx, tx, acct)
	if err != nil {
		return nil, err
	}
	if !free {
		return nil, errTaken()
	}
	g, err := s.openSession(ctx, tx, acct, device, now)
	if err != nil {
		return nil, err
	}
	return g, s.deps.Outbox.Emit(ctx, tx, event)
}

// checkFree spares the hashing when the name is taken anyway; the insert decides.
func (s *Service) checkFree(ctx context.Context, username string) error {
	return s.deps.DB.Read(ctx, "auth.name_free", func(ctx context.Context, tx *sqldb.Tx) error {
		_, taken, err := accountNamed(ctx, tx, username)
		if err == nil && taken {
			return errTaken()
		}
		return err
	})
}

func errTaken() error {
	return fault.OnField(fault.CodeUsernameTaken, "username", "somebody has this name already")
}

// check folds the user name, fills in what was left out, and names every field
// that is not right.
func (in *registration) check() error {
	in.username = fold(in.username)
	if in.displayName == "" {
		in.displayName = in.username
	}
	var bad problems
	if n := len(in.username); n > maxUsername {
		bad.add(fault.CodeTooLong, "username", "at most 32 characters")
	} else if n < minUsername || !only(in.username, usernameByte) {
		bad.add(fault.CodeInvalid, "username", "3 to 32 characters of a-z 0-9 . _ -")
	}
	bad.displayName(in.displayName)
	bad.password("password", in.password, minPassword)
	in.device = bad.device(in.device)
	return bad.err()
}

// problems collects the fields of a request that are at fault. The first one
// decides the code.
type problems struct{ first *fault.Error }

func (p *problems) add(code fault.Code, field, detail string) {
	if p.first == nil {
		p.first = fault.OnField(code, field, detail)
		return
	}
	p.first.Fields = append(p.first.Fields, fault.Field{Name: field, Detail: detail})
}

func (p *problems) err() error {
	if p.first == nil {
		return nil // not a nil *fault.Error in an error
	}
	return p.first
}

func (p *problems) password(field string, password obs.Secret, shortest int) {
	switch n := len(password.Reveal()); {
	case n > maxPassword:
		p.add(fault.CodeTooLong, field, "at most 256 bytes")
	case n < shortest:
		p.add(fault.CodeInvalid, field, "10 to 256 bytes")
	}
}

// device gives the device's name, a new one if the caller has none.
func (p *problems) device(name string) string {
	switch {
	case name == "":
		return id.New()
	case len(name) > maxDevice:
		p.add(fault.CodeTooLong, "device_id", "at most 64 characters")
	case !only(name, deviceByte):
		p.add(fault.CodeInvalid, "device_id", "1 to 64 characters of A-Z a-z 0-9 . _ -")
	}
	return name
}

// displayName wants something that can be seen and cannot reorder or break the
// line it is shown in.
func (p *problems) displayName(name string) {
	visible := false
	for _, r := range name {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r) {
			p.add(fault.CodeInvalid, "display_name", "no control characters")
			return
		}
		visible = visible || unicode.IsGraphic(r) && !unicode.IsSpace(r)
	}
	switch {
	case utf8.RuneCountInString(name) > maxDisplayName:
		p.add(fault.CodeTooLong, "display_name", "at most 64 characters")
	case !visible || !utf8.ValidString(name):
		p.add(fault.CodeInvalid, "display_name", "1 to 64 characters, one of them visible")
	}
}

// fold makes upper case ASCII lower; other letters are not in the alphabet.
func fold(username string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, username)
}

func only(s string, allowed func(byte) bool) bool {
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func usernameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

func deviceByte(c byte) bool { return usernameByte(c) || c >= 'A' && c <= 'Z' }
