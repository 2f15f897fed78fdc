// Package importrules holds the rules of who may import what as a test. They
// keep the adapters (HTTP, SQL, tusd, storage, media) from leaning on each
// other: they meet in package recording's words, and app joins them.
package importrules

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "reprise"

// anything allows every package of ours that is not reserved for tests.
const anything = "*"

// ours says for each package which others of ours it may import. Those of internal/ that
// it names are part of the program; the others there are for tests.
func ours() map[string][]string {
	return map[string][]string{
		"cmd/reprise":         {"config", "app", "client", "processing/sandbox"},
		"app":                 {anything},
		"config":              {},
		"recording":           {},
		"auth":                {"recording"},
		"upload":              {"recording", "auth"},
		"hooks":               {"recording"},
		"catalog":             {"recording", "migrations"},
		"processing":          {"recording", "processing/ffmpeg", "processing/sandbox", "processing/speech", "processing/analysis", "processing/provider"},
		"processing/ffmpeg":   {"recording", "processing/sandbox"},
		"processing/sandbox":  {},
		"processing/provider": {},
		"processing/speech":   {"recording", "processing/sandbox", "processing/provider"},
		"processing/analysis": {"recording", "processing/provider"},
		"storage":             {"recording"},
		"storage/disk":        {"recording", "storage"},
		"storage/s3":          {"recording", "storage"},
		"storage/storagetest": {"recording", "storage"},
		"fsck":                {"recording", "internal/jsondoc"},
		"graphsync":           {"recording", "migrations", "internal/jsondoc"},
		"events":              {"recording", "auth"},
		"limits":              {"recording", "auth"},
		"api":                 {"recording", "auth"},
		"web":                 {},
		"migrations":          {},
		"pgcluster":           {},
		"client":              {"recording"},
		"internal/failpoint":  {},
		"internal/jsondoc":    {},
	}
}

// free are the folders of tests and tools, which may import everything.
func free() []string { return []string{"e2e", "bench", "internal"} }

// A reservation says that only some packages may import what begins with path.
type reservation struct {
	path string
	by   []string
	why  string
}

func reservations() []reservation {
	return []reservation{
		{module + "/app", []string{"cmd/reprise"}, "app is the wiring: whoever imports it depends on everything"},
		{module + "/storage/storagetest", nil, "it is the test suite of the storages"},
		{"github.com/tus/tusd", []string{"upload"}, "only upload knows tusd"},
		{"github.com/jackc/pgx", []string{"catalog", "pgcluster", "app", "processing"}, "SQL is spoken by catalog; the others only open connections or name the job queue's driver"},
		{"database/sql", []string{"catalog"}, "SQL is spoken by catalog"},
		{"github.com/pressly/goose", []string{"catalog"}, "only catalog migrates the database"},
		{"github.com/riverqueue/river", []string{"catalog", "processing", "app"}, "jobs are enqueued by catalog and worked by processing"},
		{"github.com/aws/", []string{"storage/s3"}, "only storage/s3 knows S3"},
		{"github.com/neo4j/", []string{"graphsync"}, "only graphsync knows Neo4j"},
		{"firebase.google.com/", []string{"auth"}, "only auth knows the identity provider"},
		{"github.com/golang-jwt/jwt", []string{"auth"}, "only auth reads tokens"},
		{"github.com/danielgtaylor/huma", []string{"api"}, "only api knows the REST framework"},
		{"github.com/coder/websocket", []string{"events", "client"}, "only events and its client speak WebSocket"},
		{"github.com/alecthomas/kong", []string{"config", "cmd/reprise"}, "flags are parsed in cmd and described in config"},
		{"os/exec", []string{"processing/ffmpeg", "processing/speech", "processing/sandbox", "pgcluster"}, "programs are started in processing/ffmpeg and processing/speech, where they are fenced in, and in pgcluster"},
		{"net/http/pprof", []string{"app"}, "profiles belong to the admin listener"},
	}
}

// A ban forbids packages what begins with one of the paths.
type ban struct {
	of    []string
	paths []string
	why   string
}

func bans() []ban {
	return []ban{
		{[]string{"catalog", "processing", "processing/ffmpeg", "processing/sandbox", "hooks", "storage", "storage/disk", "pgcluster", "config", "fsck"},
			[]string{"net/http"}, "it does not serve HTTP"},
		{[]string{"processing/speech", "processing/analysis"}, []string{"net/http"}, "services are asked through processing/provider, which knows where to"},
		{[]string{"cmd/reprise"}, []string{"net/http", "database/sql"}, "commands parse and call app"},
	}
}

// alone are packages that import nothing from outside the standard library but
// what is named.
func alone() map[string][]string {
	return map[string][]string{
		"recording":          {"github.com/google/uuid"},
		"migrations":         {},
		"web":                {},
		"internal/failpoint": {},
		"internal/jsondoc":   {},
		"storage":            {"github.com/google/uuid"},
		"storage/disk":       {"github.com/google/uuid", "golang.org/x/sys"},
		"pgcluster":          {"github.com/jackc/pgx"},
		"processing/sandbox": {"github.com/elastic/go-seccomp-bpf", "golang.org/x/sys"},
	}
}

// goPackage is what a folder's files import, whatever their build tags.
type goPackage struct {
	importPath  string
	imports     []string
	testImports []string
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range readPackages(t, filepath.Join("..", "..")) {
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
}

// readPackages reads the packages below root. It does so itself instead of
// asking go list, so that go test knows which files a cached result depends on.
func readPackages(t *testing.T, root string) []goPackage {
	t.Helper()
	packages := map[string]*goPackage{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			// What the go command passes over, and Node's packages.
			hidden := path != root && strings.ContainsAny(entry.Name()[:1], "._")
			if hidden || entry.Name() == "testdata" || entry.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if packages[dir] == nil {
			packages[dir] = &goPackage{importPath: module + "/" + filepath.ToSlash(dir)}
		}
		return packages[dir].add(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	var found []goPackage
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		found = append(found, *packages[dir])
	}
	return found
}

// add reads one file's imports.
func (p *goPackage) add(path string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	list := &p.imports
	if strings.HasSuffix(path, "_test.go") {
		list = &p.testImports
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		if !slices.Contains(*list, imported) {
			*list = append(*list, imported)
		}
	}
	return nil
}

// violations returns a sentence for each import of p that breaks a rule.
func violations(p goPackage) []string {
	name := strings.TrimPrefix(p.importPath, module+"/")
	top, _, _ := strings.Cut(name, "/")
	allowed, known := ours()[name]
	switch {
	case !known && slices.Contains(free(), top):
		return nil
	case !known:
		return []string{fmt.Sprintf("%s is not in the table of packages: say in %s/internal/importrules what it may import", name, module)}
	}
	var found []string
	for _, path := range p.imports {
		if v := violation(name, allowed, path); v != "" {
			found = append(found, fmt.Sprintf("%s must not import %s: %s", name, path, v))
		}
	}
	if name == "app" || name == "cmd/reprise" {
		return found
	}
	for _, path := range p.testImports {
		if path == module+"/app" {
			found = append(found, fmt.Sprintf("the tests of %s must not import %s: only end-to-end tests do", name, path))
		}
	}
	return found
}

// violation returns why the package must not import path, "" if it may.
func violation(name string, allowed []string, path string) string {
	if own, isOurs := strings.CutPrefix(path, module+"/"); isOurs {
		_, known := ours()[own]
		switch {
		case own == "internal/failpoint":
			return ""
		case !known && strings.HasPrefix(own, "internal/"):
			return "internal/ is for tests"
		case !slices.Contains(allowed, own) && !slices.Contains(allowed, anything):
			return fmt.Sprintf("of ours it may import %s", listOf(allowed))
		}
	}
	for _, r := range reservations() {
		if below(path, r.path) && !slices.Contains(r.by, name) {
			return r.why
		}
	}
	for _, b := range bans() {
		if slices.Contains(b.of, name) && slices.ContainsFunc(b.paths, func(banned string) bool { return below(path, banned) }) {
			return b.why
		}
	}
	others, isAlone := alone()[name]
	external := strings.Contains(strings.Split(path, "/")[0], ".")
	if isAlone && external && !slices.ContainsFunc(others, func(other string) bool { return below(path, other) }) {
		return "from outside the standard library it may import " + listOf(others)
	}
	return ""
}

// below reports whether path is prefix or in it.
func below(path, prefix string) bool {
	rest, found := strings.CutPrefix(path, prefix)
	return found && (rest == "" || rest[0] == '/' || strings.HasSuffix(prefix, "/"))
}

func listOf(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return "only " + strings.Join(names, ", ")
}

func TestViolations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		pkg  goPackage
		want []string
	}{
		{goPackage{importPath: "reprise/recording", imports: []string{"time", "github.com/google/uuid"}}, nil},
		{goPackage{importPath: "reprise/recording", imports: []string{"github.com/google/go-cmp/cmp"}},
			[]string{"recording must not import github.com/google/go-cmp/cmp: from outside the standard library it may import only github.com/google/uuid"}},
		{goPackage{importPath: "reprise/upload", imports: []string{"reprise/hooks", "github.com/tus/tusd/v2/pkg/handler", "github.com/jackc/pgx/v5", "reprise/internal/failpoint"}},
			[]string{
				"upload must not import reprise/hooks: of ours it may import only recording, auth",
				"upload must not import github.com/jackc/pgx/v5: SQL is spoken by catalog; the others only open connections or name the job queue's driver",
			}},
		{goPackage{importPath: "reprise/api", imports: []string{"reprise/internal/pgtest", "reprise/app"}, testImports: []string{"reprise/internal/pgtest", "reprise/app"}},
			[]string{
				"api must not import reprise/internal/pgtest: internal/ is for tests",
				"api must not import reprise/app: of ours it may import only recording, auth",
				"the tests of api must not import reprise/app: only end-to-end tests do",
			}},
		{goPackage{importPath: "reprise/app", imports: []string{"reprise/storage/disk", "reprise/storage/storagetest"}},
			[]string{"app must not import reprise/storage/storagetest: it is the test suite of the storages"}},
		{goPackage{importPath: "reprise/processing", imports: []string{"os/exec", "net/http/httputil"}},
			[]string{
				"processing must not import os/exec: programs are started in processing/ffmpeg and processing/speech, where they are fenced in, and in pgcluster",
				"processing must not import net/http/httputil: it does not serve HTTP",
			}},
		{goPackage{importPath: "reprise/util"},
			[]string{"util is not in the table of packages: say in reprise/internal/importrules what it may import"}},
		{goPackage{importPath: "reprise/e2e/tus", imports: []string{"reprise/app", "os/exec"}}, nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, violations(tt.pkg)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.pkg.importPath, diff)
		}
	}
}
