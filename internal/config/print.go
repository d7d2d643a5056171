package config

import "strings"

// Entry is the effective value of one setting. A secret's value is masked.
type Entry struct {
	Key    string `json:"setting"`
	Value  string `json:"value"`
	Source string `json:"source,omitempty"`
}

// Entries lists the effective configuration in the order of the reference.
// sources is [Loaded.Sources]; nil leaves them out.
func (c Config) Entries(sources map[string]string) []Entry {
	var all []Entry
	for _, s := range c.settings() {
		all = append(all, Entry{s.key, s.value.String(), sources[s.key]})
	}
	return all
}

// YAML is the effective configuration as a file that Load would read, with the
// source of each value as a comment. Masked secrets are commented out.
func (c Config) YAML(sources map[string]string) string {
	var b strings.Builder
	section := false
	for _, e := range c.Entries(sources) {
		key, nested := strings.CutPrefix(e.Key, "limits.")
		if nested && !section {
			b.WriteString("limits:\n")
			section = true
		}
		line := key + ": " + quote(e.Value)
		if nested {
			line = "  " + line
		}
		if e.Value == "" || e.Value == "[secret]" {
			line = "# " + line
		}
		if e.Source != "" {
			line = pad(line, 44) + "# " + e.Source
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// quote writes a value so that YAML reads it back as the same text.
func quote(v string) string {
	plain := strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-,=") == ""
	if v != "" && plain && !strings.ContainsAny(v[:1], "-,=") {
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", "''") + "'"
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(1, width-len(s)))
}
