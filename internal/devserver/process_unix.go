//go:build unix && !linux

package devserver

import "syscall"

// detached puts a child out of reach of the terminal's Ctrl-C, so that it
// outlives the drain.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
