package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxOpenFiles = 256
	// maxTasks bounds threads. It is counted per user and namespace, so only in a
	// user namespace is it this program's own; root is never bound by it. New
	// processes are refused by seccomp.
	maxTasks = 128
)

// Main becomes the program that this process was started to run, behind the fence,
// if a Fence started it. Else it returns at once. It must come before everything
// else in main, and in the TestMain of tests that run programs.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != childFlag {
		return
	}
	// Capabilities and the filter are a thread's own; the one that execs is what the
	// program gets.
	runtime.LockOSThread()
	var o order
	err := json.Unmarshal([]byte(os.Args[2]), &o)
	if err == nil {
		err = o.run()
	}
	fmt.Fprintf(os.Stderr, "sandbox: %v\n", err)
	os.Exit(ExitFenced)
}

// run puts up the layers, the ones that take power away last. It returns only if
// it fails, or ends the process if it is a trial.
func (o order) run() error {
	missing := result{}
	for _, layer := range []struct {
		name  string
		want  bool
		raise func() error
	}{
		{layerLimits, true, o.Spec.setLimits},
		{layerPrivs, true, dropPrivileges},
		{layerLandlock, o.Want.Landlock, o.Spec.restrictFiles},
		{layerSeccomp, o.Want.Seccomp, restrictCalls},
	} {
		if !layer.want {
			continue
		}
		if err := layer.raise(); err != nil && !o.Trial {
			return fmt.Errorf("%s: %w", layer.name, err)
		} else if err != nil {
			missing[layer.name] = err.Error()
		}
	}
	if o.Trial {
		if err := json.NewEncoder(os.Stdout).Encode(missing); err != nil {
			return err
		}
		os.Exit(0)
	}
	// This one is last, because the Go runtime itself needs more.
	if err := setLimit(unix.RLIMIT_AS, uint64(o.Spec.MemoryBytes)); err != nil {
		return fmt.Errorf("limit the memory: %w", err)
	}
	err := syscall.Exec(o.Spec.Path, append([]string{o.Spec.Path}, o.Spec.Args...), os.Environ())
	return fmt.Errorf("run %s: %w", o.Spec.Path, err)
}

// setLimits sets all limits but that of memory.
func (s Spec) setLimits() error {
	seconds := uint64((s.CPU + time.Second - 1) / time.Second)
	for _, l := range []struct {
		resource int
		max      uint64
	}{
		{unix.RLIMIT_CPU, max(1, seconds)},
		{unix.RLIMIT_FSIZE, uint64(s.FileBytes)},
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NOFILE, maxOpenFiles},
		{unix.RLIMIT_NPROC, maxTasks},
	} {
		if err := setLimit(l.resource, l.max); err != nil {
			return err
		}
	}
	return nil
}

// setLimit sets a limit that can't be raised again, or keeps a lower one.
func setLimit(resource int, limit uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	limit = min(limit, now.Max)
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit})
}

// dropPrivileges gives up every capability, which matters where root has got no
// user namespace, and the way to new ones: programs that are setuid.
func dropPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	var none [2]unix.CapUserData
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
}
