package main

import (
	"context"

	"reprise/internal/neo4jserver"
	"reprise/internal/s3server"
)

// Neither start is bound to a test's context: the next test finds them started.

func startS3(dir string) ([]s3server.Server, func(), error) {
	servers, err := s3server.Start(context.Background(), dir)
	if err != nil {
		return nil, nil, err
	}
	return servers.All(), servers.Stop, nil
}

func startNeo4j(dir string, fast bool) (neo4jserver.Where, func(), error) {
	server, err := neo4jserver.Start(context.Background(), neo4jserver.Options{Dir: dir, Fast: fast})
	if err != nil {
		return neo4jserver.Where{}, nil, err
	}
	return server.Where(), server.Kill, nil
}
