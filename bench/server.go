package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/redistest"
)

// server is a redis-server of the harness: on loopback, nothing on disk.
type server struct{ *redistest.Server }

func startServer() (*server, error) {
	s, err := redistest.New("--slowlog-max-len", "100000", "--slowlog-log-slower-than", "-1", "--databases", "64")
	if err != nil {
		return nil, err
	}
	return &server{s}, nil
}

// url names database db.
func (s *server) url(db int) string { return fmt.Sprintf("%s/%d", s.URL(), db) }

// cpu is the processor time that the server has used.
func (s *server) cpu() time.Duration {
	var sum float64
	info, _ := s.Do("INFO", "cpu").(string)
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, _ := strconv.ParseFloat(value, 64)
			sum += seconds
		}
	}
	return time.Duration(sum * float64(time.Second))
}

// memory is what the server holds, in bytes.
func (s *server) memory() int64 {
	info, _ := s.Do("INFO", "memory").(string)
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

func (s *server) version() string {
	info, _ := s.Do("INFO", "server").(string)
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return value
		}
	}
	return "unknown"
}

// slowest runs work and returns the command that took the server longest.
// Meanwhile the server runs before all else on the machine, where the operating
// system allows it: the log of slow commands would count it as a command's time
// when the server waits for a processor that clients have.
func (s *server) slowest(work func() error) (command string, took time.Duration, err error) {
	if first := (unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 1}); unix.SchedSetAttr(s.PID(), &first, 0) == nil {
		defer unix.SchedSetAttr(s.PID(), &unix.SchedAttr{Policy: unix.SCHED_NORMAL}, 0)
	}
	s.Do("SLOWLOG", "RESET")
	s.Do("CONFIG", "SET", "slowlog-log-slower-than", "100")
	err = work()
	s.Do("CONFIG", "SET", "slowlog-log-slower-than", "-1")
	command = "none over 0.1 ms"
	entries, _ := s.Do("SLOWLOG", "GET", "-1").([]any)
	for _, e := range entries {
		entry := e.([]any)
		micros := time.Duration(entry[2].(int64)) * time.Microsecond
		if args := entry[3].([]any); micros > took {
			command, took = strings.ToUpper(args[0].(string)), micros
		}
	}
	s.Do("SLOWLOG", "RESET")
	return command, took, err
}
