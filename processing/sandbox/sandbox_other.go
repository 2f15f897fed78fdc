//go:build !linux

package sandbox

import (
	"context"
	"os/exec"
	"runtime"
	"syscall"
)

// Main does nothing here: there is no fence, so no child has to put it up.
func Main() {}

func newFence(context.Context) (*Fence, error) {
	const missing = "not available on " + runtime.GOOS
	return &Fence{layers: []Layer{{layerLimits, missing}, {layerPrivs, missing}, {layerLandlock, missing}, {layerSeccomp, missing}}}, nil
}

func (f *Fence) command(ctx context.Context, spec Spec) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, spec.Path, spec.Args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd, nil
}
