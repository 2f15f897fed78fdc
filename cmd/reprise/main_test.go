package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"reprise/app"
	"reprise/client"
	"reprise/config"
)

var update = flag.Bool("update", false, "write the help texts in testdata anew")

func TestMain(m *testing.M) {
	if os.Getenv(hangVariable) != "" {
		hang()
	}
	os.Setenv("COLUMNS", "100") // the width that help is wrapped to
	os.Exit(m.Run())
}

// calls records what a command has called, and lets it fail.
type calls struct {
	err error

	serve   *app.Options
	dev     *app.DevOptions
	migrate *config.Config
	token   *app.TokenOptions
	upload  *client.Options
	fsck    *app.FsckOptions
	found   int // by fsck, or graph verify
	graph   *app.GraphOptions
	flagged bool // --repair, or --restart
	log     *slog.Logger

	users    *app.UserOptions
	find     string // or who
	before   uuid.UUID
	disabled bool
	reason   string
}

// reprise runs a command.
func reprise(ctx context.Context, c *calls, environ []string, args ...string) (code int, stdout, stderr string) {
	var out, err strings.Builder
	p := &program{
		environ: environ, stdout: &out, stderr: &err,
		serve: func(_ context.Context, o app.Options) error { c.serve, c.log = &o, o.Log; return c.err },
		dev:   func(_ context.Context, o app.DevOptions) error { c.dev, c.log = &o, o.Log; return c.err },
		migrate: func(_ context.Context, cfg config.Config, log *slog.Logger) error {
			c.migrate, c.log = &cfg, log
			return c.err
		},
		token:  func(o app.TokenOptions) (string, error) { c.token = &o; return "a.b.c", c.err },
		upload: func(_ context.Context, o client.Options) error { c.upload = &o; return c.err },
		fsck:   func(_ context.Context, o app.FsckOptions) (int, error) { c.fsck = &o; return c.found, c.err },
		rebuildGraph: func(_ context.Context, o app.GraphOptions, restart bool) error {
			c.graph, c.flagged = &o, restart
			return c.err
		},
		verifyGraph: func(_ context.Context, o app.GraphOptions, repair bool) (int, error) {
			c.graph, c.flagged = &o, repair
			return c.found, c.err
		},
		retryGraph: func(_ context.Context, o app.GraphOptions) error { c.graph = &o; return c.err },
		listUsers: func(_ context.Context, o app.UserOptions, find string, before uuid.UUID) error {
			c.users, c.find, c.before = &o, find, before
			return c.err
		},
		showUser: func(_ context.Context, o app.UserOptions, who string) error { c.users, c.find = &o, who; return c.err },
		disableUser: func(_ context.Context, o app.UserOptions, who string, disabled bool, reason string) error {
			c.users, c.find, c.disabled, c.reason = &o, who, disabled, reason
			return c.err
		},
	}
	code = p.run(ctx, args)
	return code, out.String(), err.String()
}

var hexKey = strings.Repeat("0a", 32)

func serveEnviron(more ...string) []string {
	return append([]string{
		"REPRISE_DATABASE_URL=postgres://u:hunter2@db/reprise", "REPRISE_STORAGE_URL=file:///srv", "REPRISE_DEV_KEY=" + hexKey,
	}, more...)
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"", "serve", "dev", "migrate", "token", "user", "user list", "user disable", "upload", "fsck", "graph", "graph rebuild", "graph verify", "graph retry", "version"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			code, got, stderr := reprise(t.Context(), &calls{}, nil, strings.Fields(command+" --help")...)
			if code != 0 || stderr != "" {
				t.Errorf("exit code is %d, stderr %q", code, stderr)
			}
			path := filepath.Join("testdata", "help", strings.TrimSpace("reprise "+command)+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("help has changed; run go test ./cmd/reprise -update (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	environ := []string{"REPRISE_DATABASE_URL=postgres://u:hunter2@db/reprise"}
	id := uuid.MustParse("01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c")
	tests := map[string]calls{ // what is passed on, by the arguments
		"list": {},
		"list --find=a@b.example --before=01934b5e-7f3a-7cc1-9c1e-5a0f4f1d2b3c": {find: "a@b.example", before: id},
		"show firebase:x":                  {find: "firebase:x"},
		"disable firebase:x --reason=spam": {find: "firebase:x", disabled: true, reason: "spam"},
		"enable --reason=sorry firebase:x": {find: "firebase:x", reason: "sorry"},
	}
	for args, want := range tests {
		var c calls
		code, _, stderr := reprise(t.Context(), &c, environ, append([]string{"user"}, strings.Fields(args)...)...)
		if code != 0 || c.users == nil || c.users.Config.DatabaseURL != "postgres://u:hunter2@db/reprise" {
			t.Fatalf("%s: exit code %d, %q", args, code, stderr)
		}
		if c.find != want.find || c.before != want.before || c.disabled != want.disabled || c.reason != want.reason {
			t.Errorf("%s: passed on %+v", args, c)
		}
	}
	for _, args := range []string{"disable firebase:x", "show", "list --before=x", "disable x --reason=\x1b[2J"} {
		var c calls
		if code, _, _ := reprise(t.Context(), &c, environ, append([]string{"user"}, strings.Fields(args)...)...); code != 1 || c.users != nil {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
	if code, _, stderr := reprise(t.Context(), &calls{}, nil, "user", "list"); code != 1 || !strings.Contains(stderr, "REPRISE_DATABASE_URL") {
		t.Errorf("without a database: exit code %d, %q", code, stderr)
	}
}

func TestHelpWithoutArguments(t *testing.T) {
	t.Parallel()
	_, want, _ := reprise(t.Context(), &calls{}, nil, "--help")
	if code, got, _ := reprise(t.Context(), &calls{}, nil); code != 0 || got != want {
		t.Errorf("reprise alone: exit code %d, output differs from --help: %s", code, cmp.Diff(want, got))
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "reprise.env")
	if err := os.WriteFile(file, []byte("REPRISE_WORKERS=7\nREPRISE_MAX_DURATION=1h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c calls
	code, stdout, stderr := reprise(t.Context(), &c, serveEnviron("REPRISE_MAX_DURATION=2h"),
		"serve", "--config", file, "--roles=worker", "--addr=127.0.0.1:0", "--allowed-origins=https://a.example,https://b.example")
	if code != 0 || stdout != "" || stderr != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if c.serve.API || !c.serve.Worker || c.serve.Version == "" {
		t.Errorf("options are %+v, want the worker's only", c.serve)
	}
	cfg := c.serve.Config
	if cfg.Addr != "127.0.0.1:0" || cfg.Workers != 7 || cfg.MaxDuration != 2*time.Hour || cfg.DatabaseURL != "postgres://u:hunter2@db/reprise" ||
		!cmp.Equal(cfg.AllowedOrigins, []string{"https://a.example", "https://b.example"}) {
		t.Errorf("configuration is\n%v", cfg)
	}

	code, _, _ = reprise(t.Context(), &c, serveEnviron(), "serve")
	if code != 0 || !c.serve.API || !c.serve.Worker {
		t.Errorf("without --roles: exit code %d, options %+v", code, c.serve)
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	var c calls
	// What only a real server needs is not looked at.
	code, _, stderr := reprise(t.Context(), &c, []string{"REPRISE_DATABASE_URL=nonsense", "REPRISE_AUTH=firebase"}, "dev", "--dir=/x", "--max-upload-bytes=1MiB")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, stderr %q", code, stderr)
	}
	cfg := c.dev.Config
	if c.dev.Dir != "/x" || c.dev.User != "dev" || cfg.Auth != "dev" || cfg.DatabaseURL != "" ||
		cfg.PublicURL != "http://127.0.0.1:8080" || cfg.MaxUploadBytes != 1<<20 || cfg.LogFormat != "text" {
		t.Errorf("options are %+v", c.dev)
	}
	if _, ok := c.log.Handler().(*slog.TextHandler); !ok {
		t.Errorf("the log is a %T, want text for people", c.log.Handler())
	}
	if code, _, stderr := reprise(t.Context(), &calls{}, nil, "dev", "--addr=0.0.0.0:8080", "--public-url=http://laptop:8080"); code != exitUsage || !strings.Contains(stderr, "REPRISE_AUTH: dev lets") {
		t.Errorf("on every address: exit code %d, stderr %q", code, stderr)
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	var c calls
	code, _, stderr := reprise(t.Context(), &c, []string{"REPRISE_DATABASE_URL=postgres:///x", "REPRISE_LOG_LEVEL=debug"}, "migrate")
	if code != 0 || stderr != "" || c.migrate.DatabaseURL != "postgres:///x" {
		t.Errorf("exit code %d, stderr %q, configuration\n%v", code, stderr, c.migrate)
	}
	if !c.log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("the log level is not debug")
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	var c calls
	code, stdout, stderr := reprise(t.Context(), &c, []string{"REPRISE_DEV_KEY=" + hexKey}, "token", "--user", "alice", "--ttl=1h")
	if code != 0 || stdout != "a.b.c\n" || stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	want := &app.TokenOptions{User: "alice", TTL: time.Hour, Dir: ".reprise", Key: []byte("\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n")}
	if diff := cmp.Diff(want, c.token); diff != "" {
		t.Errorf("options differ (-want +got):\n%s", diff)
	}
	if code, _, _ := reprise(t.Context(), &c, nil, "token", "--user", "alice"); code != 0 || c.token.Key != nil {
		t.Errorf("without a key: exit code %d, key %x", code, c.token.Key)
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	var c calls
	code, stdout, stderr := reprise(t.Context(), &c, []string{"REPRISE_TOKEN=hunter2", "REPRISE_SERVER=https://a.example"},
		"upload", "a.wav", "b.wav", "--parallel=2", "--chunk=512KiB", "--retry-for=1m", "--cut-at=40%", "--wait", "--json", "--again",
		"--language=de", "--title=x")
	if code != 0 || stdout != "" || stderr != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	want := &client.Options{
		Files: []string{"a.wav", "b.wav"}, Server: "https://a.example", Token: "hunter2", Title: "x", Language: "de",
		Again: true, Wait: true, JSON: true, Parallel: 2, ChunkBytes: 512 << 10, RetryFor: time.Minute, CutAt: 0.4,
	}
	if diff := cmp.Diff(want, c.upload, cmpopts.IgnoreUnexported(client.Options{}), cmpopts.IgnoreFields(client.Options{}, "Version", "Stdout", "Stderr")); diff != "" {
		t.Errorf("options differ (-want +got):\n%s", diff)
	}
}

// A flag wins over the environment, also where they give the token in two ways.
func TestUploadToken(t *testing.T) {
	t.Parallel()
	both := []string{"REPRISE_TOKEN=of-environment", "REPRISE_TOKEN_FILE=file-of-environment"}
	for name, tt := range map[string]struct {
		environ, args []string
		token, file   string
	}{
		"flag for a file":  {both[:1], []string{"--token-file=file"}, "", "file"},
		"flag for a token": {both[1:], []string{"--token=token"}, "token", ""},
		"both flags":       {nil, []string{"--token=token", "--token-file=file"}, "token", "file"}, // which the client refuses
		"both variables":   {both, nil, "of-environment", "file-of-environment"},
		"neither flag":     {both[:1], nil, "of-environment", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c calls
			if code, _, stderr := reprise(t.Context(), &c, tt.environ, append([]string{"upload", "a.wav"}, tt.args...)...); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if c.upload.Token != tt.token || c.upload.TokenFile != tt.file {
				t.Errorf("token %q, file %q; want %q, %q", c.upload.Token, c.upload.TokenFile, tt.token, tt.file)
			}
		})
	}
}

func TestFsck(t *testing.T) {
	t.Parallel()
	environ := serveEnviron("REPRISE_DELETED_RETENTION=1h")
	var c calls
	code, stdout, stderr := reprise(t.Context(), &c, environ, "fsck", "--verify", "--repair", "--delete-unknown", "--older-than=48h", "--json")
	if code != 0 || stdout != "" || stderr != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	o := c.fsck
	if !o.Verify || !o.Repair || !o.DeleteUnknown || !o.JSON || o.OlderThan != 48*time.Hour ||
		o.Config.StorageURL != "file:///srv" || o.Config.DeletedRetention != time.Hour || o.Config.DatabaseURL != "postgres://u:hunter2@db/reprise" {
		t.Errorf("options are %+v", o)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx     context.Context
		calls   calls
		environ []string
		args    []string
		want    int
		stderr  string
	}{
		"problems":    {calls: calls{found: 3}, environ: environ, want: 1},
		"fails":       {calls: calls{err: errors.New("no"), found: 3}, environ: environ, want: 2, stderr: "reprise: no\n"},
		"interrupted": {ctx: stopped, calls: calls{err: context.Canceled}, environ: environ, want: 130},
		"setting":     {environ: []string{"REPRISE_DATABASE_URL=postgres:///x", "REPRISE_STORAGE_URL=x"}, want: 2, stderr: "reprise: REPRISE_STORAGE_URL: neither "},
		"flag":        {environ: environ, args: []string{"--fix"}, want: 2, stderr: "reprise: unknown flag --fix; see reprise fsck --help\n"},
		"flags":       {environ: environ, args: []string{"--delete-unknown"}, want: 2, stderr: "reprise: --delete-unknown needs --repair; see reprise fsck --help\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := tt.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			code, _, stderr := reprise(ctx, &tt.calls, tt.environ, append([]string{"fsck"}, tt.args...)...)
			if code != tt.want || !strings.HasPrefix(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("exit code %d, stderr %q, want %d and %q", code, stderr, tt.want, tt.stderr)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, _ := reprise(t.Context(), &calls{}, nil, "version")
	if code != 0 || !strings.HasPrefix(stdout, "reprise ") || !strings.HasSuffix(stdout, ")\n") {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	canceled := fmt.Errorf("open the database: %w", context.Canceled)
	unknown := &client.Problem{Status: 401}
	tests := map[string]struct {
		ctx     context.Context
		err     error // of what the command calls
		environ []string
		args    []string
		want    int
		stderr  string
	}{
		"unknown command":     {args: []string{"sing"}, want: 1, stderr: "reprise: unexpected argument sing; see reprise --help\n"},
		"unknown flag":        {args: []string{"serve", "--adr=x"}, want: 1, stderr: "reprise: unknown flag --adr, did you mean \"--addr\"?; see reprise serve --help\n"},
		"unknown role":        {args: []string{"serve", "--roles=cook"}, want: 1, stderr: "reprise: --roles must be one of \"api\",\"worker\" but got \"cook\"; see reprise serve --help\n"},
		"malformed flag":      {args: []string{"serve", "--workers=many"}, want: 1, stderr: "reprise: --workers: expected a valid 64 bit int but got \"many\"; see reprise serve --help\n"},
		"nothing to upload":   {args: []string{"upload"}, want: 1, stderr: "reprise: expected \"<file> ...\"; see reprise upload --help\n"},
		"no file at once":     {args: []string{"upload", "x", "--parallel=0"}, want: 1, stderr: "reprise: --parallel must be at least 1; see reprise upload --help\n"},
		"empty chunks":        {args: []string{"upload", "x", "--chunk=0"}, want: 1, stderr: "reprise: --chunk must be at least 1 byte; see reprise upload --help\n"},
		"no time to retry":    {args: []string{"upload", "x", "--retry-for=0s"}, want: 1, stderr: "reprise: --retry-for must be longer than 0s; see reprise upload --help\n"},
		"token for nobody":    {args: []string{"token"}, want: 1, stderr: "reprise: missing flags: --user=NAME; see reprise token --help\n"},
		"configuration":       {args: []string{"migrate"}, want: 1, stderr: "reprise: REPRISE_DATABASE_URL: needed: postgres://user:password@host:5432/database, or REPRISE_DATABASE_URL_FILE\n"},
		"no file":             {args: []string{"migrate", "--config=/does/not/exist"}, want: 1, stderr: "reprise: --config: open /does/not/exist: no such file or directory; see reprise migrate --help\n"},
		"variable of upload":  {environ: []string{"REPRISE_SERVER=https://x"}, args: []string{"upload", "x", "--cut-at=2"}, want: 1, stderr: "reprise: --cut-at: \"2\" is not a share between 0% and 100%, such as 40%; see reprise upload --help\n"},
		"serve fails":         {err: errors.New("the port is in use"), environ: serveEnviron(), args: []string{"serve"}, want: 2, stderr: "reprise: the port is in use\n"},
		"dev fails":           {err: fs.ErrPermission, args: []string{"dev"}, want: 2, stderr: "reprise: permission denied\n"},
		"migrate fails":       {err: errors.New("no"), environ: serveEnviron(), args: []string{"migrate"}, want: 2, stderr: "reprise: no\n"},
		"token fails":         {err: errors.New("no"), args: []string{"token", "--user=x"}, want: 2, stderr: "reprise: no\n"},
		"serve stopped":       {ctx: stopped, err: canceled, environ: serveEnviron(), args: []string{"serve"}, want: 0},
		"dev stopped":         {ctx: stopped, err: canceled, args: []string{"dev"}, want: 0},
		"migrate interrupted": {ctx: stopped, err: canceled, environ: serveEnviron(), args: []string{"migrate"}, want: 130},
		"upload unauthorized": {err: unknown, args: []string{"upload", "x"}, want: client.ExitUnauthorized}, // it has told the user
		"upload interrupted":  {ctx: stopped, err: context.Canceled, args: []string{"upload", "x"}, want: client.ExitInterrupted},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := tt.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			code, stdout, stderr := reprise(ctx, &calls{err: tt.err}, tt.environ, tt.args...)
			if code != tt.want {
				t.Errorf("exit code is %d, want %d", code, tt.want)
			}
			if diff := cmp.Diff(tt.stderr, stderr); diff != "" {
				t.Errorf("stderr differs (-want +got):\n%s", diff)
			}
			if tt.err != nil && stdout != "" && !strings.HasPrefix(stdout, "a.b.c") {
				t.Errorf("stdout is %q", stdout)
			}
		})
	}
}
