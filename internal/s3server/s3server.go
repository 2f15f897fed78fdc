// Package s3server runs the S3 servers that the tests use: versitygw and MinIO,
// one process of each. They have no code in common, so that a quirk of one is not
// taken for the protocol.
//
// It only starts and stops them; package s3test is what tests use. The programs are
// those that `scripts/setup.sh test` has put into the cache folder.
//
// It promises that the servers listen on loopback only, on ports that were free,
// and that they end with their parent, on Linux even if it was killed.
package s3server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// What a client needs besides an endpoint.
const (
	AccessKey = "reprise-test"
	SecretKey = "reprise-test-secret"
	Region    = "us-east-1"
)

const (
	startTime    = 60 * time.Second
	stopTime     = 10 * time.Second
	pollInterval = 20 * time.Millisecond
	// A port that was free a moment ago may be taken by somebody else.
	startTries = 5
)

// Server is where a running server is found.
type Server struct {
	Name     string `json:"name"`     // "versitygw" or "minio"
	Endpoint string `json:"endpoint"` // an URL without a path
}

// Environment is what the AWS SDK's own chain of credentials finds the keys in, and
// nothing of the account of whoever runs the tests.
func Environment() map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID":           AccessKey,
		"AWS_SECRET_ACCESS_KEY":       SecretKey,
		"AWS_SESSION_TOKEN":           "",
		"AWS_PROFILE":                 "",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_EC2_METADATA_DISABLED":   "true",
	}
}

// A program is one kind of server.
type program struct {
	name   string
	health string // the path that answers 200 when it is ready
	// command returns its arguments and environment, and makes the folders it needs
	// below dir.
	command func(dir, address string) (args, env []string, err error)
}

func programs() []program {
	return []program{
		{"versitygw", "/health", func(dir, address string) ([]string, []string, error) {
			data, meta := filepath.Join(dir, "data"), filepath.Join(dir, "meta")
			err := errors.Join(os.MkdirAll(data, 0o700), os.MkdirAll(meta, 0o700))
			// The sidecar folder is for file systems without extended attributes.
			args := []string{"--port", address, "--health", "/health", "--keep-alive", "--quiet", "posix", "--sidecar", meta, data}
			return args, []string{"ROOT_ACCESS_KEY=" + AccessKey, "ROOT_SECRET_KEY=" + SecretKey}, err
		}},
		// MinIO's /minio/health/ready answers before it takes requests.
		{"minio", "/minio/health/cluster", func(dir, address string) ([]string, []string, error) {
			data, certs := filepath.Join(dir, "data"), filepath.Join(dir, "certs")
			err := errors.Join(os.MkdirAll(data, 0o700), os.MkdirAll(certs, 0o700))
			args := []string{"server", "--quiet", "--address", address, "--certs-dir", certs, data}
			return args, []string{"MINIO_ROOT_USER=" + AccessKey, "MINIO_ROOT_PASSWORD=" + SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off"}, err
		}},
	}
}

// Servers are the running servers.
type Servers struct {
	processes []*process
}

// Start starts one server of each kind, with their data and logs below dir. The
// context bounds the start only.
func Start(ctx context.Context, dir string) (*Servers, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	s := &Servers{}
	errs := make(chan error)
	for _, program := range programs() {
		p := &process{program: program, dir: filepath.Join(dir, program.name)}
		s.processes = append(s.processes, p)
		go func() { errs <- p.start(ctx) }()
	}
	var err error
	for range s.processes {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// All returns the servers, always in the same order.
func (s *Servers) All() []Server {
	var all []Server
	for _, p := range s.processes {
		all = append(all, Server{Name: p.program.name, Endpoint: "http://" + p.address})
	}
	return all
}

// Stop ends the servers and returns when they are gone.
func (s *Servers) Stop() {
	var ended sync.WaitGroup
	for _, p := range s.processes {
		ended.Go(p.stop)
	}
	ended.Wait()
}

// A process is one running server.
type process struct {
	program program
	dir     string
	address string
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
}

func (p *process) start(ctx context.Context) error {
	path, err := find(p.program.name)
	if err != nil {
		return err
	}
	for range startTries {
		if err = p.launch(path); err != nil {
			break
		}
		if err = p.awaitReady(ctx); err == nil {
			return nil
		}
		p.stop()
		if ctx.Err() != nil {
			break
		}
	}
	log, _ := os.ReadFile(p.logPath())
	return fmt.Errorf("start %s: %w; its log: %s", p.program.name, err, log)
}

// find returns the path of a program in the cache folder of scripts/setup.sh.
func find(name string) (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache")
	}
	path := filepath.Join(cache, "reprise", "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is missing (%w); run: scripts/setup.sh test", name, err)
	}
	return path, nil
}

func (p *process) logPath() string { return filepath.Join(p.dir, "log") }

func (p *process) launch(path string) error {
	var err error
	if p.address, err = freeAddress(); err != nil {
		return err
	}
	args, env, err := p.program.command(p.dir, p.address)
	if err != nil {
		return err
	}
	log, err := os.Create(p.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// Ctrl-C is for the parent, which stops the servers when nobody needs them.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(p.cmd.SysProcAttr)
	p.done = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is bound to the thread that made the child, not to
		// the process (prctl(2), PR_SET_PDEATHSIG): keep this one for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
	}()
	return <-started
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (p *process) awaitReady(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return errors.New("it has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+p.program.health, nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
}

func (p *process) stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-p.done:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}
