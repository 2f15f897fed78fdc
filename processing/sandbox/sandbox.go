// Package sandbox runs a program that reads hostile input behind a fence: the
// program may read its libraries and the files it is given, write the files it is
// given, and compute. There is no network, no other file, no other process, no new
// one, and an end to its time, memory and output.
//
// The fence is made of layers of the Linux kernel, and most harm is stopped by
// more than one of them. Which of them this kernel gives is found out once, by New,
// by fencing in a process; afterwards a program runs behind all of those or not at
// all. On other systems there are none.
//
// The child that is started is this same executable: it fences itself in and then
// becomes the program. So whoever uses the package calls Main first of all.
package sandbox

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Spec is what a program is run with.
type Spec struct {
	Path  string   // of the program, absolute
	Args  []string // without the program's name
	Dir   string   // working directory
	Read  []string // files that it may read, besides its libraries
	Write []string // files that it may read and write; they exist
	// Folders are those whose files it may list and read, with all below: for a program
	// that has more than libraries.
	Folders []string
	// CPU is how much time it may compute, rounded up to whole seconds; then the
	// kernel kills it.
	CPU time.Duration
	// MemoryBytes is how large its address space may be; there are no allocations
	// beyond that.
	MemoryBytes int64
	// FileBytes is how large a file may grow that it writes to.
	FileBytes int64
}

// Layer is one part of the fence.
type Layer struct {
	Name    string // such as "landlock"
	Missing string // why this kernel or its administrator does not give it; "" if it is there
}

// Fence runs programs behind what this system has. It is safe for concurrent use.
type Fence struct {
	layers []Layer
	clone  uintptr // flags for the namespaces that can be had
	want   want
}

// want is which layers a child has to put up.
type want struct {
	Landlock, Seccomp bool
}

// ExitFenced is the exit status of a child that could not put up its fence or not
// become its program; the last line of its standard error says why.
const ExitFenced = 120

// Names of the layers.
const (
	layerLimits   = "resource limits"
	layerPrivs    = "no new privileges"
	layerLandlock = "landlock"
	layerSeccomp  = "seccomp"
)

// New finds out what this system gives. It fails if this executable does not call
// Main, or if not even the limits that every system has can be set.
func New(ctx context.Context) (*Fence, error) { return newFence(ctx) }

// Layers returns every layer, also those that are missing.
func (f *Fence) Layers() []Layer { return slices.Clone(f.layers) }

// Missing returns what is missing and why, a line each; nil if the fence is whole.
func (f *Fence) Missing() []string {
	var missing []string
	for _, l := range f.layers {
		if l.Missing != "" {
			missing = append(missing, l.Name+": "+l.Missing)
		}
	}
	return missing
}

// Present returns the names of the layers that are there.
func (f *Fence) Present() []string {
	var present []string
	for _, l := range f.layers {
		if l.Missing == "" {
			present = append(present, l.Name)
		}
	}
	return present
}

// String describes the fence in a line: "ok", or what is missing.
func (f *Fence) String() string {
	if missing := f.Missing(); missing != nil {
		return "incomplete: " + strings.Join(missing, "; ")
	}
	return "ok"
}

// waitDelay is how long a program's pipes may stay open after it was killed.
const waitDelay = 5 * time.Second

// Command returns a command that runs the program behind the fence, in a process
// group of its own, with nothing of this process's environment. It is killed as a
// group when ctx ends, and by the kernel when this process dies. The caller adds
// what its output goes to.
func (f *Fence) Command(ctx context.Context, spec Spec) (*exec.Cmd, error) {
	cmd, err := f.command(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	cmd.Dir = spec.Dir
	cmd.Env = []string{"LC_ALL=C"} // no FFREPORT, no proxies, no secrets
	cmd.WaitDelay = waitDelay
	return cmd, nil
}
