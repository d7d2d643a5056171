package main

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/nova-chat/nova/internal/config"
)

// settings are the flags of a command that are settings of Nova. They are made
// from the list in package config, and stay strings: config reads all values,
// wherever they come from, with the same words about what is wrong.
type settings struct {
	Config string `help:"Read settings from this YAML file." placeholder:"FILE" env:"NOVA_CONFIG"`
	kong.Plugins
	keys []string
}

// newSettings offers the named settings, all of them without a name.
func newSettings(only ...string) settings {
	var s settings
	var fields []reflect.StructField
	for _, one := range config.Settings() {
		if len(only) > 0 && !slices.Contains(only, one.Key) {
			continue
		}
		s.keys = append(s.keys, one.Key)
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("Flag%d", len(fields)),
			Type: reflect.TypeFor[*string](),
			Tag: reflect.StructTag(fmt.Sprintf("name:%q help:%s placeholder:%q", one.Flag(), strconv.Quote(helpOf(one)),
				strings.ReplaceAll(one.Value, " ", "-"))),
		})
	}
	s.Plugins = kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}
	return s
}

func helpOf(s config.Setting) string {
	first, _, _ := strings.Cut(strings.ReplaceAll(s.Doc, "`", ""), ". ")
	text := strings.TrimSuffix(first, ".")
	if s.Default != "" {
		text += " (" + s.Default + ")"
	}
	return text + " [" + s.Env() + "]."
}

// given are the settings whose flags were used.
func (s *settings) given() map[string]string {
	flags := map[string]string{}
	fields := reflect.ValueOf(s.Plugins[0]).Elem()
	for i, key := range s.keys {
		if v, ok := reflect.TypeAssert[*string](fields.Field(i)); ok && v != nil {
			flags[key] = *v
		}
	}
	return flags
}

// load reads the configuration and says what it ignored.
func (s *settings) load(std streams) (*config.Loaded, error) {
	loaded, err := config.Load(config.Inputs{File: s.Config, Environ: os.Environ(), Flags: s.given()})
	if err != nil {
		return nil, err
	}
	for _, w := range loaded.Warnings {
		_, _ = fmt.Fprintln(std.err, "nova: "+w)
	}
	return loaded, nil
}
