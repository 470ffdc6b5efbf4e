package redisstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
)

// replicate starts a replica that is up to date.
func replicate(t *testing.T, master *redistest.Server) *redistest.Server {
	t.Helper()
	master.Do("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	host, port, _ := strings.Cut(master.Addr(), ":")
	replica := redistest.Start(t, "--replicaof", host+" "+port)
	eventually(t, "the replica is in sync", func() bool {
		return strings.Contains(master.Do("INFO", "replication").(string), "state=online")
	})
	return replica
}

func committer(t *testing.T, c *redisstream.Client, level redisstream.Level) *redisstream.Committer {
	t.Helper()
	m, err := redisstream.NewCommitter(t.Context(), c, level)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// calls returns how often a server has run a command.
func calls(server *redistest.Server, command string) int {
	for line := range strings.Lines(server.Do("INFO", "commandstats").(string)) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			text, _, _ := strings.Cut(rest, ",")
			n, _ := strconv.Atoi(text)
			return n
		}
	}
	return 0
}

func TestCommittedEntriesAreOnTheReplica(t *testing.T) {
	c, master := start(t)
	replica := replicate(t, master)
	m := committer(t, c, redisstream.Level{Replicas: 1})
	for n := range int64(20) {
		if _, err := m.Add(within(t, 5*time.Second), s1, someFields); err != nil {
			t.Fatal(err)
		}
		if got := replica.Do("XLEN", s1); got != n+1 {
			t.Fatalf("acknowledged %d, the replica has %v", n+1, got)
		}
	}
}

func TestConcurrentAddsShareAWait(t *testing.T) {
	c, master := start(t)
	replicate(t, master)
	m := committer(t, c, redisstream.Level{Replicas: 1})
	before := calls(master, "wait")
	batch := make([]redisstream.Addition, 2500)
	for i := range batch {
		batch[i] = redisstream.Addition{Stream: []string{s1, s2}[i%2], Fields: []events.Field{{Name: "n", Value: fmt.Sprint(i)}}}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		last := map[string]redisstream.AddResult{}
		for i, r := range m.AddBatch(within(t, 10*time.Second), batch) {
			stream := batch[i].Stream
			if r.Err != nil || r.ID.Compare(last[stream].ID) <= 0 {
				t.Errorf("result %d: id %s after %s, %v", i, r.ID, last[stream].ID, r.Err)
				return
			}
			last[stream] = r
		}
	})
	for range 100 {
		wg.Go(func() {
			if _, err := m.Add(within(t, 10*time.Second), s1, someFields); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := calls(master, "wait") - before; n < 2 || n > 100 {
		t.Errorf("%d waits for 2600 entries of two streams", n)
	}
}

func TestTooFewReplicasIsUnconfirmedBeforeTheDeadline(t *testing.T) {
	c, server := start(t)
	m := committer(t, c, redisstream.Level{Replicas: 2})
	replicate(t, server)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			_, err := m.Add(within(t, 2*time.Second), s1, someFields)
			var unconfirmed *redisstream.UnconfirmedError
			if !errors.As(err, &unconfirmed) || unconfirmed.Replicas != 1 || unconfirmed.Err != nil || redisstream.NotSent(err) {
				// A call that came while the first batch waited had no time left.
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := m.Add(within(t, 2*time.Second), s1, someFields); !errors.As(err, new(*redisstream.UnconfirmedError)) {
		t.Errorf("got %v", err)
	}
}

func TestRefusedIsFailedThoughTheWaitWorked(t *testing.T) {
	c, server := start(t)
	replicate(t, server)
	m := committer(t, c, redisstream.Level{Replicas: 1})
	server.Do("SET", "text", "x")
	results := m.AddBatch(within(t, 5*time.Second), []redisstream.Addition{{Stream: "text", Fields: someFields}, {Stream: s1, Fields: someFields}})
	if !redisstream.NotSent(results[0].Err) || redisstream.ClassOf(results[0].Err) != redisstream.WrongType || results[1].Err != nil {
		t.Errorf("got %+v", results)
	}
}

func TestRefusedForLackOfReplicasDoesNotWaitForThem(t *testing.T) {
	c, server := start(t)
	m := committer(t, c, redisstream.Level{Replicas: 1})
	server.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	began := time.Now()
	_, err := m.Add(within(t, 10*time.Second), s1, someFields)
	if took := time.Since(began); !redisstream.NotSent(err) || redisstream.ClassOf(err) != redisstream.NoReplicas || took > 5*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

// A refusal of the wait is not one of the entry.
func TestRefusedWaitIsUnconfirmed(t *testing.T) {
	c, server := start(t)
	m := committer(t, c, redisstream.Level{Replicas: 1})
	server.Do("ACL", "SETUSER", "default", "-wait")
	_, err := m.Add(within(t, time.Second), s1, someFields)
	if redisstream.NotSent(err) || redisstream.ClassOf(err) != redisstream.NoPerm {
		t.Errorf("not sent %t, class %s: %v", redisstream.NotSent(err), redisstream.ClassOf(err), err)
	}
	if _, err := redisstream.NewCommitter(t.Context(), c, redisstream.Level{Replicas: 1}); redisstream.ClassOf(err) != redisstream.NoPerm {
		t.Errorf("a committer that may not wait: %v", err)
	}
}

// An entry that was never taken out of the queue is known not to be there.
func TestEndedCallsAreAnsweredAtOnce(t *testing.T) {
	c, server := start(t)
	m := committer(t, c, redisstream.Level{Replicas: 1})
	var wg sync.WaitGroup
	wg.Go(func() { m.Add(within(t, 3*time.Second), s1, someFields) })
	eventually(t, "the first waits", func() bool { return server.Do("XLEN", s1) == int64(1) })
	began := time.Now()
	if _, err := m.Add(within(t, 50*time.Millisecond), s1, someFields); !redisstream.NotSent(err) || time.Since(began) > time.Second {
		t.Errorf("queued, after %v: not sent %t, %v", time.Since(began), redisstream.NotSent(err), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := m.Add(ctx, s2, someFields); !errors.Is(err, context.Canceled) || redisstream.NotSent(err) {
			t.Errorf("sent: not sent %t, %v", redisstream.NotSent(err), err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the cancelled call took %v", took)
		}
	})
	eventually(t, "the other waits", func() bool { return server.Do("XLEN", s2) == int64(1) })
	began = time.Now()
	cancel()
	wg.Wait()
	if n := server.Do("XLEN", s1); n != int64(1) {
		t.Errorf("XLEN = %v, but one call was told that it has no effect", n)
	}
}

func TestConnectionThatDiesWhileWaitingIsUnknown(t *testing.T) {
	server := redistest.Start(t)
	p := startProxy(t, server)
	c := open(t, p.url())
	m := committer(t, c, redisstream.Level{Replicas: 1})
	var wg sync.WaitGroup
	wg.Go(func() {
		began := time.Now()
		_, err := m.Add(within(t, 5*time.Second), s1, someFields)
		if err == nil || redisstream.NotSent(err) || time.Since(began) > 3*time.Second {
			t.Errorf("after %v: not sent %t, %v", time.Since(began), redisstream.NotSent(err), err)
		}
	})
	eventually(t, "it waits", func() bool { return server.Do("XLEN", s1) == int64(1) })
	p.disconnect()
	wg.Wait()
	replicate(t, server)
	if _, err := m.Add(within(t, 5*time.Second), s1, someFields); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCommitToAFrozenServerEndsInTime(t *testing.T) {
	t.Parallel()
	c, server := start(t)
	replicate(t, server)
	m := committer(t, c, redisstream.Level{Replicas: 1})
	server.Stop()
	defer server.Cont()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			began := time.Now()
			if _, err := m.Add(within(t, time.Second), s1, someFields); err == nil || time.Since(began) > 1500*time.Millisecond {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
	wg.Wait()
	server.Cont()
	eventually(t, "publishing again", func() bool {
		_, err := m.Add(within(t, time.Second), s1, someFields)
		return err == nil
	})
}

func TestCommitFollowsASlot(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL())
	m := committer(t, c, redisstream.Level{Replicas: 1})
	from, to := nodes[0], nodes[1]
	add(t, c, s1, 1)
	if from.Do("EXISTS", s1) != int64(1) {
		from, to = to, from
	}
	slot := strconv.FormatInt(from.Do("CLUSTER", "KEYSLOT", s1).(int64), 10)
	host, port, _ := strings.Cut(to.Addr(), ":")
	fromID, toID := from.Do("CLUSTER", "MYID").(string), to.Do("CLUSTER", "MYID").(string)
	// Without replicas all ends unconfirmed, and has to be where the slot is.
	publish := func(what string, want int64) {
		t.Helper()
		for _, r := range m.AddBatch(within(t, 1500*time.Millisecond), []redisstream.Addition{{Stream: s1, Fields: someFields}, {Stream: s1, Fields: someFields}}) {
			if unconfirmed := (*redisstream.UnconfirmedError)(nil); !errors.As(r.Err, &unconfirmed) || unconfirmed.Err != nil {
				t.Errorf("%s: %v", what, r.Err)
			}
		}
		if n := to.Do("XLEN", s1); want > 0 && n != want {
			t.Errorf("%s: XLEN %v, want %d", what, n, want)
		}
	}
	publish("before", 0)
	do := func(node *redistest.Server, command ...string) {
		t.Helper()
		if reply := node.Do(command...); reply != "OK" {
			t.Fatalf("%v: %v", command, reply)
		}
	}
	do(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	do(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	publish("while the key is still there", 0)
	do(from, "MIGRATE", host, port, s1, "0", "5000")
	// The key is asked for elsewhere; the target does not own the slot yet,
	// so it is counted when it does.
	publish("while the slot moves", 0)
	do(to, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	do(from, "CLUSTER", "SETSLOT", slot, "NODE", toID)
	if n := to.Do("XLEN", s1); n != int64(1+3*2) {
		t.Errorf("XLEN %v after three publishes of two", n)
	}
	publish("after", 1+4*2)
}

// diskServer answers WAITAOF, which redis-server before 7.2 does not know,
// and passes everything else to the server behind it.
func diskServer(t *testing.T, server *redistest.Server, answer *atomic.Value) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	relay := func(client net.Conn) {
		defer client.Close()
		upstream, err := net.Dial("tcp", server.Addr())
		if err != nil {
			return
		}
		wg.Go(func() { // replies, up to that of the ECHO which stands for a WAITAOF
			defer client.Close()
			buf := make([]byte, 1<<16)
			for {
				n, err := upstream.Read(buf)
				if err != nil {
					return
				}
				client.Write(bytes.ReplaceAll(buf[:n], []byte("$7\r\nWAITAOF\r\n"), []byte(answer.Load().(string))))
			}
		})
		defer upstream.Close()
		buf := make([]byte, 1<<16)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			command := string(buf[:n])
			if before, waitaof, found := strings.Cut(command, "*4\r\n$7\r\nWAITAOF\r\n"); found {
				parts := strings.SplitAfterN(waitaof, "\r\n", 7)
				command = before + "*2\r\n$4\r\nECHO\r\n$7\r\nWAITAOF\r\n" + parts[6]
			}
			if _, err := upstream.Write([]byte(command)); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { relay(client) })
		}
	})
	return "redis://" + l.Addr().String()
}

func TestDiskIsConfirmedByWhatTheServerAnswers(t *testing.T) {
	var answer atomic.Value
	answer.Store("*2\r\n:1\r\n:0\r\n")
	c := open(t, diskServer(t, redistest.Start(t), &answer))
	m := committer(t, c, redisstream.Level{Disk: true, Replicas: 1})
	t.Cleanup(c.Close) // before the proxy's end
	for _, tt := range []struct {
		reply string
		want  *redisstream.UnconfirmedError // nil: confirmed
	}{
		{"*2\r\n:1\r\n:1\r\n", nil},
		{"*2\r\n:1\r\n:2\r\n", nil},
		{"*2\r\n:1\r\n:0\r\n", &redisstream.UnconfirmedError{Disk: true}},
		{"*2\r\n:0\r\n:1\r\n", &redisstream.UnconfirmedError{Replicas: 1}},
	} {
		answer.Store(tt.reply)
		_, err := m.Add(within(t, 5*time.Second), s1, someFields)
		var got *redisstream.UnconfirmedError
		errors.As(err, &got)
		if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want || (err == nil) != (tt.want == nil) {
			t.Errorf("%q: %v", tt.reply, err)
		}
	}
	answer.Store("-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n")
	if _, err := m.Add(within(t, 5*time.Second), s1, someFields); err == nil || redisstream.NotSent(err) {
		t.Errorf("not sent %t: %v", redisstream.NotSent(err), err)
	}
	if _, err := redisstream.NewCommitter(t.Context(), c, redisstream.Level{Disk: true}); err == nil || !strings.Contains(err.Error(), "appendonly yes") {
		t.Errorf("without an append-only file: %v", err)
	}
}

func TestDiskIsRefusedWhereItCannotBeConfirmed(t *testing.T) {
	c, server := start(t, "--appendonly", "yes")
	if reply, ok := server.Do("WAITAOF", "0", "0", "1").(redistest.Error); !ok {
		t.Fatalf("the server has WAITAOF, which answers %v: this test needs one that has not", reply)
	}
	_, err := redisstream.NewCommitter(t.Context(), c, redisstream.Level{Disk: true})
	if err == nil || !strings.Contains(err.Error(), "WAITAOF") || !strings.Contains(err.Error(), "use replicas(n)") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCommitParallel(b *testing.B) {
	server := redistest.Start(b)
	host, port, _ := strings.Cut(server.Addr(), ":")
	server.Do("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	redistest.Start(b, "--replicaof", host+" "+port)
	c, err := redisstream.Open(b.Context(), redisstream.Config{URL: server.URL()})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	m, err := redisstream.NewCommitter(b.Context(), c, redisstream.Level{Replicas: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := m.Add(b.Context(), s1, someFields); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
