package pgcluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is the user that the server runs as. The zero account is this process's
// own.
type account struct {
	other    bool // not this process's own
	uid, gid uint32
}

// chooseAccount returns this process's own account, unless that is root, which
// PostgreSQL refuses: then the one that the data in dir belongs to, or else
// postgres or nobody.
func chooseAccount(dir string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	if st, err := os.Stat(dir); err == nil {
		if uid, gid := owner(st); uid != 0 {
			return account{true, uid, gid}, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{true, uint32(uid), uint32(gid)}, nil
		}
	}
	return account{}, errors.New("PostgreSQL refuses to run as root, and this system has neither a user postgres nor nobody: run reprise as an ordinary user")
}

// own gives everything in dir to the account, if root made or copied it.
func (a account) own(dir string) error {
	if !a.other {
		return nil
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if uid, _ := owner(st); uid == a.uid {
		return nil
	}
	// The folder itself is last, so that an interrupted walk is done again.
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		return os.Lchown(path, int(a.uid), int(a.gid))
	})
	if err != nil {
		return err
	}
	return os.Lchown(dir, int(a.uid), int(a.gid))
}

// command makes cmd run as the account, in a process group of its own (so that a
// Ctrl-C at the terminal reaches reprise only, which stops the server in order),
// with the folder dir as working folder.
func (a account) command(cmd *exec.Cmd, dir string) *exec.Cmd {
	cmd.Dir = "/"
	cmd.Env = serverEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.other {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
		if !a.reaches(dir) {
			letReach(cmd.SysProcAttr)
		}
	}
	return cmd
}

// reaches reports whether the mode bits of the folders above dir let the account
// through. A checkout below /root, for one, does not.
func (a account) reaches(dir string) bool {
	for parent := filepath.Dir(dir); ; parent = filepath.Dir(parent) {
		st, err := os.Stat(parent)
		if err != nil {
			return false
		}
		bit := fs.FileMode(0o001)
		if uid, gid := owner(st); uid == a.uid {
			bit = 0o100
		} else if gid == a.gid {
			bit = 0o010
		}
		if st.Mode()&bit == 0 {
			return false
		}
		if parent == filepath.Dir(parent) {
			return true
		}
	}
}

// serverEnv is the environment without what would change how the server
// behaves or in which language it speaks.
func serverEnv() []string {
	env := []string{"LC_ALL=C"}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			env = append(env, kv)
		}
	}
	return env
}

func owner(st fs.FileInfo) (uid, gid uint32) {
	sys := st.Sys().(*syscall.Stat_t) // always, on Unix
	return sys.Uid, sys.Gid
}

// unreachable says that the account can't get to dir, and what helps.
func (a account) unreachable(dir string) error {
	return fmt.Errorf("PostgreSQL refuses to run as root, and the user it runs as instead (uid %d) can't reach %s: "+
		"move the project to a folder that everybody may enter, or run reprise as an ordinary user", a.uid, dir)
}
