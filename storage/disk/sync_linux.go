//go:build linux && !arm

package disk

import (
	"errors"
	"os"
	"syscall"
)

// syncFile implements syncFunc with fdatasync and fsync.
func syncFile(f *os.File, dataOnly bool) error {
	if !dataOnly {
		return f.Sync()
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if syncErr = syscall.Fdatasync(int(fd)); !errors.Is(syncErr, syscall.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", syncErr)
}

// syncFileRangeWrite is SYNC_FILE_RANGE_WRITE of sync_file_range(2): begin
// writing the pages of the range, and don't wait for the end.
const syncFileRangeWrite = 2

// startWriteBack lets the kernel begin to write a range of f to the disk. It is
// a hint and makes nothing durable: its errors don't matter, because a later
// fdatasync reports what could not be written.
func startWriteBack(f *os.File, offset, length int64) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_ = syscall.SyncFileRange(int(fd), offset, length, syncFileRangeWrite)
	})
}
