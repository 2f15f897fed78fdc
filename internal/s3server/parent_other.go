//go:build unix && !linux

package s3server

import "syscall"

// dieWithParent does nothing: only Linux can tell a child.
func dieWithParent(*syscall.SysProcAttr) {}
