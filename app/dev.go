package app

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"reprise/auth"
	"reprise/config"
	"reprise/pgcluster"
)

// devTokenLifetime is long because the key never leaves this machine.
const devTokenLifetime = 30 * 24 * time.Hour

// DevOptions say how to run everything on one machine. The Config has passed
// CheckDev; what it says of database, storage and key is replaced.
type DevOptions struct {
	Dir     string // where everything is kept, ".reprise"
	User    string // whom the printed token is for
	Config  config.Config
	Log     *slog.Logger
	Version string
	Out     io.Writer // for people
}

// Dev runs a whole server with a database of its own, until ctx ends.
func Dev(ctx context.Context, o DevOptions) (err error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return explainDir(dir, err)
	}
	serving := Options{Config: o.Config, API: true, Worker: true, Log: o.Log, Version: o.Version}
	l, err := listen(serving)
	if err != nil {
		return err
	}
	began := time.Now()
	cluster, cfg, err := startDev(ctx, o, dir)
	if cluster != nil {
		defer func() {
			stopping, cancel := context.WithTimeout(context.Background(), o.Config.ShutdownTimeout)
			defer cancel()
			if stopErr := cluster.Stop(stopping); err == nil { // else it has been said what is wrong
				err = stopErr
			}
		}()
	}
	if err != nil {
		l.close()
		if ctx.Err() != nil { // Ctrl-C while starting
			return nil
		}
		return err
	}
	token, err := writeToken(dir, cfg.DevKeyBytes(), o.User)
	if err != nil {
		l.close()
		return err
	}
	serving.Config = cfg
	serving.Started = func(at Addresses) { greet(o.Out, at, token, time.Since(began)) }
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-cluster.Done():
			stop()
		case <-running.Done():
		}
	}()
	err = serve(running, serving, l)
	if ctx.Err() == nil && running.Err() != nil {
		return fmt.Errorf("the private database has ended by itself; its log is %s", cluster.LogPath())
	}
	if errors.Is(err, syscall.ENOSPC) {
		return explainDir(dir, err)
	}
	return err
}

// startDev starts the database and completes the configuration. The cluster is
// to be stopped also if there is an error, unless it is nil.
func startDev(ctx context.Context, o DevOptions, dir string) (cluster *pgcluster.Cluster, cfg config.Config, err error) {
	cfg = o.Config
	key, err := auth.LoadOrCreateDevKey(filepath.Join(dir, devKeyFile))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, fs.ErrPermission) {
		err = explainDir(dir, err)
	}
	if err != nil {
		return nil, cfg, err
	}
	cluster, err = pgcluster.Start(ctx, pgcluster.Options{Dir: filepath.Join(dir, "postgres"), Log: o.Log, Durable: true})
	if err != nil {
		return nil, cfg, err
	}
	if err := createDatabase(ctx, cluster.URL("postgres")); err != nil {
		return cluster, cfg, err
	}
	cfg.DatabaseURL = config.Secret(cluster.URL("reprise"))
	cfg.StorageURL = (&url.URL{Scheme: "file", Path: filepath.Join(dir, "storage")}).String()
	cfg.DevKey = config.Secret(hex.EncodeToString(key))
	return cluster, cfg, Migrate(ctx, cfg, o.Log)
}

func createDatabase(ctx context.Context, adminURL string) error {
	conn, err := pgx.Connect(ctx, adminURL)
	if err != nil {
		return fmt.Errorf("connect to the private database: %w", err)
	}
	defer conn.Close(ctx)
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'reprise')`).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, `CREATE DATABASE reprise`)
	return err
}

// writeToken makes a token and keeps it where "reprise upload" finds it.
func writeToken(dir string, key []byte, user string) (string, error) {
	token, err := auth.IssueDevToken(key, user, devTokenLifetime, time.Now())
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		return "", explainDir(dir, err)
	}
	return token, nil
}

func explainDir(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("no room left on the disk of %s: free some, or choose another folder with --dir", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to write in %s: choose another folder with --dir", dir)
	}
	return fmt.Errorf("%s can't be used: %w", dir, err)
}

// greet tells a person what to do next.
func greet(w io.Writer, at Addresses, token string, took time.Duration) {
	fmt.Fprintf(w, `
Reprise is running (started in %.1f s). Ctrl-C stops it; what it has is kept.

  Console   %[2]s/#token=%[4]s
  API       %[2]s/docs
  Uploads   %[2]s/files/
  Metrics   http://%[3]s/metrics

  Token     %[4]s

Upload a recording from another terminal, in this folder:

  bin/reprise upload --wait testdata/speech.flac

`, took.Seconds(), at.PublicURL, at.Admin, token)
}
