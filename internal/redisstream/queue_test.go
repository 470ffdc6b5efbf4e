package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// adder is what both Client and Committer are.
type adder interface {
	Add(ctx context.Context, stream string, fields []events.Field) (wire.ID, error)
}

// Whatever ends a call, what it was told is true: an id is that of its own
// entry, what was not sent is not there, and nothing is there twice.
func TestEachCallerGetsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	c, server := start(t)
	t.Run("client", func(t *testing.T) { answers(t, c, server, c, "client:") })
	replicate(t, server)
	t.Run("committer", func(t *testing.T) {
		answers(t, c, server, committer(t, c, redisstream.Level{Replicas: 1}), "committer:")
	})
}

func answers(t *testing.T, c *redisstream.Client, server *redistest.Server, to adder, prefix string) {
	streams := []string{prefix + "a", prefix + "b", prefix + "text"}
	server.Do("SET", streams[2], "no stream")
	type answer struct {
		stream string
		id     wire.ID
		err    error
	}
	var mu sync.Mutex
	told := map[string]answer{}
	var wg sync.WaitGroup
	for g := range 40 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 0))
			for i := range 100 {
				value := fmt.Sprintf("%d-%d", g, i)
				ctx, cancel := context.WithCancel(t.Context())
				switch random.IntN(4) {
				case 0:
					cancel()
				case 1:
					ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(3000))*time.Microsecond)
				case 2:
					time.AfterFunc(time.Duration(random.IntN(1000))*time.Microsecond, cancel)
				}
				stream := streams[random.IntN(len(streams))]
				id, err := to.Add(ctx, stream, []events.Field{{Name: "value", Value: value}})
				cancel()
				mu.Lock()
				told[value] = answer{stream, id, err}
				mu.Unlock()
			}
		})
	}
	for range 5 {
		time.Sleep(10 * time.Millisecond)
		server.Stop() // so that there is something to end for
		time.Sleep(20 * time.Millisecond)
		server.Cont()
	}
	wg.Wait()
	stored := map[string]answer{}
	// What nobody waits for any more may still arrive.
	eventually(t, "nothing is on its way", func() bool {
		_, err := to.Add(t.Context(), prefix+"last", someFields)
		return err == nil
	})
	for _, stream := range streams[:2] {
		entries, err := c.Range(t.Context(), stream, wire.ID{}, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			value := e.Fields.List()[0].Value
			if _, twice := stored[value]; twice {
				t.Errorf("%s is there twice", value)
			}
			stored[value] = answer{stream: stream, id: e.ID}
		}
	}
	counts := map[string]int{}
	for value, a := range told {
		got, there := stored[value]
		switch {
		case a.err == nil:
			counts["added"]++
			if !there || got.id != a.id || got.stream != a.stream {
				t.Errorf("%s: told %s on %s, is %s on %s", value, a.id, a.stream, got.id, got.stream)
			}
		case redisstream.NotSent(a.err):
			counts["not sent"]++
			if there {
				t.Errorf("%s is there, and was told not to be: %v", value, a.err)
			}
		default:
			counts["unknown"]++
			if !errors.Is(a.err, context.Canceled) && !errors.Is(a.err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", value, a.err)
			}
		}
	}
	t.Log(counts)
	if counts["added"] == 0 || counts["not sent"] == 0 || counts["unknown"] == 0 {
		t.Errorf("the test shows little: %v", counts)
	}
}

// What a hanging server was sent is unknown, what still waits for its turn is
// not.
func TestAddsThatWaitForAHangingServer(t *testing.T) {
	t.Parallel()
	c, server := start(t)
	server.Stop()
	defer server.Cont()
	var mu sync.Mutex
	var wg sync.WaitGroup
	unknown, notSent := 0, 0
	for range 50 {
		wg.Go(func() {
			began := time.Now()
			_, err := c.Add(within(t, 500*time.Millisecond), s1, someFields)
			if took := time.Since(began); took > time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", took, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if redisstream.NotSent(err) {
				notSent++
			} else {
				unknown++
			}
		})
	}
	wg.Wait()
	t.Logf("%d unknown, %d not sent", unknown, notSent)
	if unknown == 0 {
		t.Error("nothing was sent")
	}
	// Another may answer in the server's place by now: that is tried.
	if _, err := c.Add(within(t, 100*time.Millisecond), s1, someFields); redisstream.NotSent(err) {
		t.Errorf("not tried: %v", err)
	}
	unknown++
	server.Cont()
	eventually(t, "adding again", func() bool {
		_, err := c.Add(within(t, time.Second), s1, someFields)
		return err == nil
	})
	if n := server.Do("XLEN", s1).(int64); n > int64(unknown)+1 {
		t.Errorf("XLEN %d, with %d unknown", n, unknown)
	}
}

// The library would wait for the connection that another call makes.
func TestAddsEndWhileAConnectionIsMade(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redistest.Start(t))
	c := open(t, p.url())
	p.mute.Store(true)
	p.disconnect()
	for range 3 {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				began := time.Now()
				if _, err := c.Add(within(t, 200*time.Millisecond), s1, someFields); err == nil || time.Since(began) > 700*time.Millisecond {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			})
		}
		wg.Wait()
	}
	p.mute.Store(false)
	eventually(t, "adding again", func() bool {
		_, err := c.Add(within(t, time.Second), s1, someFields)
		return err == nil
	})
}

func TestAddWithoutADeadlineEnds(t *testing.T) {
	t.Parallel()
	c, server := start(t)
	server.Stop()
	defer server.Cont()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			began := time.Now()
			if _, err := c.Add(t.Context(), s1, someFields); err == nil || time.Since(began) > 6*time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
	wg.Wait()
}

func TestAddAfterClose(t *testing.T) {
	c, _ := start(t)
	add(t, c, s1, 1)
	if _, err := c.Add(t.Context(), s1, someFields); err != nil {
		t.Fatal(err)
	}
	c.Close()
	for range 10 {
		if _, err := c.Add(within(t, 3*time.Second), s1, someFields); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
}

func TestNodeThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL())
	streams := [2]string{}
	for i := 0; streams[0] == "" || streams[1] == ""; i++ {
		name := fmt.Sprint("s", i)
		add(t, c, name, 1)
		for n, node := range nodes {
			if node.Do("EXISTS", name) == int64(1) {
				streams[n] = name
			}
		}
	}
	nodes[1].Stop()
	defer nodes[1].Cont()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := c.Add(within(t, time.Second), streams[1], someFields); err == nil {
				t.Error("added to a node that hangs")
			}
		})
		wg.Go(func() {
			if _, err := c.Add(within(t, time.Second), streams[0], someFields); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
