package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Inputs is everything that a configuration can come from.
type Inputs struct {
	File    string            // a YAML file; "" = none
	Environ []string          // as os.Environ gives it
	Flags   map[string]string // by setting key, only those that were given
}

// Loaded is a configuration and where it came from.
type Loaded struct {
	Config   Config
	Sources  map[string]string // by setting key: "default", "file nova.yaml:3", "environment NOVA_X", "flag --x"
	Warnings []string          // what was ignored, for people
}

// Problem is one thing that is wrong with a configuration. It never holds a value.
type Problem struct {
	Setting string `json:"setting"`
	Source  string `json:"source,omitempty"`
	Detail  string `json:"detail"`
}

func (p Problem) String() string {
	if p.Source == "" || p.Source == "default" {
		return p.Setting + ": " + p.Detail
	}
	return p.Setting + " (" + p.Source + "): " + p.Detail
}

// Error is all that is wrong with a configuration.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	var lines []string
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// Load reads and validates a configuration. Its error is an [*Error] unless the
// file cannot be read at all.
func Load(in Inputs) (*Loaded, error) {
	l := &loader{known: map[string]setting{}, out: &Loaded{Config: Default(), Sources: map[string]string{}}}
	for _, s := range l.out.Config.settings() {
		l.known[s.key] = s
		l.out.Sources[s.key] = fromDefault
	}
	if err := l.file(in.File); err != nil {
		return nil, err
	}
	l.environ(in.Environ)
	l.flags(in.Flags)
	l.out.Config.settle(func(key string) bool { return l.out.Sources[key] != fromDefault })
	for _, p := range l.out.Config.problems() {
		if !l.mentions(p.Setting) {
			p.Source = l.out.Sources[p.Setting]
			l.problems = append(l.problems, p)
		}
	}
	if len(l.problems) > 0 {
		return nil, &Error{l.problems}
	}
	return l.out, nil
}

const fromDefault = "default"

type loader struct {
	known    map[string]setting
	out      *Loaded
	problems []Problem
}

// mentions says whether the setting could not even be read.
func (l *loader) mentions(key string) bool {
	return slices.ContainsFunc(l.problems, func(p Problem) bool { return p.Setting == key })
}

func (l *loader) set(key, value, source string) {
	l.problems = slices.DeleteFunc(l.problems, func(p Problem) bool { return p.Setting == key }) // overridden
	l.out.Sources[key] = source
	if err := l.known[key].value.Set(value); err != nil {
		l.problems = append(l.problems, Problem{key, source, err.Error()})
	}
}

func (l *loader) file(path string) error {
	if path == "" {
		return nil
	}
	data, err := readFile(path)
	if err != nil {
		return err
	}
	entries, bad := parseFile(data)
	for _, e := range entries {
		source := fmt.Sprintf("file %s:%d", path, e.line)
		if _, ok := l.known[e.key]; !ok {
			l.problems = append(l.problems, Problem{e.key, source, "there is no such setting" + l.similar(e.key)})
			continue
		}
		l.set(e.key, e.value, source)
	}
	for _, p := range bad {
		p.Source = fmt.Sprintf("file %s%s", path, p.Source)
		l.problems = append(l.problems, p)
	}
	return nil
}

// maxFile bounds a configuration file: 1 MiB.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &Error{[]Problem{{"config", "", "the file " + path + " cannot be read: " + reason(err)}}}
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, &Error{[]Problem{{"config", "", path + " must be a file of at most 1 MiB"}}}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{[]Problem{{"config", "", "the file " + path + " cannot be read: " + reason(err)}}}
	}
	return data, nil
}

func reason(err error) string {
	switch {
	case os.IsNotExist(err):
		return "there is none"
	case os.IsPermission(err):
		return "permission denied"
	}
	return "input or output error"
}

// environ takes NOVA_ variables. An empty one counts as not set, since that is
// how supervisors leave one out. One that is no setting is reported, not
// refused: Kubernetes puts such variables there for a service named nova.
func (l *loader) environ(environ []string) {
	keys := map[string]string{}
	for _, s := range Settings() {
		keys[s.Env()] = s.Key
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "NOVA_") || value == "" {
			continue
		}
		if key, ok := keys[name]; ok {
			l.set(key, value, "environment "+name)
		} else if strings.HasPrefix(name, "NOVA_LIMITS_") || l.similarEnv(name) != "" {
			l.out.Warnings = append(l.out.Warnings, name+" is no setting"+l.similarEnv(name)+"; it is ignored")
		}
	}
	slices.Sort(l.out.Warnings)
}

func (l *loader) flags(flags map[string]string) {
	for _, s := range Settings() {
		if value, ok := flags[s.Key]; ok {
			l.set(s.Key, value, "flag --"+s.Flag())
		}
	}
}

// similar names the setting that was probably meant.
func (l *loader) similar(key string) string {
	best, at := "", 3
	for _, s := range Settings() {
		if d := distance(key, s.Key); d < at {
			best, at = s.Key, d
		}
		if strings.HasSuffix(s.Key, "."+key) {
			return "; did you mean " + s.Key + "?"
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

func (l *loader) similarEnv(name string) string {
	best, at := "", 3
	for _, s := range Settings() {
		if d := distance(name, s.Env()); d < at {
			best, at = s.Env(), d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of single-character edits between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := min(row[j]+1, row[j+1]+1)
			if a[i] == b[j] {
				next = min(next, diagonal)
			} else {
				next = min(next, diagonal+1)
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
