package faults

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redistest"
)

// What happens to the one that is the master.
var failoverFaults = []fault{
	{"F26", "the master is demoted", false, demoted},
	{"F30", "the master is killed, Sentinel promotes a replica", false, masterKilled},
}

// demoted: once for a while and back again, then for good in favour of
// another.
func demoted(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	stop := t.start(l, 100)
	t.steady(&c.journal, 50)
	for range scaled(t, 5, 1) {
		t.do(server, "REPLICAOF", "127.0.0.1", "1") // where nobody is, so that it keeps its data
		t.pass(2 * time.Second)
		t.do(server, "REPLICAOF", "NO", "ONE")
		t.goesOn(l, c, 5*time.Second)
	}
	stop()
	t.settled(server, group, 20*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)

	s := t.sentinels()
	l = t.load(s.url)
	c = t.consume(s.url, freshet.ConsumerConfig{Group: group}, nil)
	stop = t.start(l, 100)
	t.steady(&c.journal, 50)
	rounds := scaled(t, 5, 1)
	for range rounds {
		t.pass(time.Second)
		old := s.master()
		t.until("the sentinels can fail over", 20*time.Second, func() bool { return s.say("SENTINEL", "FAILOVER", "mymaster") == "OK" })
		t.until("there is another master", 20*time.Second, func() bool { return s.master() != old && isMaster(s.master()) })
		t.goesOn(l, c, 5*time.Second)
		t.inSync(s)
	}
	stop()
	t.settled(s.master(), group, 20*time.Second)
	c.stop()
	t.account(s.master(), group, l, &c.journal)
	t.unreplicated(100, rounds)
}

// goesOn waits until publishing and consuming go on.
func (t *trial) goesOn(l *load, c *consumer, atMost time.Duration) {
	back := time.Now()
	t.until("publishing and consuming go on", 30*time.Second, func() bool {
		return l.ackedSince(back) && len(c.journal.since(back)) > 0
	})
	t.recovered("resuming", time.Since(back), atMost)
}

// unreplicated takes what failovers have lost off the row's count: what a
// master acknowledged and its replica does not have yet is gone, which is not
// promised otherwise. Where nothing is slow it is less than half a second's.
func (t *trial) unreplicated(rate, failovers int) {
	t.check(t.lost <= rate*failovers/2, "%d events are lost by %d failovers at %d events a second", t.lost, failovers, rate)
	t.note("%d acknowledged events were not replicated in time", t.lost)
	t.lost = 0
}

// masterKilled: the kill, Sentinel's view of it, and the way to the new master.
func masterKilled(t *trial) {
	s := t.sentinels()
	l := t.load(s.url)
	l.timeout = time.Second
	c := t.consume(s.url, freshet.ConsumerConfig{Group: group}, nil)
	t.atEnd(func() {
		if len(t.failures) > 0 {
			t.noteViews(s, l)
		}
	})
	stop := t.start(l, 200)
	t.steady(&c.journal, 50)
	rounds := scaled(t, 5, 1)
	for range rounds {
		t.pass(2 * time.Second)
		old := s.master()
		killed := time.Now()
		old.Kill()
		t.until("publishing and consuming go on", 30*time.Second, func() bool {
			return s.master() != old && l.ackedSince(killed.Add(500*time.Millisecond)) && len(c.journal.since(killed.Add(500*time.Millisecond))) > 0
		})
		t.pass(time.Second)
		t.recovered("the gap in publishing", l.gap(killed.Add(-time.Second), time.Now()), downAfter+5*time.Second)
		old.Restart() // the sentinels make a replica of it
		t.inSync(s)
	}
	stop()
	t.settled(s.master(), group, 30*time.Second)
	c.stop()
	t.account(s.master(), group, l, &c.journal)
	t.unreplicated(200, rounds)
	t.check(c.Stats().LostUnread == 0, "%d entries counted as trimmed, none were", c.Stats().LostUnread)
	t.note("recovery is the longest time in which no publish was acknowledged")
}

// sentinels are three sentinels that watch a master and its two replicas.
type sentinels struct {
	url     string
	addrs   []string
	logs    []string // files
	servers []*redistest.Server
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
		s.logs = append(s.logs, log)
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
		log, err := os.ReadFile(s.logs[i])
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
// that are up to date.
func (t *trial) inSync(s *sentinels) {
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
