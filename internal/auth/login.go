package auth

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/nova-chat/nova/internal/fault"
	"github.com/nova-chat/nova/internal/obs"
	"github.com/nova-chat/nova/internal/sqldb"
)

// attempt is a try to prove who one is, and what is known about it.
type attempt struct {
	op       string
	username string
	device   string
	password obs.Secret

	account account // zero if there is none of that name
	exists  bool
	mac     string // under which failures are counted
	blocked time.Time
}

// login opens a session for whoever proves to be the account. address is the
// client's.
func (s *Service) login(ctx context.Context, in attempt, address string) (*grant, error) {
	in.op = "auth.login"
	g, err := s.tryLogin(ctx, &in, address)
	if fault.Is(err, fault.CodeInternal) {
		return nil, s.refuse(ctx, &in, obs.LoginUnknown, err)
	}
	return g, err
}

func (s *Service) tryLogin(ctx context.Context, in *attempt, address string) (*grant, error) {
	if ok, wait := s.logins.Allow(addressRange(address)); !ok {
		return nil, s.refuse(ctx, in, obs.AddressThrottled, throttled(wait))
	}
	var bad problems
	in.username = fold(in.username)
	if n := len(in.username); n > maxTyped {
		bad.add(fault.CodeTooLong, "username", "at most 256 bytes")
	} else if n == 0 {
		bad.add(fault.CodeInvalid, "username", "the name that was registered")
	}
	bad.password("password", in.password, 1) // what is too short to be right is wrong, not malformed
	in.device = bad.device(in.device)
	if err := bad.err(); err != nil {
		return nil, err
	}
	outdated, err := s.prove(ctx, in)
	if err != nil {
		return nil, err
	}
	return s.enter(ctx, in, outdated)
}

// enter opens the session after the proof. The verifier must still be the one
// that was proved: the password may have been changed meanwhile.
func (s *Service) enter(ctx context.Context, in *attempt, outdated bool) (*grant, error) {
	rehash := ""
	if outdated {
		rehash, _ = s.hasher.hash(ctx, in.password, always) // the next login will do it otherwise
	}
	now := time.Now()
	g, err := s.grantIn(ctx, in.op, now, func(ctx context.Context, tx *sqldb.Tx) (*grant, error) {
		acct, ok, err := accountByID(ctx, tx, in.account.id)
		if err != nil {
			return nil, err
		}
		if !ok || acct.rev != in.account.rev {
			return nil, refused()
		}
		if err := pardon(ctx, tx, in.mac); err != nil {
			return nil, err
		}
		if rehash != "" {
			if _, err := tx.Exec(ctx, `UPDATE accounts SET verifier = $1 WHERE id = $2`, rehash, acct.id); err != nil {
				return nil, err
			}
		}
		return s.openSession(ctx, tx, acct, in.device, now)
	})
	if fault.Is(err, fault.CodeLoginRefused) {
		return nil, s.refuse(ctx, in, obs.WrongPassword, refused())
	}
	if err == nil {
		s.metrics.Logins.Inc()
	}
	return g, err
}

// prove checks the password of an attempt and counts what fails. outdated says
// that the verifier was made with lower parameters than those in force.
func (s *Service) prove(ctx context.Context, in *attempt) (outdated bool, err error) {
	now := time.Now()
	if err := s.lookUp(ctx, in, now); err != nil {
		return false, err
	}
	if in.blocked.After(now) {
		return false, s.refuse(ctx, in, obs.AccountLocked, throttled(in.blocked.Sub(now)))
	}
	fits, outdated, err := s.hasher.verify(ctx, in.account.verifier, in.password)
	if fault.Is(err, fault.CodeAuthBusy) {
		return false, s.refuse(ctx, in, obs.HashingBusy, err)
	}
	if err != nil {
		return false, err
	}
	if fits {
		return outdated, nil
	}
	if err := s.countFailure(ctx, in.mac); err != nil {
		return false, err
	}
	reason := obs.WrongPassword
	if !in.exists {
		reason = obs.UserNotFound
	}
	return false, s.refuse(ctx, in, reason, refused())
}

// lookUp fills in what the store knows. It asks the same questions whether or
// not the account exists.
func (s *Service) lookUp(ctx context.Context, in *attempt, now time.Time) error {
	return s.deps.DB.Read(ctx, "auth.look_up", func(ctx context.Context, tx *sqldb.Tx) (err error) {
		name := in.username
		if !only(name, usernameByte) {
			name = "" // nobody's; the database need not see odd bytes
		}
		if in.account, in.exists, err = accountNamed(ctx, tx, name); err != nil {
			return err
		}
		have, err := sessionsOf(ctx, tx, in.account.id)
		if err != nil {
			return err
		}
		device := ""
		for _, x := range have {
			if x.device == in.device && s.live(x, now) {
				device = x.device
			}
		}
		in.mac = s.nameMAC(in.username, device)
		in.blocked, err = blockedUntil(ctx, tx, in.mac)
		return err
	})
}

// refuse counts and logs why a login was refused, under one name, and gives the
// answer, which tells less.
func (s *Service) refuse(ctx context.Context, in *attempt, why obs.LoginReason, answer error) error {
	s.metrics.LoginFailures.Inc(why)
	if !s.deps.Obs.Sample(obs.SiteIdentity) {
		return answer
	}
	attrs := []slog.Attr{slog.String("op", in.op), obs.Reason(why)}
	if in.exists {
		attrs = append(attrs, slog.String("user_id", in.account.id))
	}
	s.deps.Obs.Log(obs.Auth).LogAttrs(ctx, slog.LevelInfo, "login refused", attrs...)
	return answer
}

func refused() error {
	return fault.New(fault.CodeLoginRefused, "the user name or what was to prove it is wrong")
}

func throttled(wait time.Duration) error {
	return fault.New(fault.CodeLoginThrottled, "too many logins failed or came at once").After(max(wait, time.Second))
}

// addressRange is what an address is counted under: itself for IPv4, its /64
// for IPv6, of which one customer has at least that many.
func addressRange(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
