package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// redisSetting is the name under which the operator finds what is wrong.
const redisSetting = "redis"

// SettingError says that a server cannot be used as it is set, however often it
// is tried. Its text names the setting and never holds a value of it.
type SettingError struct {
	Setting string // as in docs/config.md
	Detail  string // what would be right
	cause   error
}

// Error is one line for whoever starts the process.
func (e *SettingError) Error() string { return e.Setting + ": " + e.Detail }

// WrongSetting says which setting to change, and why.
func (e *SettingError) WrongSetting() (setting, detail string) { return e.Setting, e.Detail }

// Unwrap gives what the server or a library said, for the log's redaction only.
func (e *SettingError) Unwrap() error { return e.cause }

// redisOptions reads the address and fills in the defaults of the config.
func redisOptions(cfg *RedisConfig) (*redis.Options, error) {
	if cfg.Stream == "" {
		cfg.Stream = defaultStream
	}
	if cfg.Name == "" {
		cfg.Name = defaultName
	}
	if cfg.Length <= 0 {
		cfg.Length = defaultLength
	}
	u, err := url.Parse(cfg.URL.Reveal())
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, &SettingError{Setting: redisSetting, Detail: "must be redis://USER:WORD@HOST:PORT/NUMBER, or the same with rediss:// for TLS, and nothing behind it"}
	}
	if cfg.TLS != nil && u.Scheme != "rediss" {
		return nil, &SettingError{Setting: redisSetting, Detail: "must begin with rediss://, as certificates are set for it"}
	}
	opt, err := redis.ParseURL(cfg.URL.Reveal())
	if err != nil { // its text may hold parts of the address
		return nil, &SettingError{Setting: redisSetting, Detail: "must begin with redis:// or rediss:// and may end with the number of a database"}
	}
	if cfg.TLS != nil {
		opt.TLSConfig = trust(cfg.TLS, opt.TLSConfig.ServerName)
	}
	opt.ClientName = clientName(cfg.Node)
	opt.Protocol = 2 // nothing of 3 is used; without it the library needs no rights for its extras
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = answerTime, answerTime, answerTime
	opt.ContextTimeoutEnabled = true
	opt.MaxRetries, opt.DialerRetries = -1, 1 // whoever publishes or reads tries again
	opt.PoolSize, opt.PipelinePoolSize = 1, -1
	return opt, nil
}

// trust completes the settings of TLS with what the address says.
func trust(set *tls.Config, host string) *tls.Config {
	c := set.Clone()
	if c.ServerName == "" {
		c.ServerName = host
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

// clientName is what CLIENT LIST shows; Redis takes no spaces in it.
func clientName(node string) string {
	if node == "" {
		return ""
	}
	return "nova-" + strings.Map(func(c rune) rune {
		if c > ' ' && c < 0x7f {
			return c
		}
		return '_'
	}, node)
}

// redisRefusals are the answers that no second try changes, by how they begin.
var redisRefusals = []struct{ prefix, detail string }{
	{"WRONGPASS", "Redis refuses this user; check the name and what proves it"},
	{"NOAUTH", "Redis wants a user; put one into the address"},
	{"NOPERM", "this user of Redis lacks a right; it needs +xadd +xread +xinfo|stream +multi +exec on the stream, and +select and +client|setname"},
	{"WRONGTYPE", "what Redis has under the stream's name is no stream; choose another prefix or database"},
	{"ERR DB index", "Redis has no database of that number"},
}

// redisRefusal is the setting at fault for what came back, nil if it may pass by
// itself.
func redisRefusal(err error) *SettingError {
	if answer, ok := errors.AsType[redis.Error](err); ok {
		for _, r := range redisRefusals {
			if strings.HasPrefix(answer.Error(), r.prefix) {
				return &SettingError{redisSetting, r.detail, err}
			}
		}
		return nil
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return &SettingError{redisSetting, "the certificate of Redis is for another host", err}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &SettingError{redisSetting, "the certificate of Redis is not trusted for this host", err}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &SettingError{redisSetting, "this port does not speak TLS; redis:// or another port", err}
	}
	return nil
}

// redisAnswered says whether Redis answered, and would not do it.
func redisAnswered(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok && !redis.HasErrorPrefix(err, "LOADING")
}
