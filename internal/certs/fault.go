package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/nova-chat/nova/internal/obs"
)

// The settings that name the files of a [Source].
const (
	SettingIdentity = "rpc_identity"
	SettingTrusted  = "rpc_trusted"
)

// Error says what is wrong with a certificate file, and which setting names it.
type Error struct {
	Setting string // SettingIdentity or SettingTrusted
	Reason  obs.CertificateReason
	Detail  string // what is wrong and what would be right
}

// Error is part of error.
func (e *Error) Error() string { return "setting " + e.Setting + " " + e.Detail }

// WrongSetting says which setting to change, and why.
func (e *Error) WrongSetting() (setting, detail string) { return e.Setting, e.Detail }

func wrong(setting string, reason obs.CertificateReason, detail string, args ...any) *Error {
	return &Error{setting, reason, fmt.Sprintf(detail, args...)}
}

// refusal is why a peer was refused where the library has no error of its own.
type refusal struct {
	reason obs.PeerReason
	text   string
}

// Error is part of error.
func (r *refusal) Error() string { return r.text }

// Refused sorts the error of a handshake. It says false for a connection that
// ended before it said anything: a balancer that looks whether the port is open.
func Refused(err error) (reason obs.PeerReason, counts bool) {
	if errors.Is(err, io.EOF) {
		return obs.PeerHandshake, false
	}
	if own, ok := errors.AsType[*refusal](err); ok {
		return own.reason, true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return obs.PeerUnknownAuthority, true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return obs.PeerWrongName, true
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return invalidReason(invalid.Reason), true
	}
	return obs.PeerHandshake, true
}

func invalidReason(r x509.InvalidReason) obs.PeerReason {
	switch r {
	case x509.Expired:
		return obs.PeerExpired
	case x509.CANotAuthorizedForThisName, x509.NameMismatch, x509.NameConstraintsWithoutSANs:
		return obs.PeerWrongName
	case x509.IncompatibleUsage:
		return obs.PeerWrongUse
	default:
		return obs.PeerUnknownAuthority
	}
}
