package faults

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/freshet/freshet"
)

// What comes in large numbers.
var scaleFaults = []fault{
	{"F35", "a dead consumer has a million entries", false, millionPending},
	{"F36", "ten thousand dead consumers", false, deadConsumers},
	{"F45", "one tenant publishes a hundred times as much as another", false, noisyTenant},
}

// millionPending has a freshet run take over what a dead consumer held.
func millionPending(t *trial) {
	server := t.redis()
	n := scaled(t, 1_000_000, 50_000)
	stream := loadStreams[0]
	const page = 5000
	for i := 0; i < n; i += page {
		t.do(server, "EVAL", `for i = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  local user = string.format('user-%d', i % 1000)
  redis.call('XADD', KEYS[1], '*', 'eventType', 'user_created', 'tenantId', 'acme', 'entityType', 'user', 'entityId', user, 'action', 'created',
    'timestamp', '2026-01-01T00:00:00.000Z', 'messageId', string.format('m-%d', i),
    'data', string.format('{"userId":"%s","email":"%s@example.com","createdAt":"2026-01-01T00:00:00.000Z"}', user, user))
end
return 1`, "1", stream, strconv.Itoa(i), strconv.Itoa(page))
	}
	t.do(server, "XGROUP", "CREATE", stream, "copy", "0")
	for range n / page {
		t.do(server, "EVAL", `redis.call('XREADGROUP', 'GROUP', 'copy', 'dead', 'COUNT', ARGV[1], 'STREAMS', KEYS[1], '>') return 1`, "1", stream, strconv.Itoa(page))
	}
	t.published = n
	t.pass(2 * time.Second)
	w := t.process(t.binary(), "run", "--redis", server.URL(), "--allow-no-persistence", "--group", "copy", "--streams", stream, "--replica", "sqlite://"+t.file("copy.db"),
		"--lease", "2s", "--handler-timeout", "1900ms")
	var delays []time.Duration
	start := time.Now()
	t.until("all is taken over and settled", 10*time.Minute, func() bool {
		asked := time.Now()
		_ = server.Do("PING")
		delays = append(delays, time.Since(asked))
		summary, ok := server.Do("XPENDING", stream, "copy").([]any)
		t.check(!w.ended(), "the process ended: %s", w.log.String())
		return ok && summary[0] == int64(0) || w.ended()
	})
	took := time.Since(start)
	t.recovered("taking over and writing", took, time.Duration(float64(n)/1_000_000*60*float64(time.Second)))
	memory := t.memory(w)
	t.signal(w, syscall.SIGTERM)
	t.until("the process ends", 30*time.Second, w.ended)
	p99 := percentile(delays, 99)
	t.check(p99 <= 20*time.Millisecond, "the 99th percentile of another client's calls is %v", p99)
	t.check(memory <= 200<<20, "the process had %d MiB", memory>>20)
	t.note("%d entries, %.0f a second; another client's calls: 99th percentile %v; memory of the process at most %d MiB",
		n, float64(n)/took.Seconds(), p99.Round(100*time.Microsecond), memory>>20)
}

// memory returns the most that a process has had.
func (t *trial) memory(w *worker) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	t.must(err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	t.must(err)
	return kib << 10
}

func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)*p/100]
}

// deadConsumers: those that hold nothing are removed, a hundred that hold
// something lose none of it, and one that is alive elsewhere stays.
func deadConsumers(t *trial) {
	server := t.redis()
	stream := loadStreams[0]
	l := t.load(server.URL())
	t.many(l, 1000)
	t.do(server, "XGROUP", "CREATE", stream, group, "0")
	t.do(server, "EVAL", `for i = 1, 10000 do redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], 'dead-' .. i) end return 1`, "1", stream, group)
	for i := range 100 {
		t.do(server, "XREADGROUP", "GROUP", group, fmt.Sprintf("dead-%d", i+1), "COUNT", "1", "STREAMS", stream, ">")
	}
	held := t.do(server, "XREADGROUP", "GROUP", group, "alive", "COUNT", "1", "STREAMS", stream, ">").([]any)
	id := held[0].([]any)[1].([]any)[0].([]any)[0].(string)
	cfg := freshet.ConsumerConfig{Group: group, Lease: time.Second, HandlerTimeout: 500 * time.Millisecond}
	c := t.consume(server.URL(), cfg, nil)
	start := time.Now()
	t.until("the dead consumers are removed", 90*time.Second, func() bool {
		t.pass(100 * time.Millisecond)
		t.do(server, "XCLAIM", stream, group, "alive", "0", id, "JUSTID") // a consumer that renews its lease
		return len(t.do(server, "XINFO", "CONSUMERS", stream, group).([]any)) <= 2
	})
	t.recovered("removing", time.Since(start), 75*time.Second)
	holders := owners(server, stream, group)
	t.check(len(holders) == 1 && holders[id] == "alive", "pending are %v", holders)
	t.do(server, "XACK", stream, group, id)
	t.settled(server, group, 20*time.Second)
	c.stop()
	s := t.standing(server, group)
	t.account(server, group, l, &c.journal)
	t.lossIs(1, "settled by hand for the consumer that is alive")
	t.check(len(s.stored) == 1000, "%d events are stored", len(s.stored))
}

// noisyTenant compares how long the events of one tenant take from the server
// to their effect, alone and beside a tenant that is noisy.
func noisyTenant(t *trial) {
	server := t.redis()
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, func(context.Context, *freshet.Delivery) error {
		time.Sleep(time.Millisecond)
		return nil
	})
	quiet := t.load(server.URL())
	quiet.tenants = []string{"quiet"}
	period := scaled(t, 20*time.Second, 5*time.Second)
	measure := func() time.Duration {
		stop := t.start(quiet, 10)
		begin := time.Now()
		t.pass(period)
		stop()
		t.settled(server, group, 10*time.Second)
		var delays []time.Duration
		for _, r := range c.journal.since(begin) {
			if strings.HasPrefix(r.Entity, "quiet/") {
				ms, _ := splitID(r.Entry)
				delays = append(delays, r.At.Sub(time.UnixMilli(int64(ms))))
			}
		}
		return percentile(delays, 99)
	}
	t.many(quiet, 10)
	t.steady(&c.journal, 10)
	alone := measure()
	noisy := t.load(server.URL())
	noisy.tenants = []string{"noisy"}
	stop := t.start(noisy, 1000)
	beside := measure()
	stop()
	t.settled(server, group, 20*time.Second)
	c.stop()
	quiet.join(noisy)
	t.noneLost(server, group, quiet, &c.journal)
	// Ids are whole milliseconds: less than ten cannot be told apart from noise.
	t.check(beside <= 3*max(alone, 10*time.Millisecond), "the 99th percentile of the quiet tenant is %v, %v alone", beside, alone)
	t.note("99th percentile of the quiet tenant: %v alone, %v beside the noisy one",
		alone.Round(100*time.Microsecond), beside.Round(100*time.Microsecond))
}
