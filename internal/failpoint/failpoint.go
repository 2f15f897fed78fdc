//go:build !failpoint

// Package failpoint marks the places where a crash test kills the server. It
// does nothing unless built with the tag failpoint, which no release has.
package failpoint

// Hit marks a place.
func Hit(string) {}
