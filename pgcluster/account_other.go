//go:build unix && !linux

package pgcluster

import "syscall"

// dieWithParent does nothing: only Linux has a signal for it. The next Start
// stops what a killed parent left.
func dieWithParent(*syscall.SysProcAttr) {}

// letReach does nothing: only Linux has capabilities.
func letReach(*syscall.SysProcAttr) {}
