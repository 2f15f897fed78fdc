package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// childFlag tells Main that this process is a child of a Fence; what to become
// follows. It looks like a flag so that a program that does not call Main, such as
// the binary of a test, ends with a complaint and does not do its own work again.
const childFlag = "-reprise-sandbox-child"

// nobody is who the program is in its user namespace. The kernel's user is still
// the server's own, or it could not read the server's files.
const nobody = 65534

type namespace struct {
	name string
	flag uintptr
}

// namespaces are in the order in which they are tried: without the first, only
// root gets the others. There is none for mounts: Landlock says what can be
// opened, and the capability to mount anything is gone.
func namespaces() []namespace {
	return []namespace{
		{"user namespace", syscall.CLONE_NEWUSER},
		{"network namespace", syscall.CLONE_NEWNET},
		{"process namespace", syscall.CLONE_NEWPID},
		{"ipc namespace", syscall.CLONE_NEWIPC},
		{"uts namespace", syscall.CLONE_NEWUTS},
	}
}

// order is what a child is told.
type order struct {
	Spec  Spec
	Want  want
	Trial bool // only say which layers could be put up
}

// result is what a child says at a trial: why a layer is missing.
type result map[string]string

func newFence(ctx context.Context) (*Fence, error) {
	f := &Fence{want: want{Landlock: true, Seccomp: true}}
	for _, ns := range namespaces() {
		f.clone |= ns.flag
	}
	missing, err := f.try(ctx)
	if refusal := new(refusedError); errors.As(err, &refusal) {
		missing, err = f.tryEach(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	for _, name := range []string{layerLimits, layerPrivs} { // no kernel refuses these
		if missing[name] != "" {
			return nil, fmt.Errorf("sandbox: %s can't be set: %s", name, missing[name])
		}
	}
	f.want = want{Landlock: missing[layerLandlock] == "", Seccomp: missing[layerSeccomp] == ""}
	f.layers = []Layer{{Name: layerLimits}, {Name: layerPrivs}, landlockLayer(missing[layerLandlock]), {layerSeccomp, missing[layerSeccomp]}}
	for _, ns := range namespaces() {
		f.layers = append(f.layers, Layer{ns.name, missing[ns.name]})
	}
	return f, nil
}

// landlockLayer names the version: newer ones also fence in TCP (4), signals and
// abstract sockets (6), which seccomp refuses, too.
func landlockLayer(missing string) Layer {
	if missing != "" {
		return Layer{layerLandlock, missing}
	}
	version, err := landlockVersion()
	if err != nil {
		return Layer{layerLandlock, err.Error()}
	}
	return Layer{Name: fmt.Sprintf("%s (ABI %d)", layerLandlock, version)}
}

// tryEach finds out which namespaces can be had, and returns what is missing.
func (f *Fence) tryEach(ctx context.Context) (missing result, err error) {
	refused := result{}
	f.clone = 0
	for _, ns := range namespaces() {
		f.clone |= ns.flag
		_, err := f.try(ctx)
		if refusal := new(refusedError); errors.As(err, &refusal) {
			refused[ns.name] = refusal.Error()
			f.clone &^= ns.flag
		} else if err != nil {
			return nil, err
		}
	}
	if missing, err = f.try(ctx); err != nil {
		return nil, err
	}
	for name, why := range refused {
		missing[name] = why
	}
	return missing, nil
}

// refusedError says that a child could not be started in its namespaces.
type refusedError struct{ error }

// try fences in a child that only says how far it came.
func (f *Fence) try(ctx context.Context) (result, error) {
	cmd, err := f.child(ctx, order{Want: want{Landlock: true, Seccomp: true}, Trial: true})
	if err != nil {
		return nil, err
	}
	var said, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaint
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		var errno syscall.Errno
		if f.clone != 0 && errors.As(err, &errno) {
			return nil, &refusedError{errno}
		}
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("a trial failed; does this program call sandbox.Main? %w: %.200s", err, &complaint)
	}
	missing := result{}
	if err := json.Unmarshal(said.Bytes(), &missing); err != nil {
		return nil, fmt.Errorf("read what the trial said: %w", err)
	}
	return missing, nil
}

func (f *Fence) command(ctx context.Context, spec Spec) (*exec.Cmd, error) {
	return f.child(ctx, order{Spec: spec, Want: f.want})
}

// child returns a command that starts this executable again, whatever has become
// of its file.
func (f *Fence) child(ctx context.Context, o order) (*exec.Cmd, error) {
	told, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", childFlag, string(told))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true,
		// It is sent when the thread ends that started the child. The threads of Go
		// stay until the process ends.
		Pdeathsig:  syscall.SIGKILL,
		Cloneflags: f.clone,
	}
	if f.clone&syscall.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	return cmd, nil
}
