package redistest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

// StartOnDisk is Start of a server whose files are on a disk of its own, of so
// many bytes. The disk lives as long as the process: a Restart begins with an
// empty one. That needs Linux and the right to mount in a namespace of one's
// own.
func StartOnDisk(t testing.TB, size int, args ...string) *Server {
	t.Helper()
	return started(t, func(args ...string) (*Server, error) { return NewOnDisk(size, args...) }, args)
}

// NewOnDisk is StartOnDisk for callers that are no test. They call Close.
func NewOnDisk(size int, args ...string) (*Server, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("a server gets a disk of its own on Linux only")
	}
	return create(args, func(s *Server) error {
		disk := filepath.Join(s.dir, "disk")
		s.args = append([]string{"--dir", disk}, args...)
		s.within = []string{"unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
			`mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"`, "sh", strconv.Itoa(size), disk}
		return os.Mkdir(disk, 0o700)
	})
}

// FillDisk leaves no room on the disk of a server made OnDisk.
func (s *Server) FillDisk() {
	file, err := os.Create(s.filler())
	if err != nil {
		panic(err)
	}
	defer file.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		panic(err)
	}
}

// FreeDisk undoes FillDisk.
func (s *Server) FreeDisk() {
	if err := os.Remove(s.filler()); err != nil {
		panic(err)
	}
}

// filler is a file on the server's disk, as seen from here.
func (s *Server) filler() string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", s.cmd.Process.Pid), s.dir, "disk", "filler")
}
