package faults

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redistest"
)

// What happens to a cluster of three masters with a replica each.
var clusterFaults = []fault{
	{"F31", "a master of a cluster is killed", false, func(t *trial) {
		shardLost(t, 2*nodeTimeout+3*time.Second, (*redistest.Server).Kill, (*redistest.Server).Restart)
	}},
	{"F32", "a master of a cluster is frozen", false, func(t *trial) {
		shardLost(t, 6*time.Second, (*redistest.Server).Stop, (*redistest.Server).Cont)
	}},
	{"F33", "slots are moved under load", false, resharded},
}

// nodeTimeout is how long a node is silent before it is taken for dead.
const nodeTimeout = 2 * time.Second

// closeTogether is of how many users the load of a cluster is. A read of both
// streams is a command to each shard, and may take some time: that the order
// holds shows where an entity's events come within it.
const closeTogether = 2

// shardLost harms the master of the one stream and not that of the other. A
// consumer of both waits for the one that has failed, because it keeps the
// order over both; one that reads the other alone must not notice.
func shardLost(t *trial, atMost time.Duration, harm, mend func(*redistest.Server)) {
	c := t.cluster()
	broken, whole := loadStreams[0], loadStreams[1]
	l := t.load(c.url)
	l.timeout, l.entities = time.Second, closeTogether
	both := t.consume(c.url, freshet.ConsumerConfig{Group: group}, nil)
	apart := t.consume(c.url, freshet.ConsumerConfig{Group: "apart", Streams: []string{whole}}, nil)
	stop := t.start(l, 200)
	t.steady(&both.journal, 50)
	var promoted, slowest, longest time.Duration
	rounds := scaled(t, 3, 1)
	for range rounds {
		t.pass(2 * time.Second)
		victim := c.master(broken)
		t.check(victim != c.master(whole), "both streams are on one master: the trial shows nothing")
		struck := time.Now()
		harm(victim)
		c.away = victim
		took := t.until("the shard has a master", 40*time.Second, func() bool { return c.master(broken) != nil })
		promoted = max(promoted, took)
		t.until("the shard's events are handled again", 40*time.Second, func() bool {
			return slices.ContainsFunc(both.journal.since(struck.Add(time.Second)), func(r record) bool { return r.Stream == broken })
		})
		t.pass(time.Second)
		published, handled := gaps(both, broken, struck)
		t.recovered("the shard's gap in publishing", published, atMost)
		t.recovered("the shard's gap in consuming", handled, atMost)
		slowest = max(slowest, handled)
		_, apart := gaps(apart, whole, struck)
		longest = max(longest, apart)
		for _, err := range l.takeErrors() {
			t.check(!strings.HasPrefix(err.Error(), whole), "a publish to the other shard: %v", err)
		}
		mend(victim)
		c.away = nil
		t.whole(c)
	}
	stop()
	t.settled(c, group, 60*time.Second)
	both.stop()
	apart.stop()
	t.account(c, group, l, &both.journal)
	t.inOrder(&both.journal)
	t.unreplicated(200, rounds)
	t.check(both.Stats().LostUnread == 0, "%d entries counted as trimmed, none were", both.Stats().LostUnread)
	t.check(longest <= time.Second, "a consumer of the other shard waited for %v", longest)
	t.note("the cluster took %v at most to promote a replica, consuming the shard waited for %v, a consumer of the other shard for %v",
		promoted.Round(time.Millisecond), slowest.Round(time.Millisecond), longest.Round(time.Millisecond))
}

// gaps returns the longest times, since a moment, between two entries of a
// stream, and between two of their effects.
func gaps(c *consumer, stream string, since time.Time) (published, handled time.Duration) {
	added, done := []time.Time{since, time.Now()}, []time.Time{since, time.Now()}
	for _, r := range c.journal.since(since) {
		if r.Stream == stream {
			ms, _ := splitID(r.Entry)
			added, done = append(added, time.UnixMilli(int64(ms))), append(done, r.At)
		}
	}
	return longestGap(added), longestGap(done)
}

// resharded moves all slots of the one stream's master to another and back.
func resharded(t *trial) {
	c := t.cluster()
	l := t.load(c.url)
	l.entities = closeTogether
	consumer := t.consume(c.url, freshet.ConsumerConfig{Group: group}, nil)
	stop := t.start(l, 200)
	t.steady(&consumer.journal, 50)
	from := c.master(loadStreams[0])
	to := c.master(loadStreams[1])
	before := len(consumer.log.warnings())
	moves := scaled(t, 4, 1)
	for range moves {
		t.move(from, to, 4000)
		from, to = to, from
	}
	stop()
	t.settled(c, group, 30*time.Second)
	consumer.stop()
	t.noneLost(c, group, l, &consumer.journal)
	t.inOrder(&consumer.journal)
	t.check(t.twice == 0, "%d effects were repeated", t.twice)
	t.note("4000 slots moved %d times", moves)
	for _, line := range consumer.log.warnings()[before:] {
		t.check(!strings.Contains(line, "created again"), "a move was taken for a loss: %s", line)
	}
}

func (t *trial) move(from, to *redistest.Server, slots int) {
	t.until("the nodes agree", 30*time.Second, func() bool {
		return exec.CommandContext(t.ctx, "redis-cli", "--cluster", "check", from.Addr()).Run() == nil
	})
	out, err := exec.CommandContext(t.ctx, "redis-cli", "--cluster", "reshard", from.Addr(), "--cluster-from", id(from), "--cluster-to", id(to),
		"--cluster-slots", strconv.Itoa(slots), "--cluster-yes").CombinedOutput()
	if err != nil {
		t.must(fmt.Errorf("reshard: %w: %s", err, out[max(0, len(out)-1000):]))
	}
}

func id(node *redistest.Server) string { return node.Do("CLUSTER", "MYID").(string) }

// cluster is three masters, a replica of each, and who of them answers.
type cluster struct {
	url   string
	nodes []*redistest.Server
	away  *redistest.Server // is not asked
}

func (t *trial) cluster() *cluster {
	c := &cluster{}
	ports := map[*redistest.Server]string{}
	var addrs []string
	for range 6 {
		port, err := redistest.FreePort()
		t.must(err)
		node := t.redis("--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(port), "--repl-diskless-sync-delay", "0",
			"--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10), "--cluster-require-full-coverage", "no")
		c.nodes = append(c.nodes, node)
		ports[node] = strconv.Itoa(port)
		addrs = append(addrs, node.Addr())
	}
	c.url = "redis://" + strings.Join(addrs, ",")
	for i, slots := range [][2]string{{"0", "5460"}, {"5461", "10922"}, {"10923", "16383"}} {
		t.do(c.nodes[i], "CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1])
		t.do(c.nodes[i], "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
	}
	for _, node := range c.nodes[1:] {
		host, port, _ := strings.Cut(node.Addr(), ":")
		t.do(c.nodes[0], "CLUSTER", "MEET", host, port, ports[node])
	}
	for i, node := range c.nodes[3:] {
		t.until("a replica has its master", 20*time.Second, func() bool {
			return node.Do("CLUSTER", "REPLICATE", id(c.nodes[i])) == "OK"
		})
	}
	t.whole(c)
	return c
}

// whole waits until all slots are served and all six nodes are well.
func (t *trial) whole(c *cluster) {
	t.until("the cluster is whole", 60*time.Second, func() bool {
		for _, node := range c.nodes {
			reply, err := redistest.Call(node.Addr(), "CLUSTER", "INFO")
			text, _ := reply.(string)
			if err != nil || !strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_slots_ok:16384") ||
				!strings.Contains(text, "cluster_known_nodes:6") {
				return false
			}
			list, err := redistest.Call(node.Addr(), "CLUSTER", "NODES")
			text, _ = list.(string)
			if err != nil || strings.Count(text, "slave") != 3 || strings.Contains(text, "fail") {
				return false
			}
			role, _ := node.Do("ROLE").([]any)
			if role[0] == "slave" && role[3] != "connected" {
				return false
			}
		}
		return true
	})
}

// master returns the node that serves a key, nil when none does now.
func (c *cluster) master(key string) *redistest.Server {
	for _, node := range c.nodes {
		if reply, err := c.ask(node, "EXISTS", key); err == nil && reply != nil {
			return node
		}
	}
	return nil
}

// Do asks the node that serves the command's key.
func (c *cluster) Do(args ...string) any {
	var last error
	for range 100 {
		for _, node := range c.nodes {
			reply, err := c.ask(node, args...)
			if err == nil {
				return reply
			}
			last = err
		}
		time.Sleep(50 * time.Millisecond)
	}
	panic(last)
}

var errElsewhere = errors.New("another node serves the key")

func (c *cluster) ask(node *redistest.Server, args ...string) (any, error) {
	if node == c.away {
		return nil, errElsewhere
	}
	reply, err := redistest.Call(node.Addr(), args...)
	if failure, failed := reply.(redistest.Error); failed {
		switch word, _, _ := strings.Cut(string(failure), " "); word {
		case "MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN":
			return nil, errElsewhere
		}
	}
	return reply, err
}
