package clients

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildReprise builds the program as people get it.
func buildReprise(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "reprise")
	if out, err := exec.Command("go", "build", "-o", program, "reprise/cmd/reprise").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return program
}

// devProcess is a running "reprise dev".
type devProcess struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string // the folder that it runs in
	stdout logText
	stderr logText
	ended  chan struct{}
}

// startDev runs "reprise dev" in a folder. Ports are free ones, unless args say
// otherwise.
func startDev(t *testing.T, program, dir string, args ...string) *devProcess {
	t.Helper()
	p := &devProcess{t: t, dir: dir, ended: make(chan struct{})}
	p.cmd = exec.Command(program, append([]string{"dev", "--addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"}, args...)...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.stdout, &p.stderr
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "REPRISE_") || strings.HasPrefix(kv, "REPRISE_POSTGRES_BIN=") {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its exit code is looked at when it is wanted
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(os.Interrupt) // an error means that it has ended
		if !p.waited() {
			_ = p.cmd.Process.Kill()
		}
		if t.Failed() {
			t.Logf("reprise dev said:\n%s\n%s", &p.stdout, p.stderr.tail(30))
		}
	})
	return p
}

// waited waits for the end of the process, and reports whether it came.
func (p *devProcess) waited() bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(patience):
		return false
	}
}

// exit waits for the end of the process and returns its exit code.
func (p *devProcess) exit() int {
	p.t.Helper()
	if !p.waited() {
		p.t.Fatal("reprise dev does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// up waits until it greets, and returns the server and the user of its token.
func (p *devProcess) up() user {
	p.t.Helper()
	api, metrics := regexp.MustCompile(`API +(http://\S+)/docs`), regexp.MustCompile(`Metrics +(http://\S+)/metrics`)
	token := regexp.MustCompile(`Token +(\S+)\n`)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		text := p.stdout.String()
		if m := token.FindStringSubmatch(text); m != nil {
			s := &server{http: &http.Client{Transport: &http.Transport{}, Timeout: patience}, log: &p.stderr}
			p.t.Cleanup(s.http.CloseIdleConnections)
			s.url = api.FindStringSubmatch(text)[1]
			s.line, s.admin = s.url, metrics.FindStringSubmatch(text)[1]
			return user{t: p.t, s: s, token: m[1]}
		}
		select {
		case <-p.ended:
			p.t.Fatalf("reprise dev ended with %d: %s", p.exit(), &p.stderr)
		default:
		}
	}
	p.t.Fatal("reprise dev does not come up")
	return user{}
}

// interrupt presses Ctrl-C, and checks that everything stops.
func (p *devProcess) interrupt() {
	p.t.Helper()
	postgres := p.postgresPID()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
	if code := p.exit(); code != 0 {
		p.t.Errorf("exit code %d after Ctrl-C: %s", code, &p.stderr)
	}
	if alive(postgres) {
		p.t.Error("PostgreSQL still runs after Ctrl-C")
	}
}

// postgresPID is the process of its database.
func (p *devProcess) postgresPID() int {
	p.t.Helper()
	f, err := os.Open(filepath.Join(p.dir, ".reprise", "postgres", "postmaster.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan()
	pid, err := strconv.Atoi(lines.Text())
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

// alive reports whether a process exists.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// gone waits until a process is no more.
func gone(pid int) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !alive(pid) {
			return true
		}
	}
	return false
}

// complains checks that it ended with a failure and one clear sentence.
func (p *devProcess) complains(wants ...string) {
	p.t.Helper()
	code, said := p.exit(), p.stderr.String()
	if code != 2 {
		p.t.Errorf("exit code %d, want 2", code)
	}
	for _, want := range wants {
		if !strings.Contains(said, want) {
			p.t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	var sentences []string
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "time=") { // the log
			sentences = append(sentences, line)
		}
	}
	if len(sentences) != 1 || !strings.HasPrefix(sentences[0], "reprise: ") {
		p.t.Errorf("it says more than one sentence:\n%s", strings.Join(sentences, ""))
	}
	for _, trace := range []string{"goroutine ", "panic", ".go:", "SQLSTATE"} {
		if strings.Contains(strings.Join(sentences, ""), trace) {
			p.t.Errorf("it shows its insides (%s):\n%s", trace, said)
		}
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	program := buildReprise(t)
	tests := map[string]func(t *testing.T, program string){
		"life":                 testDevLife,
		"port in use":          testDevPortInUse,
		"folder in use":        testDevFolderInUse,
		"another version":      testDevAnotherVersion,
		"interrupted at start": testDevInterruptedAtStart,
		"database dies":        testDevDatabaseDies,
	}
	if os.Geteuid() == 0 { // who else could mount a small disk
		tests["full disk at start"] = testDevFullDiskAtStart
		tests["disk fills up"] = testDevDiskFillsUp
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

// testDevLife starts it in an empty folder, uses it, stops it, finds the data
// again, kills everything, and finds the data once more.
func testDevLife(t *testing.T, program string) {
	dir := t.TempDir()
	data := makeFLAC(t)

	first := startDev(t, program, dir)
	u := first.up()
	id, _ := u.upload(data, map[string]string{"title": "Kept"})
	if r := u.settled(id); r.State != "ready" {
		t.Fatalf("recording: %+v", r)
	}
	if got := u.do(http.MethodGet, "/", nil); got.status != http.StatusOK || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
		t.Errorf("the console: %v", got)
	}
	first.interrupt()

	began := time.Now()
	second := startDev(t, program, dir)
	u = second.up()
	t.Logf("started again in %s", time.Since(began))
	check := func() {
		t.Helper()
		if got := u.recording(id); got.Title != "Kept" || got.State != "ready" {
			t.Errorf("recording: %+v", got)
		}
		if got := u.do(http.MethodGet, "/v1/recordings/"+id+"/audio?format=original", nil); sha256Hex(got.body) != sha256Hex(data) {
			t.Errorf("original: %v", got)
		}
	}
	check()

	// The database first, so that its pid file stays behind.
	postgres := second.postgresPID()
	for _, pid := range []int{postgres, second.cmd.Process.Pid} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	second.exit()
	if !gone(postgres) {
		t.Fatal("PostgreSQL survives SIGKILL")
	}
	if got := second.postgresPID(); got != postgres {
		t.Fatalf("the pid file names %d, want %d", got, postgres)
	}
	third := startDev(t, program, dir)
	u = third.up()
	check()
}

func testDevPortInUse(t *testing.T, program string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, flag := range []string{"--addr", "--admin-addr"} {
		p := startDev(t, program, t.TempDir(), flag, l.Addr().String())
		setting := "REPRISE_" + strings.ToUpper(strings.ReplaceAll(flag[2:], "-", "_"))
		p.complains(l.Addr().String()+" is in use", "with "+flag+" or "+setting)
		if _, err := os.Stat(filepath.Join(p.dir, ".reprise", "postgres")); !os.IsNotExist(err) {
			t.Errorf("a database was made all the same: %v", err)
		}
	}
}

func testDevFolderInUse(t *testing.T, program string) {
	dir := t.TempDir()
	first := startDev(t, program, dir)
	u := first.up()
	second := startDev(t, program, dir)
	second.complains(fmt.Sprintf("pid %d", first.cmd.Process.Pid), "stop it first")
	if got := u.do(http.MethodGet, "/v1/me", nil); got.status != http.StatusOK {
		t.Errorf("the first one has suffered: %v", got)
	}
}

func testDevAnotherVersion(t *testing.T, program string) {
	dir := t.TempDir()
	data := filepath.Join(dir, ".reprise", "postgres")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte("11\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	startDev(t, program, dir).complains("PostgreSQL 11", "install version 11")
}

func testDevInterruptedAtStart(t *testing.T, program string) {
	dir := t.TempDir()
	for _, wait := range []time.Duration{50, 300, 700, 1200} {
		p := startDev(t, program, dir)
		select {
		case <-time.After(wait * time.Millisecond):
		case <-p.ended:
		}
		_ = p.cmd.Process.Signal(os.Interrupt)
		// A process that has not yet said that it handles the signal is ended by it.
		if code := p.exit(); code != 0 && (code != -1 || p.stdout.String()+p.stderr.String() != "") {
			t.Errorf("interrupted after %d ms: exit code %d: %s", wait, code, &p.stderr)
		}
	}
	p := startDev(t, program, dir)
	if got := p.up().do(http.MethodGet, "/v1/me", nil); got.status != http.StatusOK {
		t.Errorf("after interrupted starts: %v", got)
	}
}

// smallDisk mounts a disk of a few megabytes.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", megabytes), "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

func testDevFullDiskAtStart(t *testing.T, program string) {
	for _, megabytes := range []int{1, 12, 30} {
		startDev(t, program, smallDisk(t, megabytes)).complains("disk", "free some")
	}
	disk := smallDisk(t, 1) // not even for the key
	if err := os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	startDev(t, program, disk).complains("no room left on the disk of "+filepath.Join(disk, ".reprise"), "free some")
}

// testDevDiskFillsUp uses up what is left of the disk while it runs. Clients and
// operators are told, nothing ends, and with room again it goes on.
func testDevDiskFillsUp(t *testing.T, program string) {
	disk := smallDisk(t, 80)
	p := startDev(t, program, disk)
	u := p.up()
	data := makeFLAC(t)
	url, id := u.create(len(data), nil)
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 80<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if got := u.patch(url, 0, data); got.status != http.StatusInsufficientStorage || got.code() != "storage_full" {
		t.Errorf("PATCH: %v", got)
	}
	if status, v := u.s.readyz(t); status != http.StatusServiceUnavailable || !strings.Contains(v.Checks["storage"], "no space left") {
		t.Errorf("readyz: %d %+v", status, v)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if got := u.patch(url, 0, data); got.status != http.StatusNoContent {
		t.Errorf("PATCH with room again: %v", got)
	}
	if r := u.settled(id); r.State != "ready" {
		t.Errorf("recording: %+v", r)
	}
	p.interrupt()
}

// testDevDatabaseDies kills the database below it: there is nothing to go on with.
func testDevDatabaseDies(t *testing.T, program string) {
	p := startDev(t, program, t.TempDir())
	p.up()
	if err := syscall.Kill(p.postgresPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code, said := p.exit(), p.stderr.String(); code != 2 || !strings.Contains(said, "reprise: the private database has ended by itself; its log is "+p.dir) {
		t.Errorf("exit code %d: %s", code, said)
	}
}
