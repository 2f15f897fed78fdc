//go:build linux

// Command program is a decoder that a hostile file has taken over. It tries a deed
// and says on standard error what came of it, a line for each try: "read
// /etc/passwd: permission denied". Its exit status is 3 if nothing else ended it.
package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	deed, object := "", ""
	if name, encoded, named := strings.Cut(filepath.Base(os.Args[0]), "-"); named {
		decoded, err := hex.DecodeString(encoded)
		if err != nil {
			panic(err)
		}
		deed, object = name, string(decoded)
	} else if len(os.Args) > 2 {
		deed, object = os.Args[1], os.Args[2]
	}
	deeds := map[string]func(object string){
		"hang":    func(string) { time.Sleep(time.Hour) },
		"crash":   crash,
		"compute": func(string) { compute() },
		"consume": consume,
		"fork":    fork,
		"fill":    fill,
		"flood":   flood,
		"chatter": chatter,
		"dial":    dial,
		"read":    read,
		"write":   write,
		"signal":  signal,
		"trace":   trace,
		"call":    call,
	}
	deeds[deed](object)
	os.Exit(3)
}

func say(what string, err error) {
	if err == nil {
		fmt.Fprintf(os.Stderr, "%s: DONE\n", what)
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
}

func crash(string) {
	// The Go runtime would make a panic of it.
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGSEGV), uintptr(unsafe.Pointer(&[4]uint64{})), 0, 8, 0, 0)
	say("crash", errnoOrNil(errno))
	var no *int
	*no = 1
}

func compute() {
	for i := 0; ; i++ {
		_ = i * i
	}
}

// consume takes addresses until there are none: 64 MB at a time. It does not use
// them, so that the machine of the tests is left in peace.
func consume(string) {
	for taken := 64; ; taken += 64 {
		_, err := syscall.Mmap(-1, 0, 64<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			say("more than "+strconv.Itoa(taken-64)+" MB", err)
			return
		}
	}
}

// fork tries to multiply, by all calls that there are for it.
func fork(string) {
	for range 20 {
		_, err := syscall.ForkExec("/proc/self/exe", []string{"hang-"}, nil)
		say("start myself", err)
		for name, nr := range map[string]uintptr{"clone": syscall.SYS_CLONE, "clone3": 435} {
			child, _, errno := syscall.RawSyscall(nr, uintptr(syscall.SIGCHLD), 0, 0)
			if errno != 0 {
				say(name, errno)
			} else if child == 0 {
				for {
					syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&syscall.Timespec{Sec: 3600})), 0, 0)
				}
			} else {
				say(name, nil)
			}
		}
	}
}

// fill writes to the files that it is given, and to others, as much as it can.
func fill(object string) {
	block := make([]byte, 1<<20)
	names := []string{"audio.m4a", "audio.opus", "another", "../another", filepath.Join(os.TempDir(), "another"), "/another", "/dev/shm/another"}
	if object != "" {
		names = strings.Split(object, "\n")
	}
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			say("create", err)
			continue
		}
		for written := 0; ; written++ {
			if _, err := f.Write(block); err != nil {
				say(fmt.Sprintf("%s after %d MB", name, written), err)
				break
			}
		}
	}
}

// flood writes samples without end.
func flood(string) {
	block := make([]byte, 64<<10)
	for {
		if _, err := os.Stdout.Write(block); err != nil {
			os.Exit(3)
		}
	}
}

// chatter complains without end.
func chatter(string) {
	for range 2000 {
		io.WriteString(os.Stderr, strings.Repeat("x", 64<<10))
	}
}

// dial tries every way to a listener: "tcp 127.0.0.1:1234", "unix /path", "unix @abstract".
func dial(object string) {
	for line := range strings.SplitSeq(object, "\n") {
		network, address, _ := strings.Cut(line, " ")
		c, err := net.DialTimeout(network, address, 2*time.Second)
		if err == nil {
			_, err = c.Write([]byte("hello\n"))
		}
		say("dial "+line, err)
	}
}

func read(object string) {
	for path := range strings.SplitSeq(object, "\n") {
		f, err := os.Open(path)
		if err == nil {
			var info os.FileInfo
			if info, err = f.Stat(); err == nil && info.IsDir() {
				_, err = f.Readdirnames(-1)
			} else if err == nil {
				_, err = f.Read(make([]byte, 1))
			}
		}
		if err == io.EOF {
			err = nil
		}
		say("try", err)
	}
}

func write(object string) {
	for path := range strings.SplitSeq(object, "\n") {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		if err == nil {
			_, err = f.Write([]byte("overwritten"))
		}
		say("open", err)
		say("truncate", os.Truncate(path, 0))
		say("remove", os.Remove(path))
		say("rename", os.Rename(path, path+".moved"))
		say("link", os.Link(path, path+".linked"))
		say("mkdir", os.Mkdir(path+".folder", 0o700))
		say("symlink", os.Symlink("/etc/passwd", path+".symlink"))
	}
}

// signal kills a process, and all.
func signal(object string) {
	pid, _ := strconv.Atoi(object)
	say("signal it", syscall.Kill(pid, syscall.SIGKILL))
	say("signal the parent", syscall.Kill(os.Getppid(), syscall.SIGKILL))
	say("signal the group", syscall.Kill(0, syscall.SIGCONT))
}

func trace(object string) {
	pid, _ := strconv.Atoi(object)
	say("trace", syscall.PtraceAttach(pid))
	var local [8]byte
	vec := [2]uintptr{uintptr(unsafe.Pointer(&local)), 8}
	_, _, errno := syscall.Syscall6(310, uintptr(pid), uintptr(unsafe.Pointer(&vec)), 1, uintptr(unsafe.Pointer(&vec)), 1, 0)
	say("read its memory", errnoOrNil(errno))
}

// call makes system calls by their numbers, with arguments that would do no harm.
func call(object string) {
	for n := range strings.SplitSeq(object, " ") {
		nr, _ := strconv.Atoi(n)
		_, _, errno := syscall.Syscall6(uintptr(nr), 0, 0, 0, 0, 0, 0)
		say("call "+n, errnoOrNil(errno))
	}
}

func errnoOrNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
