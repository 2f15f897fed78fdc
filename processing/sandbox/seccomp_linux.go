package sandbox

import (
	"os"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// allowed are the system calls that a program needs that computes, reads files and
// writes them, and its threads. Not every architecture has all of them, and the C
// library of another year uses others of the same kind, which are here, too.
// Whatever is not here fails with EPERM: sockets, new processes, ptrace, mounts,
// keys, bpf, io_uring, perf, userfaultfd, memfd, and what is not invented yet.
func allowed() []string {
	return []string{
		// files and what is open
		"access", "faccessat", "faccessat2", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "fstat", "fstatfs", "ftruncate",
		"fstatat", "getcwd", "getdents", "getdents64", "lseek", "lstat", "newfstatat", "open", "openat", "pread64", "preadv", "pwrite64", "pwritev",
		"read", "readlink", "readlinkat", "readv", "stat", "statfs", "statx", "truncate", "write", "writev",
		"fadvise64", "fallocate", "fdatasync", "fsync", "pipe", "pipe2",
		// memory
		"brk", "madvise", "mincore", "mmap", "mprotect", "mremap", "munmap", "mlock", "munlock", "membarrier", "get_mempolicy", "set_mempolicy",
		// threads and waiting
		"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "futex", "futex_waitv", "poll", "ppoll", "pselect6", "select",
		"clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "time", "times", "restart_syscall",
		"get_robust_list", "rseq", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_yield", "set_robust_list", "set_tid_address",
		// signals, its own only: see conditional
		"rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
		// the process itself
		"arch_prctl", "execve", "exit", "exit_group", "getrandom", "getcpu",
		"getegid", "geteuid", "getgid", "getpgrp", "getpid", "getppid", "getresgid", "getresuid", "getrlimit", "getrusage", "gettid", "getuid",
		"capget", "setrlimit", "sysinfo", "uname",
	}
}

// conditional are calls that are allowed with some arguments only.
func conditional() []seccomp.NameWithConditions {
	when := func(name string, argument uint32, operation seccomp.Operation, value uint64) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: argument, Operation: operation, Value: value}}}
	}
	return []seccomp.NameWithConditions{
		when("clone", 0, seccomp.BitsSet, unix.CLONE_THREAD),
		when("ioctl", 1, seccomp.Equal, unix.TCGETS), // is it a terminal?
		when("prctl", 0, seccomp.Equal, unix.PR_SET_NAME),
		when("prctl", 0, seccomp.Equal, unix.PR_GET_NAME),
		when("prctl", 0, seccomp.Equal, unix.PR_CAPBSET_READ),
		when("prctl", 0, seccomp.Equal, unix.PR_SET_VMA),
		when("prlimit64", 0, seccomp.Equal, 0),                // its own, which can't be raised
		when("tgkill", 0, seccomp.Equal, uint64(os.Getpid())), // abort, and the Go runtime
		when("sched_setaffinity", 0, seccomp.Equal, 0),        // of this thread
	}
}

// restrictCalls loads the filter into this thread, which is to become the program.
func restrictCalls() error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	exists := func(name string) bool { _, ok := info.SyscallNames[name]; return ok }
	allow := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, name := range allowed() {
		if exists(name) {
			allow.Names = append(allow.Names, name)
		}
	}
	for _, c := range conditional() {
		if exists(c.Name) {
			allow.NamesWithCondtions = append(allow.NamesWithCondtions, c)
		}
	}
	// Its flags are in memory, where a filter can't look. C libraries go back to
	// clone if it does not exist.
	clone3 := seccomp.SyscallGroup{Names: []string{"clone3"}, Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)}
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Policy:     seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{clone3, allow}},
	})
}
