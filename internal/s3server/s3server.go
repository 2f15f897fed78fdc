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
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"reprise/internal/child"
)

// What a client needs besides an endpoint.
const (
	AccessKey = "reprise-test"
	SecretKey = "reprise-test-secret"
	Region    = "us-east-1"
)

const (
	startTime = 60 * time.Second
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
		"AWS_CA_BUNDLE":               "", // a machine's own takes each client 50 ms to read
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
	child   *child.Process // nil if it was never started
}

func (p *process) start(ctx context.Context) error {
	path, err := child.Cached("bin", p.program.name)
	if err != nil {
		return err
	}
	for range startTries {
		if err = p.launch(path); err != nil {
			break
		}
		if err = p.child.Await(ctx, p.isReady); err == nil {
			return nil
		}
		p.stop()
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("start %s: %w", p.program.name, err)
}

func (p *process) launch(path string) error {
	addresses, err := child.FreeAddresses(1)
	if err != nil {
		return err
	}
	p.address = addresses[0]
	args, env, err := p.program.command(p.dir, p.address)
	if err != nil {
		return err
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	p.child, err = child.Start(cmd, filepath.Join(p.dir, "log"))
	return err
}

func (p *process) isReady(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+p.program.health, nil)
	if err != nil {
		return false, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return false, nil // not yet
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK, nil
}

func (p *process) stop() {
	if p.child != nil {
		p.child.Stop()
	}
}
