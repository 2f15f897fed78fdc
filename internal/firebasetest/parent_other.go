//go:build unix && !linux

package firebasetest

import "syscall"

// dieWithParent does nothing: only Linux can tell a child.
func dieWithParent(*syscall.SysProcAttr) {}
