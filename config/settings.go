package config

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
)

// Setting describes one setting.
type Setting struct {
	Name    string // as in the environment and in a file, for example "REPRISE_ADDR"
	Group   string // heading under which it is documented, for example "Server"
	Default string // "" if there is none
	Help    string // meaning, unit, special values: whole sentences
}

// Settings describes every setting, in the order of Config.
func Settings() []Setting {
	var list []Setting
	group := ""
	walk(reflect.ValueOf(Config{}), func(f reflect.StructField, _ reflect.Value) {
		if g := f.Tag.Get("group"); g != "" {
			group = strings.TrimSuffix(g, ":")
		}
		if name := f.Tag.Get("setting"); name != "" {
			list = append(list, Setting{
				Name: name, Group: group, Default: f.Tag.Get("default"), Help: f.Tag.Get("help"),
			})
		}
	})
	return list
}

// String lists every setting, one a line, secrets redacted.
func (c Config) String() string {
	var b strings.Builder
	for _, a := range c.attrs() {
		fmt.Fprintf(&b, "%s=%v\n", a.Key, a.Value)
	}
	return b.String()
}

// LogValue implements slog.LogValuer: a group of all settings, secrets redacted.
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

func (c Config) attrs() []slog.Attr {
	var attrs []slog.Attr
	walk(reflect.ValueOf(c), func(f reflect.StructField, v reflect.Value) {
		if name := f.Tag.Get("setting"); name != "" {
			text := fmt.Sprint(v.Interface()) // Secret's String redacts
			if list, ok := v.Interface().([]string); ok {
				text = strings.Join(list, ",")
			}
			attrs = append(attrs, slog.String(name, text))
		}
	})
	return attrs
}

// walk visits the fields of a struct in order, each embedded struct before its
// own fields.
func walk(v reflect.Value, visit func(reflect.StructField, reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		visit(f, v.Field(i))
		if f.Anonymous {
			walk(v.Field(i), visit)
		}
	}
}
