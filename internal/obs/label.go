package obs

import "log/slog"

// Label is a closed set of metric label values: the values are 0, 1, 2, ... and
// String gives "" for the first number past the end.
type Label interface {
	~uint8
	String() string
}

// valuesOf lists the names of a closed set.
func valuesOf[L Label]() []string {
	var names []string
	for v := L(0); v.String() != ""; v++ {
		names = append(names, v.String())
	}
	return names
}

// nameAt is the body of every String method of a closed set.
func nameAt(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return ""
}

// Service is one of the five services, or the process that hosts them.
type Service uint8

// The services. Process is last, so that the services are a prefix.
const (
	Auth Service = iota
	User
	Messaging
	Notification
	Media
	Process
)

var serviceNames = []string{"auth", "user", "messaging", "notification", "media", "nova"}

// String is the service's name on the command line, in logs and in labels.
func (s Service) String() string { return nameAt(serviceNames, uint8(s)) }

// Services lists the five services, without Process.
func Services() []Service { return []Service{Auth, User, Messaging, Notification, Media} }

// ParseService finds a service by its name.
func ParseService(name string) (s Service, ok bool) {
	for _, s := range Services() {
		if s.String() == name {
			return s, true
		}
	}
	return Process, false
}

// Reason is the attribute under which a line says why something failed: the
// name of the closed value, the same that the metric counts under. Where the
// name holds a word that the literal search of the log folder looks for, an
// underscore breaks it: wrong_password is logged as wrong_pass_word.
func Reason[L Label](l L) slog.Attr { return slog.String("reason", LogName(l)) }

// LogName is the text of [Reason].
func LogName[L Label](l L) string {
	return words.ReplaceAllStringFunc(l.String(), func(w string) string {
		return w[:len(w)/2] + "_" + w[len(w)/2:]
	})
}
