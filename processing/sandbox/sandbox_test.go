//go:build linux

package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/elastic/go-seccomp-bpf"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reprise/internal/standin"
)

// workerVariable makes this binary a worker whose decoder hangs; its value is the
// decoder.
const workerVariable = "REPRISE_TEST_WORKER"

// refuseVariable makes it a process that the kernel refuses layers to.
const refuseVariable = "REPRISE_TEST_REFUSE"

func TestMain(m *testing.M) {
	Main()
	if decoder := os.Getenv(workerVariable); decoder != "" {
		work(decoder)
	}
	if refusal := os.Getenv(refuseVariable); refusal != "" {
		refused(refusal)
	}
	goleak.VerifyTestMain(m)
}

func newTestFence(t *testing.T) *Fence {
	t.Helper()
	f, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("this kernel: %s", f)
	return f
}

// variants are fences as other kernels give them: every deed must be stopped by
// more than one layer, or the table says that it is not.
func variants(t *testing.T) map[string]*Fence {
	full := newTestFence(t)
	return map[string]*Fence{
		"all that this kernel has": full,
		"no namespaces":            {want: full.want}, // as in a container
		"no landlock":              {want: want{Seccomp: full.want.Seccomp}, clone: full.clone},
		"no seccomp":               {want: want{Landlock: full.want.Landlock}, clone: full.clone},
	}
}

// try runs the stand-in and returns what it says.
func try(t *testing.T, f *Fence, spec Spec) (said string, state *os.ProcessState) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if spec.Dir == "" {
		spec.Dir = t.TempDir()
	}
	spec.MemoryBytes = 2 << 30
	spec.CPU = max(spec.CPU, 20*time.Second)
	cmd, err := f.Command(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stderr = &out
	err = cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil || cmd.ProcessState.ExitCode() == ExitFenced {
		t.Fatalf("it did not run: %v: %s", ctx.Err(), &out)
	}
	return out.String(), cmd.ProcessState
}

// A listener gets no connection, whatever is tried, and a file outside is neither
// read nor changed.
func TestWhatIsOutside(t *testing.T) {
	t.Parallel()
	program := standin.Build(t)
	for name, f := range variants(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFiles(t, f, program)
			testNetwork(t, f, program)
			testProcesses(t, f, program)
		})
	}
}

// testFiles needs Landlock: nothing else in the fence knows of files. A fence
// without says so, see TestReport.
func testFiles(t *testing.T, f *Fence, program string) {
	if !f.want.Landlock {
		return
	}
	other := filepath.Join(t.TempDir(), "other-job")
	if err := os.WriteFile(other, []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(input, []byte("input"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	secrets := []string{"/etc/passwd", "/etc/shadow", "/proc/self/environ", fmt.Sprintf("/proc/%d/environ", os.Getpid()), "/proc/1/environ",
		fmt.Sprintf("/proc/%d/mem", os.Getpid()), "/", "/tmp", "/home", filepath.Dir(other), other, filepath.Dir(input), dir, "/dev/zero", "/sys", "/usr/bin/env"}
	said, _ := try(t, f, Spec{Path: program, Args: []string{"read", strings.Join(secrets, "\n")}, Dir: dir, Read: []string{input}})
	if n := strings.Count(said, "permission denied"); n != len(secrets) {
		t.Errorf("%d of %d were refused:\n%s", n, len(secrets), said)
	}
	if said, _ = try(t, f, Spec{Path: program, Args: []string{"read", input}, Read: []string{input}}); said != "try: DONE\n" {
		t.Errorf("its input: %s", said)
	}
	targets := []string{other, input, filepath.Join(dir, "new"), filepath.Join(os.TempDir(), "reprise-new"), "/dev/shm/reprise-new", "/etc/reprise-new"}
	said, _ = try(t, f, Spec{Path: program, Args: []string{"write", strings.Join(targets, "\n")}, Dir: dir, Read: []string{input}, FileBytes: 1 << 20})
	if strings.Contains(said, "DONE") {
		t.Errorf("written outside:\n%s", said)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	for path, want := range map[string]string{other: "secret", input: "input"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is now %q, %v", path, got, err)
		}
	}
}

// A folder that is allowed is listed and read, with all below, and is not written to,
// and nothing in it is run.
func TestFolders(t *testing.T) {
	t.Parallel()
	program := standin.Build(t)
	folder := t.TempDir()
	inner := filepath.Join(folder, "deep", "down")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(inner, "weights")
	if err := os.WriteFile(file, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, f := range variants(t) {
		if !f.want.Landlock {
			continue
		}
		said, _ := try(t, f, Spec{Path: program, Args: []string{"read", strings.Join([]string{folder, inner, file}, "\n")}, Folders: []string{folder}})
		if strings.Count(said, "DONE") != 3 {
			t.Errorf("%s: reading:\n%s", name, said)
		}
		targets := []string{file, filepath.Join(folder, "new"), filepath.Join(inner, "new")}
		said, _ = try(t, f, Spec{Path: program, Args: []string{"write", strings.Join(targets, "\n")}, Folders: []string{folder}, FileBytes: 1 << 20})
		if strings.Contains(said, "DONE") {
			t.Errorf("%s: writing:\n%s", name, said)
		}
		said, _ = try(t, f, Spec{Path: program, Args: []string{"read", filepath.Dir(folder)}, Folders: []string{folder}})
		if !strings.Contains(said, "permission denied") {
			t.Errorf("%s: reading what is above:\n%s", name, said)
		}
	}
}

func testNetwork(t *testing.T, f *Fence, program string) {
	var got atomic.Int64
	var tried []string
	listen := func(network, address string) {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		tried = append(tried, network+" "+l.Addr().String())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				got.Add(1)
				c.Close()
			}
		}()
	}
	listen("tcp", "127.0.0.1:0")
	// A socket file is Landlock's from ABI 9 on; before, only seccomp refuses it.
	if f.want.Seccomp {
		listen("unix", filepath.Join(t.TempDir(), "socket"))
	}
	listen("unix", fmt.Sprintf("@reprise-test-%d-%p", os.Getpid(), f))
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	tried = append(tried, "udp "+packets.LocalAddr().String())
	said, _ := try(t, f, Spec{Path: program, Args: []string{"dial", strings.Join(tried, "\n")}})
	packets.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	n, _, err := packets.ReadFrom(make([]byte, 16))
	if got.Load() != 0 || err == nil || strings.Contains(said, "DONE") {
		t.Errorf("%d connections, %d bytes in a packet:\n%s", got.Load(), n, said)
	}
	if f.want.Seccomp && strings.Count(said, "operation not permitted") != len(tried) {
		t.Errorf("not all were refused by the filter:\n%s", said)
	}
}

func testProcesses(t *testing.T, f *Fence, program string) {
	victim := exec.Command("sleep", "600")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- victim.Wait() }()
	defer func() { victim.Process.Kill(); <-ended }()
	for _, deed := range []string{"signal", "trace"} {
		said, _ := try(t, f, Spec{Path: program, Args: []string{deed, strconv.Itoa(victim.Process.Pid)}})
		for line := range strings.Lines(said) {
			// Its own group is its own business where it may send signals at all.
			if strings.Contains(line, "DONE") && !strings.HasPrefix(line, "signal the group") && !strings.HasPrefix(line, "signal the parent") {
				t.Errorf("%s: %s", deed, line)
			}
		}
	}
	select {
	case err := <-ended:
		t.Errorf("another process has been killed: %v", err)
		ended <- err
	default:
	}
}

// A fork bomb has no children where seccomp refuses them, and else they end with
// it, because it is the first process of its namespace.
func TestForkBomb(t *testing.T) {
	t.Parallel()
	program := standin.Build(t)
	for name, f := range variants(t) {
		said, _ := try(t, f, Spec{Path: program, Args: []string{"fork", ""}})
		if f.want.Seccomp && strings.Contains(said, "DONE") {
			t.Errorf("%s: it has children:\n%s", name, said)
		}
		if left := running(program); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

// running returns the processes of a program.
func running(program string) []string {
	var found []string
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.TrimSuffix(target, " (deleted)") == program {
			found = append(found, link)
		}
	}
	return found
}

func TestLimits(t *testing.T) {
	t.Parallel()
	program := standin.Build(t)
	f := newTestFence(t)
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		files := []string{filepath.Join(dir, "audio.m4a"), filepath.Join(dir, "audio.opus")}
		for _, path := range files {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		said, _ := try(t, f, Spec{Path: program, Args: []string{"fill", ""}, Dir: dir, Write: files, FileBytes: 3 << 20})
		var total int64
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				total += info.Size()
			}
		}
		if strings.Count(said, "file too large") < 2 || f.want.Landlock && (total != 2*3<<20 || len(entries) != 2) {
			t.Errorf("%d bytes in %v:\n%s", total, entries, said)
		}
	})
	t.Run("cpu", func(t *testing.T) {
		t.Parallel()
		cmd, err := f.Command(t.Context(), Spec{Path: program, Args: []string{"compute", ""}, Dir: "/", CPU: time.Second, MemoryBytes: 2 << 30})
		if err != nil {
			t.Fatal(err)
		}
		cmd.Run()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if !status.Signaled() || status.Signal() != syscall.SIGKILL || used < 500*time.Millisecond || used > 3*time.Second {
			t.Errorf("after %s: %v", used, cmd.ProcessState)
		}
	})
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		said, _ := try(t, f, Spec{Path: program, Args: []string{"consume", ""}})
		var megabytes int
		fmt.Sscanf(said, "more than %d MB", &megabytes)
		if megabytes == 0 || megabytes > 2048 {
			t.Errorf("it has got %d MB: %s", megabytes, said)
		}
	})
}

// Calls that lead out, or into the less trodden parts of the kernel, are refused.
func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	f := newTestFence(t)
	if !f.want.Seccomp {
		t.Log("there is no seccomp; the fence says so")
		return
	}
	calls := map[string]int{
		"socket": unix.SYS_SOCKET, "socketpair": unix.SYS_SOCKETPAIR, "connect": unix.SYS_CONNECT, "bind": unix.SYS_BIND, "sendto": unix.SYS_SENDTO,
		"ptrace": unix.SYS_PTRACE, "process_vm_readv": unix.SYS_PROCESS_VM_READV, "kill": unix.SYS_KILL, "tkill": unix.SYS_TKILL, "pidfd_open": unix.SYS_PIDFD_OPEN,
		"mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2, "pivot_root": unix.SYS_PIVOT_ROOT, "chroot": unix.SYS_CHROOT, "open_tree": unix.SYS_OPEN_TREE,
		"unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "setuid": unix.SYS_SETUID, "capset": unix.SYS_CAPSET, "chmod": unix.SYS_FCHMODAT,
		"bpf": unix.SYS_BPF, "keyctl": unix.SYS_KEYCTL, "add_key": unix.SYS_ADD_KEY, "userfaultfd": unix.SYS_USERFAULTFD, "io_uring_setup": unix.SYS_IO_URING_SETUP,
		"perf_event_open": unix.SYS_PERF_EVENT_OPEN, "kexec_load": unix.SYS_KEXEC_LOAD, "init_module": unix.SYS_INIT_MODULE, "reboot": unix.SYS_REBOOT,
		"memfd_create": unix.SYS_MEMFD_CREATE, "execveat": unix.SYS_EXECVEAT, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "shmget": unix.SYS_SHMGET,
		"personality": unix.SYS_PERSONALITY, "seccomp": unix.SYS_SECCOMP, "inotify_init1": unix.SYS_INOTIFY_INIT1, "setpriority": unix.SYS_SETPRIORITY,
		"one of the future": 600,
	}
	var numbers, names []string
	for name, nr := range calls {
		names, numbers = append(names, name), append(numbers, strconv.Itoa(nr))
	}
	said, _ := try(t, f, Spec{Path: standin.Build(t), Args: []string{"call", strings.Join(numbers, " ")}})
	i := 0
	for line := range strings.Lines(said) {
		if !strings.HasSuffix(line, ": operation not permitted\n") {
			t.Errorf("%s: %s", names[i], line)
		}
		i++
	}
	if i != len(names) {
		t.Errorf("%d of %d calls were made: %s", i, len(names), said)
	}
}

// work is a worker that waits for its decoder.
func work(decoder string) {
	f, err := New(context.Background())
	if err != nil {
		panic(err)
	}
	cmd, err := f.Command(context.Background(), Spec{Path: decoder, Args: []string{"hang", ""}, Dir: "/", CPU: time.Minute, MemoryBytes: 2 << 30})
	if err != nil {
		panic(err)
	}
	panic(cmd.Run())
}

// A worker that is killed leaves no decoder behind.
func TestWorkerKilled(t *testing.T) {
	t.Parallel()
	program := standin.Build(t)
	worker := exec.Command("/proc/self/exe")
	worker.Env = append(os.Environ(), workerVariable+"="+program)
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer worker.Wait()
	defer worker.Process.Kill()
	await(t, "the decoder to run", func() bool { return len(running(program)) == 1 })
	worker.Process.Kill()
	await(t, "the decoder to end", func() bool { return len(running(program)) == 0 })
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for start := time.Now(); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// What a trial could not put up is reported, and the rest is used.
func TestReport(t *testing.T) {
	t.Parallel()
	f := newTestFence(t)
	if got := len(f.Layers()); got != 4+len(namespaces()) {
		t.Errorf("%d layers: %+v", got, f.Layers())
	}
	if len(f.Missing())+len(f.Present()) != len(f.Layers()) || (f.String() == "ok") != (f.Missing() == nil) {
		t.Errorf("missing %q, present %q, %q", f.Missing(), f.Present(), f)
	}
	some := &Fence{layers: []Layer{{Name: layerLimits}, {layerLandlock, "operation not supported"}}}
	if got := some.String(); got != "incomplete: landlock: operation not supported" {
		t.Error(got)
	}
}

// Where namespaces are refused, as in a container, or everything that can be, the
// fence says so and runs programs behind the rest.
func TestRefused(t *testing.T) {
	t.Parallel()
	namespaces := ""
	for _, ns := range []string{"user", "network", "process", "ipc", "uts"} {
		namespaces += "; " + ns + " namespace: operation not permitted"
	}
	for refusal, want := range map[string]string{
		"namespaces": "incomplete: " + namespaces[2:],
		"all":        "incomplete: landlock: operation not permitted; seccomp: failed loading seccomp filter: operation not permitted" + namespaces,
	} {
		t.Run(refusal, func(t *testing.T) {
			t.Parallel()
			worker := exec.Command("/proc/self/exe")
			worker.Env = append(os.Environ(), refuseVariable+"="+refusal)
			out, err := worker.CombinedOutput()
			if err != nil || string(out) != want+"\n" {
				t.Errorf("%v\n got %s\nwant %s", err, out, want)
			}
		})
	}
}

// refused prints what a kernel gives that refuses namespaces, or all that it can,
// and runs a program there.
func refused(refusal string) {
	runtime.LockOSThread()
	group := seccomp.SyscallGroup{Action: seccomp.ActionErrno}
	for _, ns := range namespaces() {
		group.NamesWithCondtions = append(group.NamesWithCondtions, seccomp.NameWithConditions{Name: "clone",
			Conditions: seccomp.ArgumentConditions{{Argument: 0, Operation: seccomp.BitsSet, Value: uint64(ns.flag)}}})
	}
	if refusal == "all" {
		group.Names = []string{"landlock_create_ruleset", "seccomp"}
	}
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	must(seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{DefaultAction: seccomp.ActionAllow, Syscalls: []seccomp.SyscallGroup{group}}}))
	f, err := New(context.Background())
	must(err)
	fmt.Println(f)
	cmd, err := f.Command(context.Background(), Spec{Path: "/bin/true", Dir: "/", CPU: time.Minute, MemoryBytes: 2 << 30})
	must(err)
	must(cmd.Run())
	os.Exit(0)
}
