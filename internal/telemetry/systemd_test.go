package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/telemetry"
)

// systemd receives what it is told, as the service manager would.
func systemd(t *testing.T) (next func(within time.Duration) string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000") // a third of it is 20 ms
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	return func(within time.Duration) string {
		t.Helper()
		buffer := make([]byte, 4096)
		_ = socket.SetReadDeadline(time.Now().Add(within))
		n, err := socket.Read(buffer)
		if err != nil {
			return ""
		}
		return string(buffer[:n])
	}
}

func TestSystemdIsTold(t *testing.T) {
	next := systemd(t)
	var fault atomic.Pointer[error]
	set := func(err error) { fault.Store(&err) }
	set(errors.New("starting"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := telemetry.Notify(ctx, func() error { return *fault.Load() }, slog.New(slog.DiscardHandler))
	defer stop()
	until := func(want string) (before []string) {
		t.Helper()
		for {
			switch got := next(5 * time.Second); got {
			case want:
				return before
			case "":
				t.Fatalf("told nothing more, want %q after %q", want, before)
			default:
				before = append(before, got)
			}
		}
	}

	if before := until("STATUS=starting"); len(before) > 0 {
		t.Errorf("first told %q", before)
	}
	until("WATCHDOG=1")
	set(nil)
	if before := until("READY=1"); strings.Contains(fmt.Sprint(before), "READY") {
		t.Errorf("told %q before it was ready", before)
	}
	until("WATCHDOG=1")

	set(errors.New("reading fails:\nREADY=0"))
	until("STATUS=reading fails: READY=0") // in one line
	until("WATCHDOG=1")                    // a restart mends nothing

	set(fmt.Errorf("group g: %w for 1m", freshet.ErrStuck))
	until("STATUS=group g: the loop is stuck for 1m")
	if got := next(200 * time.Millisecond); got != "" {
		t.Errorf("stuck, and tells %q", got)
	}

	set(errors.New("stopping"))
	cancel()
	until("STOPPING=1")
}
