package devserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Server is a server on the loopback interface, on a port that was free.
type Server struct {
	addr     string
	embedded *miniredis.Miniredis
	process  *exec.Cmd
	lock     *os.File      // held as long as the process has its directory
	done     chan struct{} // closed when the server has ended
}

// Start starts a redis-server that keeps its data in dir, which it creates.
// Where no redis-server is on PATH it starts an embedded server, which keeps
// nothing.
func Start(ctx context.Context, dir string) (*Server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return startEmbedded()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	// The port is free when it is chosen; another process may be quicker.
	for range 3 {
		var s *Server
		if s, err = startProcess(ctx, path, dir); err == nil {
			s.lock = lock
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	lock.Close()
	return nil, err
}

// lockDirectory keeps a second server off the files of the first.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is in use by another server: %w", dir, err)
	}
	return f, nil
}

// URL returns the server's address.
func (s *Server) URL() string { return "redis://" + s.addr }

// Embedded tells whether this is the embedded server, which keeps nothing.
func (s *Server) Embedded() bool { return s.embedded != nil }

// Done is closed when the server has ended, by itself or by Stop.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop ends the server and waits until its data is on disk.
func (s *Server) Stop() {
	if s.embedded != nil {
		s.embedded.Close()
		close(s.done)
		return
	}
	if s.lock != nil {
		defer s.lock.Close()
	}
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		_ = s.process.Process.Kill()
		<-s.done
	}
}

func startEmbedded() (*Server, error) {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true) // otherwise its time stands still
	if err := m.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	return &Server{addr: m.Addr(), embedded: m, done: make(chan struct{})}, nil
}

func startProcess(ctx context.Context, path, dir string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	log := filepath.Join(dir, "redis.log")
	cmd := exec.Command(path,
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port),
		"--dir", dir, "--logfile", log,
		"--appendonly", "yes", "--save", "",
		"--maxmemory-policy", "noeviction")
	cmd.SysProcAttr = detached()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	s := &Server{
		addr:    net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		process: cmd,
		done:    make(chan struct{}),
	}
	go func() {
		_ = cmd.Wait()
		close(s.done)
	}()
	if err := s.waitReady(ctx); err != nil {
		s.Stop()
		return nil, fmt.Errorf("redis-server: %w\n%s", err, lastLines(log))
	}
	return s, nil
}

// waitReady waits until the server has loaded its data and answers, as the
// process that was started and not as another one that was quicker to take
// the port.
func (s *Server) waitReady(ctx context.Context) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return errors.New("ended at once")
		case <-poll.C:
		}
		info, err := s.info()
		switch {
		case err != nil || strings.Contains(info, "loading:1"):
		case !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.process.Process.Pid)):
			return errors.New("another server took its port")
		default:
			return nil
		}
	}
}

func (s *Server) info() (string, error) {
	conn, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "INFO\r\n"); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	length, err := r.ReadString('\n') // "$5012\r\n"
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.Trim(length, "$\r\n"))
	if err != nil || n < 0 {
		return "", fmt.Errorf("unexpected reply %q", length)
	}
	text := make([]byte, n)
	_, err = io.ReadFull(r, text)
	return string(text), err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// lastLines returns the end of a log, which says why a server did not start.
func lastLines(path string) []byte {
	text, _ := os.ReadFile(path)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-5):], []byte("\n"))
}
