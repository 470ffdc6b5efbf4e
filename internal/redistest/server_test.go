package redistest_test

import (
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redistest"
)

func TestServerAnswersAndForgetsOnKill(t *testing.T) {
	s := redistest.Start(t)
	s.Do("XADD", "s", "1-1", "a", "", "a", "\x00\r\n")
	want := []any{[]any{"1-1", []any{"a", "", "a", "\x00\r\n"}}}
	if got := s.Do("XRANGE", "s", "-", "+"); !reflect.DeepEqual(got, want) {
		t.Errorf("XRANGE = %q, want %q", got, want)
	}
	if e, ok := s.Do("GET", "s").(redistest.Error); !ok || e[:9] != "WRONGTYPE" {
		t.Errorf("GET of a stream = %q", e)
	}
	s.Kill()
	s.Restart()
	if got := s.Do("XLEN", "s"); got != int64(0) {
		t.Errorf("XLEN after kill = %v, want 0", got)
	}
	if got := s.Do("GET", "s"); got != nil {
		t.Errorf("GET = %v, want nil", got)
	}
}

func TestArgumentsOverrideAndFilesSurvive(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s.Do("SET", "k", "v")
	s.Restart()
	if got := s.Do("GET", "k"); got != "v" {
		t.Errorf("GET after restart = %v, want v", got)
	}
}

func TestStopFreezesUntilCont(t *testing.T) {
	s := redistest.Start(t)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.Stop()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 7)
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := io.ReadFull(conn, reply); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a stopped server answered %q, %v", reply, err)
	}
	s.Cont()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(conn, reply); err != nil || string(reply) != "+PONG\r\n" {
		t.Errorf("after Cont: %q, %v", reply, err)
	}
}
