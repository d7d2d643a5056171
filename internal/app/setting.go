package app

import (
	"errors"

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
