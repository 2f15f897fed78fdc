// Command program runs a Neo4j server on loopback, for development:
//
//	go run ./internal/neo4jserver/program -dir .reprise/neo4j
//
// It prints how it is reached, and Ctrl-C ends it. With a command behind it, as in
//
//	go run ./internal/neo4jserver/program -dir .reprise/neo4j -- bin/reprise dev
//
// that is run with the server in its environment, and the server ends with it. What
// the server has stays in the folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"reprise/internal/child"
	"reprise/internal/neo4jserver"
)

func main() {
	dir := flag.String("dir", ".reprise/neo4j", "where the server keeps everything")
	flag.Parse()
	code, err := run(*dir, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "neo4j:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(dir string, command []string) (int, error) {
	// From the first moment on, so that a Ctrl-C leaves nothing running.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	fmt.Fprintln(os.Stderr, "starting Neo4j …")
	server, err := start(dir, signals)
	if err != nil {
		return 1, err
	}
	defer server.Stop()
	at := server.Where()
	if len(command) > 0 {
		return child.Foreground(command, []string{
			"REPRISE_NEO4J_URL=" + at.URL, "REPRISE_NEO4J_USER=" + at.User, "REPRISE_NEO4J_PASSWORD=" + at.Password,
		}, signals)
	}
	fmt.Printf("REPRISE_NEO4J_URL=%s\nREPRISE_NEO4J_USER=%s\nREPRISE_NEO4J_PASSWORD=%s\n", at.URL, at.User, at.Password)
	fmt.Fprintln(os.Stderr, "Neo4j is running. Ctrl-C stops it; what it has is kept.")
	select {
	case <-signals:
		return 0, nil
	case <-server.Done():
		return 1, errors.New("it has ended by itself")
	}
}

// start starts the server, unless a signal comes before it is up.
func start(dir string, signals <-chan os.Signal) (*neo4jserver.Server, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var server *neo4jserver.Server
	started := make(chan error, 1)
	go func() {
		var err error
		server, err = neo4jserver.Start(ctx, neo4jserver.Options{Dir: dir, Fast: true})
		started <- err
	}()
	select {
	case err := <-started:
		return server, err
	case sig := <-signals:
		cancel()
		if err := <-started; err == nil {
			server.Stop()
		}
		return nil, fmt.Errorf("%v", sig)
	}
}
