package config

import (
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// File is a flag that names a file of settings. Every line is a comment (#), is
// empty, or is KEY=VALUE. The value is what follows, to the end of the line:
// there is no quoting, escaping or expanding, because docker's --env-file,
// compose and systemd each do that in their own way. A value that they would
// read differently is refused, so that one file serves them all.
type File string

// BeforeResolve reads the file, before kong looks for values. It needs
// Sources.Options in the parser.
func (File) BeforeResolve(ctx *kong.Context, trace *kong.Path, s *Sources) error {
	path := string(ctx.FlagValue(trace.Flag).(File))
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	values, problems := parseFile(string(text))
	s.file = values
	for _, p := range problems {
		s.problems = append(s.problems, path+p)
	}
	return nil
}

// parseFile returns the settings in a file, and its problems, each beginning
// with ":" and the line's number. Keys that don't begin with REPRISE_ are other
// programs'.
func parseFile(text string) (map[string]string, Problems) {
	known := make(map[string]bool)
	for _, s := range Settings() {
		known[s.Name] = true
	}
	values := make(map[string]string)
	seen := make(map[string]bool)
	var problems Problems
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := fmt.Sprintf(":%d", i+1)
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.ContainsAny(key, " \t") {
			problems.add(at, "not KEY=VALUE, without spaces around =") // the line may hold a secret
			continue
		}
		if !strings.HasPrefix(key, "REPRISE_") {
			continue
		}
		switch {
		case !known[key]:
			problems.add(at, "there is no setting %s%s", key, didYouMean(key))
		case seen[key]:
			problems.add(at, "%s is set a second time", key)
		case ambiguous(value) != "":
			problems.add(at, "%s: %s is read differently by docker, compose and systemd; leave it out, or write it percent-encoded in a URL", key, ambiguous(value))
		default:
			values[key] = value
		}
		seen[key] = true
	}
	return values, problems
}

// ambiguous names what in a value other readers of such files don't take as it
// stands, "" if there is nothing.
func ambiguous(value string) string {
	switch {
	case strings.HasPrefix(value, " "):
		return "a space after ="
	case strings.Contains(value, " #"):
		return "a # after a space"
	}
	for _, c := range `"'$\` {
		if strings.ContainsRune(value, c) {
			return string(c)
		}
	}
	return ""
}

func didYouMean(key string) string {
	best, least := "", 4 // more than three letters apart is another word
	for _, s := range Settings() {
		if d := distance(key, s.Name); d < least {
			best, least = s.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the Levenshtein distance of two ASCII strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
