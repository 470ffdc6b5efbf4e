package faults

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redistest"
)

// What a failover takes along when replication is behind.
var durabilityFaults = []fault{
	{"F28", "failover, replication 100 ms behind", true, func(t *trial) {
		lost := t.failovers(freshet.Memory, scaled(t, 10, 3))
		t.note("%d of the %d acknowledged events were not replicated in time; %d of them had not been handled before", lost, t.published, t.lost)
		t.check(t.lost <= lost, "%d events are lost, of which the failovers took %d", t.lost, lost)
		t.lost = 0 // which this level does not promise otherwise
	}},
	{"F29", "the same, acknowledged once a replica has it", true, func(t *trial) {
		lost := t.failovers(freshet.Replicas(1), scaled(t, 20, 3))
		t.check(lost == 0 && t.lost == 0, "%d acknowledged events are not on the replica that was promoted, %d are lost", lost, t.lost)
	}},
}

const (
	behind     = 100 * time.Millisecond // the replica
	failedRate = 500                    // events a second
)

// failovers kills the master and promotes its replica, which is behind, again
// and again. It returns how many acknowledged events the new masters did not
// have; those without an effect are the trial's lost.
func (t *trial) failovers(durability freshet.Durability, rounds int) (notReplicated int) {
	master, replica := t.redis("--repl-diskless-sync-delay", "0"), t.redis("--repl-diskless-sync-delay", "0")
	front, line := t.relay(master.Addr()), t.relay(master.Addr())
	t.follow(replica, master, line)

	t.durability = durability
	l := t.load(front.url())
	l.timeout = 2 * time.Second
	table := t.file("effects.db")
	db, err := openTable(t.ctx, table)
	t.must(err)
	t.atEnd(func() { db.Close() })
	c := t.consume(front.url(), freshet.ConsumerConfig{Group: group}, func(ctx context.Context, d *freshet.Delivery) error {
		return once(ctx, db, d)
	})
	stop := t.start(l, failedRate)
	t.steady(&c.journal, 50)

	lost := map[string]bool{}
	for range rounds {
		t.pass(t.between(300*time.Millisecond, 700*time.Millisecond))
		master.Kill()
		killed := time.Now()
		line.cut() // what is on the line is gone with it
		master, replica = replica, master
		t.do(master, "REPLICAOF", "NO", "ONE")
		t.pass(20 * time.Millisecond) // until the calls that were answered have returned
		before := len(lost)
		lag := line.worst() + 50*time.Millisecond
		for id, at := range l.ackedBut(t.storedEvents(master)) {
			if !lost[id] {
				lost[id] = true
				t.check(killed.Sub(at) <= lag, "an event was lost that was acknowledged %v before the master died", killed.Sub(at))
			}
		}
		t.check(float64(len(lost)-before) <= failedRate*lag.Seconds(), "%d events are lost by one failover at %d events a second and a lag of %v", len(lost)-before, failedRate, lag)
		front.to(master.Addr())
		replica.Restart()
		t.follow(replica, master, line)
		t.goesOn(l, c, 5*time.Second)
	}
	stop()
	t.settled(master, group, 20*time.Second)
	c.stop()
	s := t.account(master, group, l, &c.journal)
	for id := range s.stored {
		_, acked := l.acked[id]
		t.check(acked || l.unknown[id], "event %s is on its stream and was neither acknowledged nor unknown (reported as failed: %t)", id, l.failed[id])
	}
	t.onceEach(table, &c.journal)
	t.note("%d failovers; %d publishes unknown, %d failed; %d effects repeated outside the inbox, 0 in it", rounds, len(l.unknown), len(l.failed), t.twice)
	return len(lost)
}

// follow makes a server the replica of another, over a line that is slow from
// then on.
func (t *trial) follow(replica, master *redistest.Server, line *relay) {
	line.slow(0)
	line.to(master.Addr())
	host, port, err := net.SplitHostPort(line.listener.Addr().String())
	t.must(err)
	t.do(replica, "REPLICAOF", host, port)
	mark := fmt.Sprint(time.Now().UnixNano())
	t.do(master, "SET", "mark", mark)
	t.until("the replica is in sync", 20*time.Second, func() bool {
		role, ok := replica.Do("ROLE").([]any)
		return ok && len(role) == 5 && role[3] == "connected" && replica.Do("GET", "mark") == mark
	})
	// What comes after the copy is sent only after the replica's first word.
	t.do(master, "SET", "mark", "moved")
	t.until("the replica follows", 20*time.Second, func() bool { return replica.Do("GET", "mark") == "moved" })
	line.slow(behind)
}

// storedEvents returns the events that the streams of load have.
func (t *trial) storedEvents(server server) map[string]bool {
	stored := map[string]bool{}
	for _, stream := range loadStreams {
		for _, e := range entries(server, stream) {
			stored[e.event] = true
		}
	}
	return stored
}

// ackedBut returns the acknowledged events that are not among the stored
// ones, and when they were acknowledged.
func (l *load) ackedBut(stored map[string]bool) map[string]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	acked := maps.Clone(l.acked)
	maps.DeleteFunc(acked, func(id string, _ time.Time) bool { return stored[id] })
	return acked
}

// relay passes bytes on to a server, whatever they are, and takes its time
// with those that come back.
type relay struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	target  string
	delay   time.Duration
	longest time.Duration // that something took
	conns   map[net.Conn]bool
}

// relay starts a relay to the server at addr.
func (t *trial) relay(addr string) *relay {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	t.must(err)
	r := &relay{listener: listener, target: addr, conns: map[net.Conn]bool{}}
	r.wg.Go(func() {
		for {
			down, err := listener.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(down) })
		}
	})
	t.atEnd(func() {
		listener.Close()
		r.cut()
		r.wg.Wait()
	})
	return r
}

func (r *relay) url() string { return "redis://" + r.listener.Addr().String() }

// to sends clients to another server, and those that are connected away.
func (r *relay) to(addr string) {
	r.mu.Lock()
	r.target = addr
	r.mu.Unlock()
	r.cut()
}

// slow delays what comes from now on.
func (r *relay) slow(delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay, r.longest = delay, 0
}

// worst returns the longest that anything took since slow.
func (r *relay) worst() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.delay, r.longest)
}

// cut closes all connections. What was on its way does not arrive.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}

func (r *relay) serve(down net.Conn) {
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	up, err := net.Dial("tcp", target)
	if err != nil {
		down.Close()
		return
	}
	r.mu.Lock()
	r.conns[down], r.conns[up] = true, true
	moved := target != r.target
	r.mu.Unlock()
	if moved {
		r.cut()
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.pump(up, down, false) })
	wg.Go(func() { r.pump(down, up, true) })
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, down)
	delete(r.conns, up)
}

// pump copies from one connection to the other until one of them ends.
func (r *relay) pump(to, from net.Conn, slow bool) {
	type piece struct {
		bytes   []byte
		arrived time.Time
	}
	queue := make(chan piece, 4096)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer to.Close()
		for p := range queue {
			r.mu.Lock()
			delay := r.delay
			r.mu.Unlock()
			if slow && delay > 0 {
				time.Sleep(time.Until(p.arrived.Add(delay)))
			}
			if _, err := to.Write(p.bytes); err != nil {
				from.Close()
			}
			r.mu.Lock()
			if slow {
				r.longest = max(r.longest, time.Since(p.arrived))
			}
			r.mu.Unlock()
		}
	})
	defer wg.Wait()
	defer close(queue)
	for {
		buf := make([]byte, 1<<14)
		n, err := from.Read(buf)
		if n > 0 {
			queue <- piece{buf[:n], time.Now()}
		}
		if err != nil {
			return
		}
	}
}
