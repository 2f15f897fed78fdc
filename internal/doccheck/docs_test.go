// Package doccheck holds the documentation to the code: links lead somewhere,
// settings and metrics that are written about exist, and none is left out.
package doccheck

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reprise/config"
)

const root = "../.."

func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	for _, page := range pages(t) {
		for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s: nothing is at %s", page, match[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, path)), anchor) {
				t.Errorf("%s: %s has no heading #%s", page, path, anchor)
			}
		}
	}
}

// TestSettings holds that every REPRISE_ name in the documentation is one that
// the program reads.
func TestSettings(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, s := range config.Settings() {
		known[s.Name] = true
	}
	// Read elsewhere than in config.
	for name, where := range map[string]string{
		"REPRISE_SERVER":       "cmd/reprise/upload.go",
		"REPRISE_TOKEN":        "cmd/reprise/upload.go",
		"REPRISE_TOKEN_FILE":   "cmd/reprise/upload.go",
		"REPRISE_POSTGRES_BIN": "pgcluster/binaries.go",
	} {
		known[name] = strings.Contains(read(t, where), `"`+name+`"`)
	}
	setting := regexp.MustCompile(`\bREPRISE_[A-Z0-9_]*[A-Z0-9]\b`)
	for _, page := range pages(t) {
		for _, name := range setting.FindAllString(read(t, page), -1) {
			if !known[name] {
				t.Errorf("%s: there is no setting %s", page, name)
			}
		}
	}
}

// TestMetrics holds that operations.md describes exactly the metrics of the
// code, and that no page mentions another.
func TestMetrics(t *testing.T) {
	t.Parallel()
	inCode := metrics(t)
	row := regexp.MustCompile("(?m)^\\| `(reprise_[a-z_]+)` \\|")
	described := []string{}
	for _, match := range row.FindAllStringSubmatch(read(t, "docs/operations.md"), -1) {
		described = append(described, match[1])
	}
	slices.Sort(described)
	if diff := cmp.Diff(inCode, described); diff != "" {
		t.Errorf("docs/operations.md does not describe the metrics of the code (-code +docs):\n%s", diff)
	}
	mention := regexp.MustCompile(`\breprise_[a-z_]*[a-z]\b`)
	for _, page := range pages(t) {
		for _, name := range mention.FindAllString(read(t, page), -1) {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} { // of a histogram
				name = strings.TrimSuffix(name, suffix)
			}
			if !slices.Contains(inCode, name) {
				t.Errorf("%s: there is no metric %s", page, name)
			}
		}
	}
}

// metrics returns the names of the metrics that the code makes, sorted.
func metrics(t *testing.T) []string {
	t.Helper()
	whole := regexp.MustCompile(`(?:Name:\s*|NewDesc\()"(reprise_[a-z_]*[a-z])"`)
	prefix := regexp.MustCompile(`NewDesc\("(reprise_[a-z_]*_)"\+name`)
	rest := regexp.MustCompile(`\bdesc\("([a-z_]+)"`)
	names := []string{"reprise_build_info"} // of Prometheus' own version collector
	for _, file := range files(t, ".go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text := read(t, file)
		for _, match := range whole.FindAllStringSubmatch(text, -1) {
			names = append(names, match[1])
		}
		if p := prefix.FindStringSubmatch(text); p != nil {
			for _, match := range rest.FindAllStringSubmatch(text, -1) {
				names = append(names, p[1]+match[1])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestLayout holds that the README's table of folders has every folder with Go
// code in it.
func TestLayout(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	for _, file := range files(t, ".go") {
		folder, _, nested := strings.Cut(file, "/")
		if nested && !strings.Contains(readme, "`"+folder+"`") && !strings.Contains(readme, "`"+folder+"/") {
			t.Errorf("README.md: the table of folders lacks %s", folder)
		}
	}
}

func TestDecisionsAreListed(t *testing.T) {
	t.Parallel()
	list := read(t, "docs/decisions/README.md")
	for _, page := range pages(t) {
		if dir, name := filepath.Split(page); dir == "docs/decisions/" && name != "README.md" && !strings.Contains(list, "("+name+")") {
			t.Errorf("docs/decisions/README.md does not list %s", name)
		}
	}
}

// pages returns the pages of the documentation, by their path below the root.
func pages(t *testing.T) []string {
	t.Helper()
	return files(t, ".md")
}

// files returns the files with this extension, by their path below the root.
func files(t *testing.T, ext string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules") {
			return fs.SkipDir
		}
		if filepath.Ext(name) == ext {
			path, err = filepath.Rel(root, path)
			found = append(found, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// anchors returns the anchors of a page's headings as GitHub makes them.
func anchors(page string) []string {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	var list []string
	for _, match := range regexp.MustCompile(`(?m)^#+ +(.+)$`).FindAllStringSubmatch(page, -1) {
		text := drop.ReplaceAllString(strings.ToLower(match[1]), "")
		list = append(list, strings.ReplaceAll(text, " ", "-"))
	}
	return list
}
