// Command testenv runs a command, such as go test, with a PostgreSQL server, S3
// servers and a Neo4j server that all its processes share, and stops the servers
// afterwards:
//
//	go run ./internal/testenv -- go test ./...
//
// It only saves each test binary servers of its own: see packages pgtest, s3test and
// neo4jtest. All but PostgreSQL are started when the first test asks for them. With
// -durable PostgreSQL keeps what it commits through a crash of the machine, as a
// real one does, for measurements. The exit code is the command's. Signals are
// passed on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"reprise/internal/child"
	"reprise/internal/neo4jserver"
	"reprise/internal/ondemand"
	"reprise/internal/s3server"
	"reprise/pgcluster"
)

const stopTimeout = 15 * time.Second

func main() {
	durable := flag.Bool("durable", false, "write commits to the disk")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: testenv [-durable] -- COMMAND [ARG…]")
		os.Exit(2)
	}
	code, err := run(flag.Args(), *durable)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run returns the command's exit code, and an error if the environment failed.
func run(args []string, durable bool) (code int, err error) {
	// From the first moment on, so that a Ctrl-C leaves nothing running.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	startCtx, cancel := context.WithCancel(context.Background())
	defer cancel()

	tmp, err := os.MkdirTemp("", "reprise-testenv-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	started := make(chan error, 1)
	var cluster *pgcluster.Cluster
	go func() {
		var err error
		cluster, err = pgcluster.Start(startCtx, pgcluster.Options{
			Dir: filepath.Join(tmp, "postgres"), Durable: durable, MaxConnections: 300,
		})
		started <- err
	}()
	select {
	case err = <-started:
	case sig := <-signals:
		cancel()
		if err = <-started; err == nil {
			err = fmt.Errorf("%v", sig)
			err = errors.Join(err, stop(cluster))
		}
	}
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, stop(cluster)) }()
	objects, err := ondemand.New(func() ([]s3server.Server, func(), error) { return startS3(filepath.Join(tmp, "s3")) })
	if err != nil {
		return 1, err
	}
	defer objects.Stop()
	graph, err := ondemand.New(func() (neo4jserver.Where, func(), error) { return startNeo4j(filepath.Join(tmp, "neo4j"), durable) })
	if err != nil {
		return 1, err
	}
	defer graph.Stop()
	env := []string{
		"REPRISE_TEST_POSTGRES_URL=" + cluster.URL("postgres"),
		"REPRISE_TEST_S3_URL=" + objects.URL(),
		"REPRISE_TEST_NEO4J_URL=" + graph.URL(),
	}
	for name, value := range s3server.Environment() {
		env = append(env, name+"="+value)
	}
	return child.Foreground(args, env, signals)
}

func stop(cluster *pgcluster.Cluster) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return cluster.Stop(ctx)
}
