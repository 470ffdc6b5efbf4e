package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
)

// What the server refuses.
var refusalFaults = []fault{
	{"F23", "the server is out of memory", true, outOfMemory},
	{"F25", "the server loads its data", false, loading},
	{"F27", "too few replicas", true, tooFewReplicas},
	{"F41", "the server's disk is full", false, fullDisk},
	{"F42", "permissions and password change", true, permissions},
	{"F43", "the server takes no more clients", true, maxClients},
}

// refused publishes one event, which the server must refuse.
func (t *trial) refused(l *load, class redisstream.Class) {
	start := time.Now()
	_, err := l.bus.PublishMessage(t.ctx, l.next())
	t.check(errors.Is(err, freshet.ErrFailed), "publish: %v, want one that failed for certain", err)
	t.check(redisstream.ClassOf(err) == class, "publish: %v: class %s, want %s", err, redisstream.ClassOf(err), class)
	t.check(time.Since(start) < time.Second, "the refusal took %v", time.Since(start))
}

// resumes waits until publishing and consuming go on after the fault.
func (t *trial) resumes(l *load, c *consumer, after string) {
	back := time.Now()
	t.until("publishing and consuming go on", 20*time.Second, func() bool {
		l.some(t.ctx, 1)
		return l.ackedSince(back) && len(c.journal.since(back)) > 0
	})
	t.recovered("resuming after "+after, time.Since(back), 5*time.Second)
	t.until("the consumer is ready again", 5*time.Second, func() bool { return c.Ready() == nil })
}

// unready checks that a consumer that cannot go on says so to a readiness probe.
func (t *trial) unready(c *consumer) {
	t.check(c.Ready() != nil, "the consumer says that it is ready")
}

// outOfMemory: what is there is drained, and what cannot be dead-lettered
// stays pending until it can.
func outOfMemory(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	gate := make(chan struct{})
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group, MaxInFlight: 100}, func(ctx context.Context, d *freshet.Delivery) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		if d.Entity.ID == "user-1" {
			return freshet.Permanent(errOnPurpose)
		}
		return ctx.Err()
	})
	t.many(l, 400)
	t.until("the consumer is in the group", 5*time.Second, func() bool { return c.Ready() == nil })
	t.do(server, "CONFIG", "SET", "maxmemory", "1mb")
	t.refused(l, redisstream.OutOfMemory)
	close(gate)
	const poisoned = 8 // of 400 events of 50 users
	t.until("the good events are drained", 20*time.Second, func() bool { return len(c.journal.count()) == 400-poisoned })
	t.until("only the poison is pending", 10*time.Second, func() bool { return pendingCount(server, group) == poisoned })
	t.refused(l, redisstream.OutOfMemory)
	t.do(server, "CONFIG", "SET", "maxmemory", "0")
	t.recovered("dead-lettering", t.settled(server, group, 20*time.Second), 5*time.Second)
	t.resumes(l, c, "lack of memory")
	c.stop()
	s := t.noneLost(server, group, l, &c.journal)
	t.check(len(s.deadLetters) >= poisoned, "%d dead letters of %d", len(s.deadLetters), poisoned)
}

func tooFewReplicas(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	t.many(l, 100)
	t.settled(server, group, 10*time.Second)
	t.do(server, "CONFIG", "SET", "min-replicas-to-write", "1")
	for range 20 {
		t.refused(l, redisstream.NoReplicas)
		t.pass(100 * time.Millisecond)
	}
	t.unready(c)
	t.do(server, "CONFIG", "SET", "min-replicas-to-write", "0")
	t.resumes(l, c, "lack of replicas")
	t.settled(server, group, 10*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	t.few(c)
}

// few checks that a lasting fault did not fill the log.
func (t *trial) few(c *consumer) {
	lines := c.log.warnings()
	t.check(len(lines) > 0 && len(lines) <= 20, "%d warnings, such as\n%s", len(lines), strings.Join(lines[:min(5, len(lines))], "\n"))
}

// fullDisk: the server has no room for its append-only file and takes no write.
func fullDisk(t *trial) {
	server, err := redistest.NewOnDisk(8<<20, durable("everysec")...)
	t.must(err)
	t.atEnd(server.Close)
	l := t.load(server.URL())
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	t.many(l, 100)
	t.settled(server, group, 10*time.Second)
	server.FillDisk()
	t.until("the server refuses to write", 10*time.Second, func() bool {
		reply, refused := server.Do("SET", "k", strings.Repeat("v", 4096)).(redistest.Error)
		return refused && strings.HasPrefix(string(reply), "MISCONF")
	})
	for range 20 {
		t.refused(l, redisstream.DiskFailed)
		t.pass(100 * time.Millisecond)
	}
	t.unready(c)
	server.FreeDisk()
	t.until("the server takes writes", 10*time.Second, func() bool { return server.Do("SET", "k", "v") == "OK" })
	t.resumes(l, c, "a full disk")
	t.settled(server, group, 10*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	t.few(c)
}

func permissions(t *trial) {
	server := t.redis()
	rule := func(rules ...string) { t.do(server, append([]string{"ACL", "SETUSER", "app"}, rules...)...) }
	rule("on", ">first", "~*", "+@all")
	t.password = t.file("password")
	password := func(text string) { t.must(os.WriteFile(t.password, []byte(text+"\n"), 0o600)) }
	password("first")
	url := strings.Replace(server.URL(), "redis://", "redis://app@", 1)
	l := t.load(url)
	c := t.consume(url, freshet.ConsumerConfig{Group: group}, nil)
	t.many(l, 100)
	t.settled(server, group, 10*time.Second)

	rule("-xadd")
	t.refused(l, redisstream.NoPerm)
	rule("+xadd")
	t.resumes(l, c, "a permission to publish came back")

	rule("-xreadgroup")
	t.pass(2 * time.Second)
	rule("+xreadgroup")
	t.resumes(l, c, "a permission to consume came back")

	rule("resetpass", ">second")
	t.do(server, "CLIENT", "KILL", "USER", "app")
	t.until("publishing is refused", 5*time.Second, func() bool {
		_, err := l.bus.PublishMessage(t.ctx, l.next())
		return redisstream.ClassOf(err) == redisstream.Auth
	})
	t.refused(l, redisstream.Auth)
	t.pass(2 * time.Second)
	t.check(!c.isOver(), "the consumer ended: %v", c.err)
	password("second")
	t.resumes(l, c, "the file has the new password")
	t.settled(server, group, 10*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	log := c.log.String()
	t.check(strings.Contains(log, "NOPERM") && strings.Contains(log, "WRONGPASS"), "the log does not say what was refused")
	t.check(!strings.Contains(log, "first") && !strings.Contains(log, "second"), "the log has a password")
	t.few(c)
}

func (c *consumer) isOver() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func maxClients(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	l.timeout = time.Second
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	t.many(l, 100)
	t.settled(server, group, 10*time.Second)
	operator, err := net.Dial("tcp", server.Addr())
	t.must(err)
	defer operator.Close()
	say := func(command string) {
		_, err := fmt.Fprintf(operator, "%s\r\n", command)
		t.must(err)
		reply := make([]byte, 100)
		n, err := operator.Read(reply)
		t.must(err)
		t.check(n > 0 && reply[0] != '-', "%s: %s", command, reply[:n])
	}
	say("CONFIG SET maxclients 1")
	say("CLIENT KILL TYPE normal SKIPME yes")
	struck := time.Now()
	for time.Since(struck) < scaled(t, 10*time.Second, 4*time.Second) {
		l.some(t.ctx, 1)
		t.pass(50 * time.Millisecond)
	}
	t.check(!l.ackedSince(struck), "an event was published though the server takes no clients")
	t.check(l.slowest < l.timeout+500*time.Millisecond, "a publish with a deadline of %v took %v", l.timeout, l.slowest)
	say("CONFIG SET maxclients 1000")
	t.resumes(l, c, "the server takes clients")
	t.settled(server, group, 10*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	t.few(c)
}

// loading: a server that reads its file answers nothing else.
func loading(t *trial) {
	server := t.redis(append(durable("everysec"), "--key-load-delay", "1000", "--auto-aof-rewrite-percentage", "0")...)
	l := t.load(server.URL())
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	t.many(l, 3500)
	t.settled(server, group, 20*time.Second)
	server.Kill()
	start := time.Now()
	unready := make(chan bool, 1)
	go func() {
		time.Sleep(5 * time.Second) // it loads for longer
		unready <- c.Ready() != nil
	}()
	server.Restart() // returns when it has loaded
	back := time.Now()
	t.check(back.Sub(start) > 5*time.Second, "loading took %v only", back.Sub(start))
	t.check(<-unready, "the consumer was ready while the server loaded")
	t.check(!c.isOver(), "the consumer ended: %v", c.err)
	l.some(t.ctx, 10)
	t.until("publishing and consuming go on", 10*time.Second, func() bool {
		return l.ackedSince(back) && len(c.journal.since(back)) > 0
	})
	t.recovered("resuming", time.Since(back), 3*time.Second)
	t.settled(server, group, 10*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	t.few(c)
	t.note("the server loaded for %.0f s", back.Sub(start).Seconds())
}
