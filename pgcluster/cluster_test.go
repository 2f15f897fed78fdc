package pgcluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

const envHold = "PGCLUSTER_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envHold); dir != "" {
		hold(dir)
		return
	}
	code := m.Run()
	if made.root != "" {
		os.RemoveAll(made.root)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// hold is what a child process does in place of the tests: it runs a cluster in
// dir until its standard input ends.
func hold(dir string) {
	c, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	fmt.Println("pid", c.cmd.Process.Pid)
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = c.Stop(context.Background())
}

// made is a cluster that the tests copy, because making one takes a second.
var made struct {
	sync.Once
	root string
	err  error
}

func newDir(t *testing.T) string {
	t.Helper()
	made.Do(func() {
		if made.root, made.err = os.MkdirTemp("", "pgcluster-test-"); made.err != nil {
			return
		}
		var c *Cluster
		if c, made.err = Start(context.Background(), Options{Dir: filepath.Join(made.root, "pg")}); made.err == nil {
			made.err = c.Stop(context.Background())
		}
	})
	if made.err != nil {
		t.Fatal(made.err)
	}
	dir := filepath.Join(t.TempDir(), "pg")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(made.root, "pg"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, dir string) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c, err := Start(ctx, Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop(context.Background()) })
	return c
}

// query runs one statement and returns its one value as text.
func query(t *testing.T, c *Cluster, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		t.Fatal(err)
	}
	return text
}

// wantError starts dir and checks that it fails in one line with these words.
func wantError(t *testing.T, opts Options, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c, err := Start(ctx, opts)
	if err == nil {
		_ = c.Stop(context.Background())
		t.Fatal("it started")
	}
	t.Log(err)
	checkWords(t, err.Error(), words)
}

func checkWords(t *testing.T, text string, words []string) {
	t.Helper()
	if strings.Contains(text, "\n") {
		t.Errorf("more than one line: %q", text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

// TestNew also holds the promise that a folder below one that only root may
// enter works: its parent is such a one when the tests run as root.
func TestNew(t *testing.T) {
	t.Parallel()
	parent := filepath.Join(t.TempDir(), "with space", "private")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "pg")
	c := start(t, dir)

	st, err := os.Stat(c.socketDir)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder has mode %v", st.Mode())
	}
	for setting, want := range map[string]string{
		"listen_addresses": "", "server_encoding": "UTF8", "data_checksums": "on", "max_connections": "100", "fsync": "off",
	} {
		if got := query(t, c, "SHOW "+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	query(t, c, "CREATE TABLE kept (word text)")
	query(t, c, "INSERT INTO kept VALUES ('hello')")
	if err := c.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(context.Background()); err != nil {
		t.Errorf("the second Stop: %v", err)
	}
	if _, err := os.Stat(c.socketDir); !os.IsNotExist(err) {
		t.Errorf("the socket's folder is still there: %v", err)
	}

	again := start(t, dir)
	if got := query(t, again, "SELECT word FROM kept"); got != "hello" {
		t.Errorf("after a restart the table holds %q", got)
	}
}

func TestDurable(t *testing.T) {
	t.Parallel()
	c, err := Start(context.Background(), Options{Dir: newDir(t), Durable: true, MaxConnections: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop(context.Background())
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "20",
	} {
		if got := query(t, c, "SHOW "+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	c := start(t, newDir(t))
	wantError(t, Options{Dir: c.dir}, "using the PostgreSQL data", strconv.Itoa(os.Getpid()))
	if got := query(t, c, "SELECT 'alive'"); got != "alive" {
		t.Errorf("the first server answers %q", got)
	}
}

func TestServerKilled(t *testing.T) {
	t.Parallel()
	c := start(t, newDir(t))
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	err := c.Stop(context.Background())
	if err == nil {
		t.Fatal("Stop says that all is well")
	}
	checkWords(t, err.Error(), []string{"ended badly", c.LogPath()})
	// Its children notice on their own and leave within moments.
	for deadline := time.Now().Add(20 * time.Second); ; {
		again, err := Start(context.Background(), Options{Dir: c.dir})
		if err == nil {
			defer again.Stop(context.Background())
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		// A process that another test is just starting has the lock's file open until it
		// is that other program.
		if !strings.Contains(err.Error(), "using the PostgreSQL data") {
			checkWords(t, err.Error(), []string{"killed PostgreSQL server"})
		}
	}
}

// helper runs this test binary in place of reprise, as the account.
func helper(t *testing.T, dir string, acct account) (cmd *exec.Cmd, answer string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if acct.other {
		self = copyProgram(t, self)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), envHold+"="+dir)
	cmd.Dir = "/"
	if acct.other {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: acct.uid, Gid: acct.gid}}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(line)
}

// publicDir makes a folder that everybody may enter, unlike t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgcluster-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyProgram copies one to where everybody may run it.
func copyProgram(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(publicDir(t), "program")
	if err := os.WriteFile(to, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

func killAndWait(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
}

func TestParentKilled(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	cmd, answer := helper(t, dir, account{})
	pid, err := strconv.Atoi(strings.TrimPrefix(answer, "pid "))
	if err != nil {
		t.Fatal(answer)
	}
	killAndWait(t, cmd)
	// Started at once: it meets the leftover while that is still there.
	c := start(t, dir)
	if servesDir(processArgs(pid), dir) {
		t.Error("the leftover is still running")
	}
	if err := c.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}

	if runtime.GOOS != "linux" {
		return // no other system ends a child with its parent
	}
	cmd, answer = helper(t, dir, account{})
	if pid, err = strconv.Atoi(strings.TrimPrefix(answer, "pid ")); err != nil {
		t.Fatal(answer)
	}
	killAndWait(t, cmd)
	for deadline := time.Now().Add(20 * time.Second); servesDir(processArgs(pid), dir); time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatal("the server outlives its parent")
		}
	}
	start(t, dir) // and its Stop removes what the killed ones left
}

// TestLeftover starts a server that has no parent who would end it.
func TestLeftover(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	c := start(t, dir)
	args := c.cmd.Args
	if err := c.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	acct, err := chooseAccount(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := makeSocketDir(dir, acct); err != nil {
		t.Fatal(err)
	}
	left := &Cluster{dir: dir, cmd: acct.command(exec.Command(args[0], args[1:]...), dir), socketDir: c.socketDir}
	if err := left.run(); err != nil {
		t.Fatal(err)
	}
	if err := left.awaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
	start(t, dir)
	select {
	case <-left.done:
	default:
		t.Error("the leftover is still running")
	}
}

func TestStalePidFile(t *testing.T) {
	t.Parallel()
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	for name, pid := range map[string]func(t *testing.T, acct account) string{
		"dead": func(*testing.T, account) string { return strconv.Itoa(dead.Process.Pid) },
		"given to another program": func(t *testing.T, acct account) string {
			// As the server's user: the server takes others' processes for no rivals.
			cmd := acct.command(exec.Command("sleep", "600"), "/")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Error("the other program was stopped:", err)
				}
				_ = cmd.Wait()
			})
			return strconv.Itoa(cmd.Process.Pid)
		},
		"empty": func(*testing.T, account) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newDir(t)
			acct, err := chooseAccount(dir)
			if err != nil {
				t.Fatal(err)
			}
			text := pid(t, acct)
			if text != "" {
				text += "\n" + dir + "\n1700000000\n5432\n/tmp\n\n  5432001    123456\nready   \n"
			}
			if err := os.WriteFile(filepath.Join(dir, "postmaster.pid"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			start(t, dir)
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pg")
	for _, after := range []time.Duration{50 * time.Millisecond, 400 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(context.Background(), after)
		c, err := Start(ctx, Options{Dir: dir})
		cancel()
		if err == nil {
			_ = c.Stop(context.Background())
			t.Logf("it started within %v", after)
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", after, err)
		}
	}
	start(t, dir)
}
