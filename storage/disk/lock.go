package disk

import (
	"os"
	"syscall"
)

// lock takes the exclusive lock of a file, which lasts until the file is
// closed or the process ends, and reports whether it got it. It doesn't wait.
//
// A writer holds the lock of its part. That a part is not locked proves that
// no writer, however stale, will touch the file any more, so that it may be
// written by another or become an object.
func lock(f *os.File) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) {
		lockErr = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	return err == nil && lockErr == nil
}
