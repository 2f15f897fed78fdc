package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write deploy/reprise.env and the table of docs/configuration.md anew")

const (
	sampleFile = "../deploy/reprise.env"
	docFile    = "../docs/configuration.md"
	tableBegin = "<!-- settings -->\n"
	tableEnd   = "<!-- /settings -->\n"
)

func TestSampleIsTheDefaults(t *testing.T) {
	t.Parallel()
	compare(t, sampleFile, sample())

	values, problems := parseFile(read(t, sampleFile))
	if problems != nil {
		t.Fatalf("the sample can't be read: %v", problems)
	}
	var environ []string
	for _, s := range Settings() {
		value, ok := values[s.Name]
		if !ok || value != s.Default {
			t.Errorf("the sample has %s=%s (%v), the default is %q", s.Name, value, ok, s.Default)
		}
		environ = append(environ, s.Name+"="+value)
	}
	var c Config
	if _, err := kong.Must(&c, NewSources(environ).Options()...).Parse(nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), c); diff != "" {
		t.Errorf("the sample gives another Config than the defaults (-default +sample):\n%s", diff)
	}
}

func TestDocumentedTable(t *testing.T) {
	t.Parallel()
	doc := read(t, docFile)
	before, rest, ok := strings.Cut(doc, tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has lost its marks", docFile)
	}
	compare(t, docFile, before+tableBegin+table()+tableEnd+after)
}

// TestEverySettingIsNamedAfterItsFlag also proves that no field was forgotten.
func TestEverySettingIsNamedAfterItsFlag(t *testing.T) {
	t.Parallel()
	var c Config
	flags := kong.Must(&c, NewSources(nil).Options()...).Model.Flags
	settings := Settings()
	if len(flags)-1 != len(settings) { // --help has none
		t.Errorf("there are %d flags and %d settings", len(flags)-1, len(settings))
	}
	for i, f := range flags[1:] {
		want := "REPRISE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if settings[i].Name != want {
			t.Errorf("the setting of --%s is %s, want %s", f.Name, settings[i].Name, want)
		}
		if f.Help == "" || f.PlaceHolder == "" && !f.IsBool() || f.Group == nil {
			t.Errorf("--%s lacks help, placeholder or group", f.Name)
		}
	}
}

// sample writes the sample file.
func sample() string {
	var b strings.Builder
	b.WriteString("# Every setting of Reprise with its default. An empty one is not set.\n")
	b.WriteString("# See docs/configuration.md. This file is made from config.Config: go test ./config -update\n")
	group := ""
	for _, s := range Settings() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n#### %s\n", group)
		}
		b.WriteString("\n" + comment(s.Help) + s.Name + "=" + s.Default + "\n")
	}
	return b.String()
}

// comment wraps text into lines of a comment.
func comment(text string) string {
	var b strings.Builder
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 100 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// table writes the documentation's table.
func table() string {
	var b strings.Builder
	b.WriteString("| Setting | Default | Meaning |\n|---|---|---|\n")
	for _, s := range Settings() {
		def := s.Default
		if def != "" {
			def = "`" + def + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, def, s.Help)
	}
	return b.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func compare(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Errorf("%s is not what config.Config says; run go test ./config -update (-want +got):\n%s", path, diff)
	}
}
