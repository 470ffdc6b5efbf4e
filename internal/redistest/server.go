package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a redis-server process on a port of its own on the loopback
// interface. It keeps nothing on disk unless its arguments say so.
type Server struct {
	args   []string
	env    []string // nil: this process's
	within []string // command line that starts the server's
	port   int
	dir    string
	cmd    *exec.Cmd
}

// Start starts a server that lives as long as the test. args are appended to
// the server's command line, where they override the defaults. The test fails
// when there is no redis-server.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return started(t, New, args)
}

func started(t testing.TB, create func(args ...string) (*Server, error), args []string) *Server {
	t.Helper()
	s, err := create(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// New is Start for callers that are no test. They call Close.
func New(args ...string) (*Server, error) {
	return create(args, func(*Server) error { return nil })
}

func create(args []string, prepare func(*Server) error) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errors.New("redis-server not found on PATH: apt-get install redis-server, or brew install redis")
	}
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		return nil, err
	}
	s := &Server{args: args, dir: dir}
	if err := prepare(s); err != nil {
		s.Close()
		return nil, err
	}
	// The port is free when it is chosen; another server may be quicker.
	for range 5 {
		if s.port, err = FreePort(); err != nil {
			break
		}
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	s.Close()
	return nil, err
}

// FreePort returns a TCP port of the loopback interface that is not in use. It
// is below those that systems give to outgoing connections: one of these could
// have it by the time that a server listens, or listens again.
func FreePort() (port int, err error) {
	for range 100 {
		port = 10_000 + rand.IntN(20_000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

// Addr returns host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL returns the server's address as clients take it.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// PID returns the number of the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Close kills the server and removes its files.
func (s *Server) Close() {
	s.Kill()
	os.RemoveAll(s.dir)
}

// Kill ends the process at once (SIGKILL) and waits for its end.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Restart kills the server, if it runs, and starts it again on the same port
// with the same files. It returns when the server answers.
func (s *Server) Restart() {
	s.Kill()
	if err := s.start(); err != nil {
		panic(err)
	}
}

// Stop freezes the process (SIGSTOP): connections stay open, nothing answers.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Cont lets a frozen process go on.
func (s *Server) Cont() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		panic(err)
	}
}

// loaded tells whether the data has been read from disk.
func (s *Server) loaded() bool {
	reply, err := Call(s.Addr(), "PING")
	return err == nil && reply == "PONG"
}

func (s *Server) start() error {
	log := filepath.Join(s.dir, "log")
	line := slices.Concat(s.within, []string{
		"redis-server", "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--logfile", log,
	}, s.args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = s.env
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.cmd = cmd
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		reply, err := Call(s.Addr(), "INFO", "server")
		if err != nil {
			continue
		}
		// An error reply, such as NOAUTH, is an answer too. Only another
		// server, which was quicker to take the port, has another pid.
		info, ok := reply.(string)
		if ok && !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", cmd.Process.Pid)) {
			break
		}
		if !ok || s.loaded() {
			return nil
		}
	}
	s.Kill()
	text, _ := os.ReadFile(log)
	return fmt.Errorf("redis-server on port %d did not answer; its log:\n%s", s.port, text)
}
