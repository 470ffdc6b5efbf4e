package devserver

import "syscall"

// detached puts a child out of reach of the terminal's Ctrl-C, so that it
// outlives the drain, and ends it with its parent, however that ends.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
