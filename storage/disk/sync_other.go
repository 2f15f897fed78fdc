//go:build !linux || arm

package disk

import "os"

// syncFile implements syncFunc. On macOS, Sync is F_FULLFSYNC, which is what
// it takes there to get past the drive's own cache.
func syncFile(f *os.File, _ bool) error { return f.Sync() }

// startWriteBack does nothing: there is no portable way to ask for it.
func startWriteBack(*os.File, int64, int64) {}
