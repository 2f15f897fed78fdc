package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Sources finds the values of flags that are not on the command line: in the
// environment and, below it, in the file named by a File flag. It serves every
// flag that has a tag "setting", here and in other packages' commands.
type Sources struct {
	environ  map[string]string
	file     map[string]string
	found    map[string]bool
	problems Problems
}

// NewSources makes Sources that look into environ, whose entries are KEY=VALUE
// as os.Environ returns them.
func NewSources(environ []string) *Sources {
	s := &Sources{environ: make(map[string]string), found: make(map[string]bool)}
	for _, entry := range environ {
		key, value, _ := strings.Cut(entry, "=")
		s.environ[key] = value
	}
	return s
}

// Options returns what a parser of the command line needs to find its values
// here and to name their settings in its help.
func (s *Sources) Options() []kong.Option {
	return []kong.Option{kong.Resolvers(s), kong.Bind(s), kong.ValueFormatter(help)}
}

// Check calls check and returns what it reports together with the values that
// were found here but could not be read. The error is Problems, if check's is.
func (s *Sources) Check(check func() error) error {
	err := check()
	if err == nil {
		return s.problems.err()
	}
	if more, ok := err.(Problems); ok {
		return append(s.problems[:len(s.problems):len(s.problems)], more...)
	}
	return err
}

// Validate implements kong.Resolver.
func (s *Sources) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. A value that the flag can't take is kept
// for Check, so that all of them are reported and not only the first.
func (s *Sources) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	name := flag.Tag.Get("setting")
	if name == "" {
		return nil, nil
	}
	value := s.environ[name]
	if value == "" {
		value = s.environ[alias(name)]
	}
	if value == "" {
		value = s.file[name]
	}
	if value == "" {
		return nil, nil
	}
	scratch := reflect.New(flag.Target.Type()).Elem()
	token := kong.Token{Type: kong.FlagValueToken, Value: value}
	if err := flag.Parse(kong.ScanFromTokens(token), scratch); err != nil {
		s.problems.add(name, "%q is %s", value, expected(scratch.Interface()))
		return nil, nil
	}
	s.found[name] = true
	return value, nil
}

// alias returns the name by which others know a setting, "" if there is none.
// Google's own tools set and read this one.
func alias(name string) string {
	if name == "REPRISE_FIREBASE_EMULATOR" {
		return "FIREBASE_AUTH_EMULATOR_HOST"
	}
	return ""
}

// Found reports whether a setting's value was found here, so that no flag gave it.
func (s *Sources) Found(name string) bool { return s.found[name] }

// expected says what text a value of v's type is read from.
func expected(v any) string {
	switch v.(type) {
	case Bytes:
		return errBytes.Error()
	case time.Duration:
		return "not a duration: use a number and a unit, such as 500ms, 90s, 15m or 6h"
	case bool:
		return "not true or false"
	default:
		return "not a whole number"
	}
}

// help adds the default and the setting's name to a flag's help.
func help(value *kong.Value) string {
	text := kong.DefaultHelpValueFormatter(value)
	var notes []string
	if value.HasDefault && !value.IsBool() {
		notes = append(notes, "default "+value.Default)
	}
	if name := value.Tag.Get("setting"); name != "" {
		notes = append(notes, name)
	}
	if len(notes) > 0 {
		text += " [" + strings.Join(notes, ", ") + "]"
	}
	return text
}
