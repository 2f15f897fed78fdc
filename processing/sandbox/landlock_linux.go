package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The three calls of Landlock are made here, and not by a library. The one for Go
// restricts all threads, for which it reads /proc/<pid>/task: in a new process
// namespace that is another process's. Here only the thread counts that execs.

// Rights on files (linux/landlock.h).
const (
	rightRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE
	rightWrite = rightRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	rightRun   = rightRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	rightList  = rightRun | unix.LANDLOCK_ACCESS_FS_READ_DIR // of folders
)

// landlockVersion returns the ABI that the kernel has.
func landlockVersion() (int, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(version), nil
}

// refusedByDefault is all that a version can refuse.
func refusedByDefault(version int) unix.LandlockRulesetAttr {
	a := unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1} // version 1: this bit and all below
	for _, since := range []struct {
		version int
		fs      uint64
		net     uint64
		scoped  uint64
	}{
		{version: 2, fs: unix.LANDLOCK_ACCESS_FS_REFER},
		{version: 3, fs: unix.LANDLOCK_ACCESS_FS_TRUNCATE},
		{version: 4, net: unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP},
		{version: 5, fs: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		{version: 6, scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL},
		{version: 9, fs: unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},
		{version: 10, net: unix.LANDLOCK_ACCESS_NET_BIND_UDP | unix.LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP},
	} {
		if version >= since.version {
			a.Handled_access_fs |= since.fs
			a.Handled_access_net |= since.net
			a.Scoped |= since.scoped
		}
	}
	return a
}

// restrictFiles has Landlock refuse every file but those of the Spec and what a
// program needs to start. With newer kernels it also refuses TCP, UDP, and signals
// and sockets that lead out of the sandbox.
func (s Spec) restrictFiles() error {
	version, err := landlockVersion()
	if err != nil {
		return err
	}
	attr := refusedByDefault(version)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return errno
	}
	rules := ruleset{fd: int(fd), handled: attr.Handled_access_fs}
	defer unix.Close(rules.fd)
	for _, folder := range libraries(s.Path) {
		rules.allowIfThere(rightList, folder)
	}
	for _, path := range []string{"/etc/ld.so.cache", "/dev/null"} {
		rules.allowIfThere(rightRead, path)
	}
	if s.Path != "" {
		rules.allow(rightRun, s.Path)
	}
	for _, path := range s.Read {
		rules.allow(rightRead, path)
	}
	for _, path := range s.Folders {
		rules.allow(rightRead|unix.LANDLOCK_ACCESS_FS_READ_DIR, path)
	}
	for _, path := range s.Write {
		rules.allow(rightWrite, path)
	}
	if rules.err != nil {
		return rules.err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// libraries are the folders that programs have theirs in, and the one beside a
// program's own: /opt/ffmpeg/lib of /opt/ffmpeg/bin/ffmpeg. There is no shell in
// them.
func libraries(program string) []string {
	folders := []string{"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/nix/store"}
	if real, err := filepath.EvalSymlinks(program); err == nil && filepath.Base(filepath.Dir(real)) == "bin" {
		folders = append(folders, filepath.Join(filepath.Dir(filepath.Dir(real)), "lib"))
	}
	return folders
}

// ruleset is one that is being made. Its first error is kept.
type ruleset struct {
	fd      int
	handled uint64
	err     error
}

func (r *ruleset) allowIfThere(rights uint64, path string) {
	before := r.err
	if r.allow(rights, path); before == nil && errors.Is(r.err, fs.ErrNotExist) {
		r.err = nil
	}
}

// allow grants rights on a file, or on a folder and all below it.
func (r *ruleset) allow(rights uint64, path string) {
	if r.err != nil {
		return
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		r.err = fmt.Errorf("open %s: %w", path, err)
		return
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & r.handled, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		r.err = fmt.Errorf("allow %s: %w", path, errno)
	}
}
