package devserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/devserver"
)

// ask sends one command and returns the first line of the reply, "" when the
// server ends instead.
func ask(t *testing.T, s *devserver.Server, command ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "redis://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "*%d\r\n", len(command))
	for _, word := range command {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(word), word)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

func start(t *testing.T, dir string) *devserver.Server {
	t.Helper()
	s, err := devserver.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestProcessKeepsItsDataOverARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "redis")
	s := start(t, dir)
	if s.Embedded() {
		t.Fatal("redis-server is not on PATH: apt-get install redis-server, or brew install redis")
	}
	ask(t, s, "XADD", "s", "1-1", "a", "b")
	s.Stop()
	if conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "redis://")); err == nil {
		conn.Close()
		t.Error("the server answers after Stop")
	}
	s = start(t, dir)
	defer s.Stop()
	if got := ask(t, s, "XLEN", "s"); got != ":1" {
		t.Errorf("XLEN after a restart = %q, want :1", got)
	}
	if got := ask(t, s, "CONFIG", "GET", "bind"); got != "*2" {
		t.Errorf("CONFIG GET bind = %q", got)
	}
}

func TestDirectoryIsForOneServer(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	if _, err := devserver.Start(t.Context(), dir); err == nil || !strings.Contains(err.Error(), dir+" is in use") {
		t.Errorf("a second server: %v, want it refused", err)
	}
	first.Stop()
	start(t, dir).Stop()
}

func TestProcessThatCannotStartSaysWhy(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "appendonlydir"), 0o700); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "appendonlydir", "appendonly.aof.manifest")
	if err := os.WriteFile(manifest, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := devserver.Start(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), "manifest") {
		t.Errorf("Start = %v, want the server's own words about its manifest", err)
	}
}

func TestProcessEndingIsNoticed(t *testing.T) {
	s := start(t, t.TempDir())
	ask(t, s, "SET", "k", "v")
	ask(t, s, "SHUTDOWN", "NOSAVE")
	select {
	case <-s.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("Done is open, though the server was shut down")
	}
	s.Stop()
}

func TestEmbeddedWithoutRedisServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := start(t, t.TempDir())
	defer s.Stop()
	if !s.Embedded() {
		t.Fatal("not embedded, though there is no redis-server")
	}
	ask(t, s, "SET", "k", "v", "PX", "20")
	for deadline := time.Now().Add(5 * time.Second); ask(t, s, "GET", "k") != "$-1"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a key did not expire: time stands still")
		}
	}
}
