// Package child runs the servers that tests and development need, as child
// processes: it starts one, waits until it can be used, and ends it.
//
// It knows none of the servers; packages s3server, neo4jserver and firebasetest do.
//
// It promises that a child ends with its parent, on Linux even if that was killed,
// and that a Ctrl-C is the parent's alone.
package child

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	stopTime     = 15 * time.Second
	pollInterval = 20 * time.Millisecond
)

// Process is a running child, or one that has ended.
type Process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// Start starts cmd with its output in the file log, which is made anew.
func Start(cmd *exec.Cmd, log string) (*Process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	// A group of its own: the parent stops it when nobody needs it any more.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	p := &Process{cmd: cmd, log: log, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is bound to the thread that made the child, not to
		// the process (prctl(2), PR_SET_PDEATHSIG): keep this one for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Await waits until ready says so, asking again and again. An error of ready's ends
// it, as the end of the process or of ctx does; the error has the process's log.
func (p *Process) Await(ctx context.Context, ready func(context.Context) (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, err := ready(ctx)
		if ok && err == nil {
			return nil
		}
		if err == nil {
			select {
			case <-p.done:
				err = errors.New("it has ended")
			case <-ctx.Done():
				err = ctx.Err()
			case <-tick.C:
				continue
			}
		}
		text, _ := os.ReadFile(p.log)
		return fmt.Errorf("%w; its log: %s", err, text)
	}
}

// Signal sends it a signal. If it has ended that does nothing.
func (p *Process) Signal(signal syscall.Signal) { _ = p.cmd.Process.Signal(signal) }

// Stop asks it to end, kills it if it takes long, and returns when it is gone.
func (p *Process) Stop() {
	p.Signal(syscall.SIGTERM)
	p.Signal(syscall.SIGCONT) // it may have been stopped
	select {
	case <-p.done:
	case <-time.After(stopTime):
		p.Kill()
	}
}

// Kill ends it at once and returns when it is gone.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// FreeAddresses returns loopback addresses, host:port, that nobody listens on. One
// may be taken by somebody else a moment later.
func FreeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are found, so that they differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// Cached returns the path of what scripts/setup.sh has put into its cache folder.
func Cached(elements ...string) (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(append([]string{cache, "reprise"}, elements...)...)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is missing (%w); run: scripts/setup.sh test", filepath.Base(path), err)
	}
	return path, nil
}
