package redistest

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

//go:embed preload/clock.c
var clockSource []byte

// StartWithClock is Start of a server whose clock can be moved. That needs
// Linux and a C compiler.
func StartWithClock(t testing.TB, args ...string) *Server {
	t.Helper()
	return started(t, NewWithClock, args)
}

// NewWithClock is StartWithClock for callers that are no test. They call
// Close.
func NewWithClock(args ...string) (*Server, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("a server's clock can be moved on Linux only")
	}
	return create(args, func(s *Server) error {
		source, library, shift := filepath.Join(s.dir, "clock.c"), filepath.Join(s.dir, "clock.so"), filepath.Join(s.dir, "clock")
		if err := os.WriteFile(source, clockSource, 0o600); err != nil {
			return err
		}
		out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput()
		if err != nil {
			return fmt.Errorf("compile with cc: %w\n%s", err, out)
		}
		s.env = append(os.Environ(), "LD_PRELOAD="+library, "REDISTEST_CLOCK="+shift)
		return os.WriteFile(shift, make([]byte, 8), 0o600)
	})
}

// MoveClock sets the clock of a server made WithClock to the real time and d.
// It jumps at once, while the server runs.
func (s *Server) MoveClock(d time.Duration) {
	file, err := os.OpenFile(filepath.Join(s.dir, "clock"), os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	microseconds := binary.NativeEndian.AppendUint64(nil, uint64(d.Microseconds()))
	if _, err := file.Write(microseconds); err != nil {
		panic(err)
	}
}
