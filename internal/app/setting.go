package app

import (
	"errors"
	"net"
	"syscall"

	"github.com/nova-chat/nova/internal/config"
)

// wrongSetting is an error of an edge or a service that only a change of a
// setting mends: a refused login, a certificate of somebody else, a wrong seal.
type wrongSetting interface {
	error
	WrongSetting() (setting, detail string)
}

// named turns it into the one kind of error that callers know for that.
func named(err error) error {
	var bad wrongSetting
	if !errors.As(err, &bad) {
		return err
	}
	return problem(bad.WrongSetting())
}

func problem(setting, detail string) error {
	return &config.Error{Problems: []config.Problem{{Setting: setting, Detail: detail}}}
}

// bound names the setting of a listener whose address cannot be had.
func bound(setting string, err error) error {
	_, unknown := errors.AsType[*net.DNSError](err)
	switch {
	case unknown:
		return problem(setting, "names a host that is not known")
	case errors.Is(err, syscall.EADDRINUSE):
		return problem(setting, "is an address that another program has: stop it, or choose a free one (port 0 finds one)")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return problem(setting, "is no address of this machine")
	case errors.Is(err, syscall.EACCES):
		return problem(setting, "is a port that this user may not have: choose one from 1024 on")
	}
	return err
}
