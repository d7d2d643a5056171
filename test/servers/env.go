package servers

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// All starts one server of each kind for a whole run of tests, and returns the
// variables that name them, as NAME=value. A kind whose variable is set already
// is not started, and one that is missing is named to say. Close ends them.
func All(say io.Writer) (*Set, error) {
	s := &Set{}
	for _, kind := range []struct {
		variable string
		start    func() (string, func() error, error)
	}{
		{EnvPostgres, func() (string, func() error, error) {
			p, err := NewPostgres(PostgresOptions{})
			if err != nil {
				return "", nil, err
			}
			return p.URL, p.Close, nil
		}},
		{EnvRedis, func() (string, func() error, error) {
			r, err := NewRedis(RedisOptions{})
			if err != nil {
				return "", nil, err
			}
			return r.URL, r.Close, nil
		}},
		{EnvKafka, func() (string, func() error, error) {
			k, err := NewKafka(KafkaOptions{})
			if err != nil {
				return "", nil, err
			}
			return strings.Join(k.Brokers, ","), k.Close, nil
		}},
	} {
		if os.Getenv(kind.variable) != "" {
			continue
		}
		at, end, err := kind.start()
		if m, ok := errors.AsType[missing](err); ok {
			_, _ = fmt.Fprintln(say, m) // a hint
			continue
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.Variables = append(s.Variables, kind.variable+"="+at)
		s.ends = append(s.ends, end)
	}
	return s, nil
}

// Set is what All has started.
type Set struct {
	Variables []string
	ends      []func() error
}

// Close ends the servers.
func (s *Set) Close() error {
	var err error
	for _, end := range s.ends {
		err = errors.Join(err, end())
	}
	return err
}

// WriteFile writes the variables for a shell to read. The file appears complete.
func (s *Set) WriteFile(path string) error {
	var b strings.Builder
	for _, v := range s.Variables {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", name, value)
	}
	part := filepath.Join(filepath.Dir(path), ".part-"+filepath.Base(path))
	if err := os.WriteFile(part, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}
