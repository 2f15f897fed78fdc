//go:build unix && !linux

package child

import "syscall"

// dieWithParent does nothing: only Linux can tell a child.
func dieWithParent(*syscall.SysProcAttr) {}
