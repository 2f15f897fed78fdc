package pgcluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBadFolder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(dir string) error
		words []string
	}{
		{"another version", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("9\n"), 0o600)
		}, []string{"PostgreSQL 9", "install version 9", "move that folder away"}},
		{"version unreadable", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("?\n"), 0o600)
		}, []string{"damaged", "PG_VERSION"}},
		{"no cluster", func(dir string) error {
			return os.Remove(filepath.Join(dir, "PG_VERSION"))
		}, []string{"not empty", "holds no PostgreSQL data"}},
		{"control file cut", func(dir string) error {
			return os.Truncate(filepath.Join(dir, "global", "pg_control"), 100)
		}, []string{"damaged", ".log", "move that folder away"}},
		{"control file gone", func(dir string) error {
			return os.Remove(filepath.Join(dir, "global", "pg_control"))
		}, []string{"could not find the database system", ".log"}},
		{"write-ahead log gone", func(dir string) error {
			return os.RemoveAll(filepath.Join(dir, "pg_wal"))
		}, []string{"pg_wal", ".log"}},
		{"configuration broken", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "postgresql.conf"), []byte("nonsense\n"), 0o600)
		}, []string{"postgresql.conf", ".log"}},
		{"a file", func(dir string) error {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			return os.WriteFile(dir, nil, 0o600)
		}, []string{"not a directory"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			wantError(t, Options{Dir: dir}, append(tt.words, dir)...)
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		wantError(t, Options{}, "no folder is given")
	})
}

// TestForbiddenFolder runs as nobody when the tests run as root, whom no mode bit stops.
func TestForbiddenFolder(t *testing.T) {
	t.Parallel()
	acct := account{other: os.Geteuid() == 0, uid: 65534, gid: 65534}
	for name, mode := range map[string]os.FileMode{"itself": 0, "its parent": 0o755} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parent := publicDir(t)
			dir := filepath.Join(parent, "pg")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			blocked := dir
			if mode != 0 {
				blocked = parent
			} else if err := os.Chmod(parent, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(blocked, mode&0o555); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(blocked, 0o700) })
			_, answer := helper(t, dir, acct)
			t.Log(answer)
			checkWords(t, answer, []string{"error:", "no permission", dir})
		})
	}
}

// TestSocketTrap: somebody else has made the socket's folder to listen in it.
func TestSocketTrap(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	acct, err := chooseAccount(dir)
	if err != nil {
		t.Fatal(err)
	}
	path, err := makeSocketDir(dir, acct)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	wantError(t, Options{Dir: dir}, path, "not private", "remove it")
}

func TestNoBinaries(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	wantError(t, Options{Dir: filepath.Join(t.TempDir(), "pg"), BinDir: empty}, empty, "REPRISE_POSTGRES_BIN", "initdb")
}

func TestInstallHint(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]string{
		"PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n": "sudo apt-get install postgresql",
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n":        "sudo apt-get install postgresql",
		"ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n":   "sudo dnf install postgresql-server",
		"ID=alpine\n": "sudo apk add postgresql",
		"ID=arch\n":   "sudo pacman -S postgresql",
		"ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n": "sudo zypper install postgresql-server",
		"ID=plan9\n": "PostgreSQL 14 or newer",
		"":           "PostgreSQL 14 or newer",
	} {
		if got := linuxInstallHint(release); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", release, got, want)
		}
	}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`2026-01-01 [7] FATAL:  could not write lock file "postmaster.pid": No space left on device`: "the disk is full",
		`2026-01-01 [7] FATAL:  lock file "postmaster.pid" already exists`:                           "another PostgreSQL server",
		`2026-01-01 [7] FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use`:      "wait a moment",
		`postgres: could not access directory "/x": Permission denied`:                               "can't reach",
		`2026-01-01 [7] FATAL:  could not map anonymous shared memory: Cannot allocate memory`:       "not enough memory",
		"2026-01-01 [7] PANIC:  could not locate a valid checkpoint record\n2026-01-01 [6] LOG:  x":  "(could not locate a valid checkpoint record)",
		"": "it gave no reason",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		const before = "of an earlier start: No space left on device\n"
		if err := os.WriteFile(path, []byte(before+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		checkWords(t, diagnose(dir, path, int64(len(before))).Error(), []string{want})
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want bool
	}{
		{[]string{"/usr/lib/postgresql/15/bin/postgres", "-D", "/data", "-c", "fsync=off"}, true},
		{[]string{"postgres", "-D/data"}, true},
		{[]string{"postgres", "-D", "/data2"}, false},
		{[]string{"postgres: checkpointer "}, false},
		{[]string{"vim", "-D", "/data"}, false},
		{nil, false},
	}
	for _, tt := range tests {
		if got := servesDir(tt.args, "/data"); got != tt.want {
			t.Errorf("%q: got %v", tt.args, got)
		}
	}
	if args := processArgs(os.Getpid()); len(args) == 0 || filepath.Base(args[0]) != filepath.Base(os.Args[0]) {
		t.Errorf("this process's command line is %q", args)
	}
}

func TestMajor(t *testing.T) {
	t.Parallel()
	found := installed(context.Background())
	if len(found) == 0 {
		t.Fatal("no server found")
	}
	for _, b := range found {
		if b.major < 9 {
			t.Errorf("%s has version %d", b.dir, b.major)
		}
	}
}
