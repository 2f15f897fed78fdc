// Package migrations holds the database schemas as numbered files, embedded in
// the binary. It has no logic: package catalog applies the files in postgres/.
package migrations

import "embed"

// Postgres holds postgres/*.sql in goose's format.
//
//go:embed postgres/*.sql
var Postgres embed.FS
