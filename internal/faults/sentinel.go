package faults

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/redistest"
)

// sentinels are three sentinels that watch a master and its two replicas.
type sentinels struct {
	url     string
	addrs   []string
	logs    []sentinelLog
	servers []*redistest.Server
}

// sentinelLog is a sentinel's log file, and how much of it was read.
type sentinelLog struct {
	path string
	read int
}

// downAfter is how long a master is silent before it is taken for dead.
const downAfter = time.Second

func (t *trial) sentinels() *sentinels {
	s := &sentinels{}
	master := t.redis("--repl-diskless-sync-delay", "0")
	host, port, _ := strings.Cut(master.Addr(), ":")
	s.servers = []*redistest.Server{master}
	for range 2 {
		s.servers = append(s.servers, t.redis("--repl-diskless-sync-delay", "0", "--replicaof", host+" "+port))
	}
	for i := range 3 {
		addr, log := t.sentinel(i)
		s.addrs = append(s.addrs, addr)
		s.logs = append(s.logs, sentinelLog{path: log})
		for _, command := range [][]string{
			{"SENTINEL", "MONITOR", "mymaster", host, port, "2"},
			{"SENTINEL", "SET", "mymaster", "down-after-milliseconds", strconv.FormatInt(downAfter.Milliseconds(), 10), "failover-timeout", "5000"},
		} {
			reply, err := redistest.Call(addr, command...)
			t.must(err)
			t.check(reply == "OK", "%s: %v", command[1], reply)
		}
	}
	s.url = "redis+sentinel://" + strings.Join(s.addrs, ",") + "/mymaster"
	t.until("the sentinels know each other", 20*time.Second, func() bool {
		known, _ := s.say("SENTINEL", "SENTINELS", "mymaster").([]any)
		return len(known) == 2
	})
	t.inSync(s)
	return s
}

// sentinel starts the nth sentinel, which writes the file log.
func (t *trial) sentinel(n int) (addr, log string) {
	port, err := redistest.FreePort()
	t.must(err)
	file := t.file(fmt.Sprintf("sentinel-%d-%d.conf", port, n))
	log = file + ".log"
	t.must(os.WriteFile(file, fmt.Appendf(nil, "port %d\nbind 127.0.0.1\ndir %s\nlogfile %s\n", port, t.dir, log), 0o600))
	t.process("redis-server", file, "--sentinel")
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	t.until("the sentinel listens", 10*time.Second, func() bool {
		reply, err := redistest.Call(addr, "PING")
		return err == nil && reply == "PONG"
	})
	return addr, log
}

// say sends a command to the first sentinel.
func (s *sentinels) say(args ...string) any {
	reply, err := redistest.Call(s.addrs[0], args...)
	if err != nil {
		return err
	}
	return reply
}

// master returns the server that the sentinels take for the master.
func (s *sentinels) master() *redistest.Server {
	addr, _ := s.say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster").([]any)
	for _, server := range s.servers {
		if len(addr) == 2 && server.Addr() == net.JoinHostPort(addr[0].(string), addr[1].(string)) {
			return server
		}
	}
	return s.servers[0]
}

// hindrances returns what has kept the sentinels from promoting a replica since
// it was last asked, by their logs: a failover that failed, after which they
// wait for twice its timeout, or that they stood still for two seconds, after
// which they do nothing for 30.
func (t *trial) hindrances(s *sentinels) (found []string) {
	for i := range s.logs {
		log, err := os.ReadFile(s.logs[i].path)
		t.must(err)
		for line := range strings.Lines(string(log[s.logs[i].read:])) {
			for _, what := range []string{"+tilt", "-failover-abort"} {
				if _, after, is := strings.Cut(line, " "+what); is {
					found = append(found, what+strings.TrimSpace(after))
				}
			}
		}
		s.logs[i].read = len(log)
	}
	return found
}

// noteViews adds to the row what the servers, the sentinels and the publisher
// make of the state that they are in.
func (t *trial) noteViews(s *sentinels, l *load) {
	for _, server := range s.servers {
		role, err := redistest.Call(server.Addr(), "ROLE")
		t.note("%s: role %v, error %v", server.Addr(), role, err)
	}
	for i, addr := range s.addrs {
		master, err := redistest.Call(addr, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster")
		t.note("sentinel %s: master %v, error %v; the end of its log:", addr, master, err)
		log, err := os.ReadFile(s.logs[i].path)
		t.must(err)
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		for _, line := range lines[max(0, len(lines)-25):] {
			t.note("  %s", line)
		}
	}
	errs := l.takeErrors()
	t.note("%d publishes failed, the last:", len(errs))
	for _, err := range errs[max(0, len(errs)-5):] {
		t.note("  %v", err)
	}
}

func isMaster(server *redistest.Server) bool {
	reply, err := redistest.Call(server.Addr(), "ROLE")
	role, ok := reply.([]any)
	return err == nil && ok && role[0] == "master"
}

// inSync waits until the master has two replicas that the sentinels know and
// that are up to date, and no sentinel is in the tilt of having stood still.
func (t *trial) inSync(s *sentinels) {
	t.until("no sentinel is in tilt", 60*time.Second, func() bool {
		return !slices.ContainsFunc(s.addrs, func(addr string) bool {
			info, err := redistest.Call(addr, "INFO", "sentinel")
			text, _ := info.(string)
			return err != nil || !strings.Contains(text, "sentinel_tilt:0\r")
		})
	})
	t.until("the replicas are in sync", 60*time.Second, func() bool {
		info, err := redistest.Call(s.master().Addr(), "INFO", "replication")
		text, _ := info.(string)
		replicas, _ := s.say("SENTINEL", "REPLICAS", "mymaster").([]any)
		down := false
		for _, r := range replicas {
			down = down || field(r.([]any), "flags") != "slave"
		}
		return err == nil && strings.Count(text, "state=online") == 2 && len(replicas) == 2 && !down
	})
}
