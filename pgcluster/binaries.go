package pgcluster

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// minMajor is the oldest version that Reprise is tested with and that its
// authors still maintain.
const minMajor = 14

// binaries is one installation of the server.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// installGlobs is where installers put the server when it is not in PATH.
func installGlobs() []string {
	return []string{
		"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
		"/usr/pgsql-*/bin",          // PostgreSQL's own rpms
		"/usr/libexec/postgresql*",  // Alpine
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	}
}

// findBinaries returns the installation to use: the one in dir if given, or else
// in the folder REPRISE_POSTGRES_BIN, or else of those on the machine the one of
// major version want, or else the newest.
func findBinaries(ctx context.Context, dir string, want int) (binaries, error) {
	if dir == "" {
		dir = os.Getenv("REPRISE_POSTGRES_BIN")
	}
	if dir != "" {
		major, err := serverMajor(ctx, dir)
		if ctx.Err() != nil {
			return binaries{}, ctx.Err()
		}
		if err != nil {
			return binaries{}, fmt.Errorf("there is no PostgreSQL server in %s (REPRISE_POSTGRES_BIN): it must be the folder with the programs postgres and initdb", dir)
		}
		return binaries{dir, major}, nil
	}
	found := installed(ctx)
	if ctx.Err() != nil { // it has not looked everywhere
		return binaries{}, ctx.Err()
	}
	if i := slices.IndexFunc(found, func(b binaries) bool { return b.major == want }); i >= 0 {
		return found[i], nil
	}
	if len(found) == 0 {
		return binaries{}, fmt.Errorf("the PostgreSQL server is not installed: %s; or name the folder of its programs in REPRISE_POSTGRES_BIN", installHint())
	}
	newest := slices.MaxFunc(found, func(a, b binaries) int { return cmp.Compare(a.major, b.major) })
	if newest.major < minMajor {
		return binaries{}, fmt.Errorf("PostgreSQL %d in %s is too old: version %d or newer is needed", newest.major, newest.dir, minMajor)
	}
	return newest, nil
}

func installed(ctx context.Context) []binaries {
	var dirs []string
	if p, err := exec.LookPath("postgres"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(p))
		}
	}
	for _, glob := range installGlobs() {
		matches, _ := filepath.Glob(glob) // the only error is a bad pattern
		dirs = append(dirs, matches...)
	}
	var found []binaries
	for _, dir := range dirs {
		if major, err := serverMajor(ctx, dir); err == nil {
			found = append(found, binaries{dir, major})
		}
	}
	return found
}

// serverMajor returns the major version of the server in dir, for example 15.
func serverMajor(ctx context.Context, dir string) (int, error) {
	if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, err
	}
	// "postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)", "postgres (PostgreSQL) 18beta1"
	m := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("%q is no version of PostgreSQL", out)
	}
	return strconv.Atoi(string(m[1]))
}

// clusterVersion returns the major version that wrote the data in dir, 0 if
// there is none yet.
func clusterVersion(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) || err == nil && len(entries) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, explain(dir, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if os.IsNotExist(err) {
		return 0, fmt.Errorf("the folder %s is not empty, but holds no PostgreSQL data: move it away or choose another", dir)
	}
	if err != nil {
		return 0, explain(dir, err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("the PostgreSQL data in %s is damaged (its PG_VERSION is no number): %s", dir, beginAnew)
	}
	return major, nil
}

// installHint says what to do to get the server on this system.
func installHint() string {
	if runtime.GOOS == "darwin" {
		return "run `brew install postgresql@17`"
	}
	release, _ := os.ReadFile("/etc/os-release") // without it, the general advice
	return linuxInstallHint(string(release))
}

// linuxInstallHint reads the fields ID and ID_LIKE of os-release(5).
func linuxInstallHint(release string) string {
	var ids []string
	for line := range strings.Lines(release) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ID" || key == "ID_LIKE" {
			ids = append(ids, strings.Fields(strings.Trim(value, `"'`))...)
		}
	}
	hints := []struct{ id, hint string }{
		{"debian", "run `sudo apt-get install postgresql`"},
		{"ubuntu", "run `sudo apt-get install postgresql`"},
		{"fedora", "run `sudo dnf install postgresql-server`"},
		{"rhel", "run `sudo dnf install postgresql-server`"},
		{"arch", "run `sudo pacman -S postgresql`"},
		{"alpine", "run `sudo apk add postgresql`"},
		{"suse", "run `sudo zypper install postgresql-server`"},
	}
	for _, h := range hints {
		if slices.Contains(ids, h.id) {
			return h.hint
		}
	}
	return fmt.Sprintf("install PostgreSQL %d or newer, the server, with your system's package manager", minMajor)
}
