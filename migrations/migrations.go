// Package migrations holds the schemas of the databases as numbered files, embedded in
// the binary. It has no logic: package catalog applies the files in postgres/, package
// graphsync those in neo4j/.
package migrations

import "embed"

// Postgres holds postgres/*.sql in goose's format.
//
//go:embed postgres/*.sql
var Postgres embed.FS

// Neo4j holds neo4j/*.cypher: statements that end with a semicolon at the end of a
// line, each of which may be run twice.
//
//go:embed neo4j/*.cypher
var Neo4j embed.FS
