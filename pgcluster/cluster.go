// Package pgcluster runs a private PostgreSQL server as a child process, for
// development and tests: the one that `reprise dev` keeps in .reprise/, and the
// one that the test suite shares.
//
// It is not for production, and neither a connection pool nor a migrator: it
// starts an empty server and says how to connect to it.
//
// It promises that
//   - nobody but this user can connect: there is no TCP port, and the socket lies
//     in a folder of mode 0700;
//   - the server ends with its parent, even one that was killed: at once on
//     Linux, elsewhere when the next Start finds the leftover;
//   - two processes never use one data folder at the same time;
//   - it works as root, which PostgreSQL itself refuses: the server then runs as
//     an unprivileged account;
//   - an error is one sentence that says what to do.
package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	superuser = "reprise"
	// The port only names the socket's file.
	port = "5432"

	maxLogBytes  = 8 << 20
	pollInterval = 10 * time.Millisecond
	// How long a server that was told to stop at once may take.
	killTimeout = 5 * time.Second
)

// Options say which cluster to start.
type Options struct {
	// Dir is the data folder. It is made and initialised when it is missing or
	// empty. Beside it lie Dir.lock and Dir.log, the server's log.
	Dir string
	// Log is told what is done. Default: nothing is logged.
	Log *slog.Logger
	// Durable makes a commit survive a crash of the machine. Without it the server is
	// faster, and a crash may cost the whole cluster: for tests only.
	Durable bool
	// MaxConnections is the greatest number of clients at a time. Default: 100.
	MaxConnections int
	// BinDir is the folder that holds the programs postgres and initdb. Default:
	// REPRISE_POSTGRES_BIN, or else the newest version found where
	// installers put it.
	BinDir string
}

// Cluster is a running server.
type Cluster struct {
	dir       string
	socketDir string
	log       *slog.Logger
	lock      *os.File
	cmd       *exec.Cmd

	done    chan struct{} // closed when the server's process has ended
	exit    error         // how it ended; read after done
	release sync.Once
}

// Start starts the cluster and returns when it accepts connections. The context
// bounds the start only: the server runs until Stop.
func Start(ctx context.Context, opts Options) (*Cluster, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MaxConnections == 0 {
		opts.MaxConnections = 100
	}
	if opts.Dir == "" {
		return nil, errors.New("no folder is given for PostgreSQL's data")
	}
	dir, err := realPath(opts.Dir)
	if err != nil {
		return nil, explain(opts.Dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, log: opts.Log.With(slog.String("component", "pgcluster")), lock: lock}
	if err := c.start(ctx, opts); err != nil {
		c.releaseFiles()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, opts Options) error {
	began := time.Now()
	madeBy, err := clusterVersion(c.dir)
	if err != nil {
		return err
	}
	bin, err := findBinaries(ctx, opts.BinDir, madeBy)
	if err != nil {
		return err
	}
	if madeBy != 0 && bin.major != madeBy {
		return fmt.Errorf("the data in %s was written by PostgreSQL %d, but what is installed is PostgreSQL %d (%s): "+
			"install version %d, or move that folder away to begin with an empty database", c.dir, madeBy, bin.major, bin.dir, madeBy)
	}
	acct, err := chooseAccount(c.dir)
	if err != nil {
		return err
	}
	if madeBy == 0 {
		c.log.InfoContext(ctx, "making a new PostgreSQL cluster", slog.String("dir", c.dir), slog.Int("version", bin.major))
		if err := (newCluster{c.dir, bin, acct, opts.Durable}).make(ctx); err != nil {
			return err
		}
	} else if err := acct.own(c.dir); err != nil {
		return explain(c.dir, err)
	}
	if err := c.stopLeftover(ctx); err != nil {
		return err
	}
	if err := c.launch(ctx, bin, acct, opts); err != nil {
		return err
	}
	c.log.InfoContext(ctx, "PostgreSQL is up", slog.String("dir", c.dir), slog.Int("version", bin.major),
		slog.Int("pid", c.cmd.Process.Pid), slog.Duration("took", time.Since(began)))
	return nil
}

// launch starts the server's process and waits until it answers.
func (c *Cluster) launch(ctx context.Context, bin binaries, acct account, opts Options) error {
	var err error
	if c.socketDir, err = makeSocketDir(c.dir, acct); err != nil {
		return err
	}
	logFile, logStart, err := openLog(c.LogPath())
	if err != nil {
		return explain(c.dir, err)
	}
	defer logFile.Close()

	c.cmd = acct.command(exec.Command(bin.path("postgres"), serverArgs(c.dir, c.socketDir, opts)...), c.dir)
	c.cmd.Stdout, c.cmd.Stderr = logFile, logFile
	dieWithParent(c.cmd.SysProcAttr)
	if err := c.run(); err != nil {
		return fmt.Errorf("PostgreSQL can't be started from %s: %w", bin.dir, err)
	}
	if err := c.awaitReady(ctx); err != nil {
		select {
		case <-c.done:
			return diagnose(c.dir, c.LogPath(), logStart)
		default:
			c.kill()
			return err
		}
	}
	return nil
}

// run starts the process and watches it until its end.
func (c *Cluster) run() error {
	c.done = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is bound to the thread that made the child, not to
		// the process (prctl(2), PR_SET_PDEATHSIG): keep this one for as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		c.exit = c.cmd.Wait()
		close(c.done)
	}()
	return <-started
}

// awaitReady connects until it works, or the server or ctx has ended.
func (c *Cluster) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL in %s: %w", c.dir, ctx.Err())
		case <-tick.C:
		}
	}
}

// URL is how to connect to a database of the cluster, as its superuser. The
// database postgres always exists.
func (c *Cluster) URL(database string) string {
	u := url.URL{
		Scheme: "postgres",
		User:   url.User(superuser),
		Path:   "/" + database,
		RawQuery: url.Values{
			"host": {c.socketDir}, "port": {port}, "sslmode": {"disable"},
		}.Encode(),
	}
	return u.String()
}

// LogPath is the file that the server logs to.
func (c *Cluster) LogPath() string { return c.dir + ".log" }

// Done is closed when the server has ended, through Stop or by itself.
func (c *Cluster) Done() <-chan struct{} { return c.done }

// Stop shuts the server down in order: it ends the clients' connections, writes
// everything out and returns when the process is gone. When ctx ends before
// that, the server is stopped the hard way; it recovers at the next start.
// Calling it again does nothing.
func (c *Cluster) Stop(ctx context.Context) error {
	defer c.releaseFiles()
	// An error means that it has ended already.
	_ = c.cmd.Process.Signal(syscall.SIGINT) // PostgreSQL's "fast shutdown"
	select {
	case <-c.done:
	case <-ctx.Done():
		c.kill()
		return fmt.Errorf("PostgreSQL in %s did not stop in time and was stopped the hard way: %w", c.dir, ctx.Err())
	}
	if c.exit != nil {
		return fmt.Errorf("PostgreSQL in %s ended badly (%w): its log is %s", c.dir, c.exit, c.LogPath())
	}
	return nil
}

// kill ends the server without a checkpoint.
func (c *Cluster) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGQUIT) // "immediate shutdown": it ends its children too
	select {
	case <-c.done:
	case <-time.After(killTimeout):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

func (c *Cluster) releaseFiles() {
	c.release.Do(func() {
		if c.socketDir != "" {
			_ = os.Remove(c.socketDir) // the server has removed what was in it
		}
		_ = c.lock.Close()
	})
}

func serverArgs(dir, socketDir string, opts Options) []string {
	settings := []string{
		"listen_addresses=",
		"unix_socket_directories=" + socketDir,
		"unix_socket_permissions=0700",
		"port=" + port,
		"max_connections=" + strconv.Itoa(opts.MaxConnections),
		"timezone=UTC",
		"log_timezone=UTC",
		"lc_messages=C",
		"logging_collector=off",
		"log_destination=stderr",
		"log_line_prefix=%m [%p] ",
		"log_checkpoints=off",
		// Rows and statements are users' content: not for a log.
		"log_min_error_statement=panic",
		"log_error_verbosity=terse",
	}
	if !opts.Durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	args := []string{"-D", dir}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// openLog opens the log for appending and returns where this start's lines begin.
func openLog(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() > maxLogBytes {
		err = f.Truncate(0)
		return f, 0, err
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
}

// realPath makes dir absolute and resolves symbolic links, also when its last
// elements don't exist yet. Its parent exists afterwards.
func realPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}
