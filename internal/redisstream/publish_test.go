package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

var someFields = []events.Field{{Name: "n", Value: "1"}}

func TestAddKeepsFieldsByteForByte(t *testing.T) {
	c, _ := start(t)
	fields := []events.Field{{Name: "b", Value: "1"}, {Name: "a", Value: ""}, {Name: "b", Value: "\x00\xff\r\n"}, {Name: "", Value: "é"}}
	id, err := c.Add(t.Context(), s1, fields)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Range(t.Context(), s1, wire.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].ID != id || got[0].Stream != s1 || !slices.Equal(got[0].Fields.List(), fields) {
		t.Errorf("got %+v, want %v with id %s", got, fields, id)
	}
}

func TestAddBatchAnswersForEachAndKeepsOrder(t *testing.T) {
	c, server := start(t)
	server.Do("SET", "text", "x")
	batch := make([]redisstream.Addition, 2500)
	for i := range batch {
		batch[i] = redisstream.Addition{Stream: s1, Fields: []events.Field{{Name: "n", Value: fmt.Sprint(i)}}}
	}
	batch[1200].Stream = "text"
	results := c.AddBatch(t.Context(), batch)
	if len(results) != len(batch) {
		t.Fatalf("%d results, want %d", len(results), len(batch))
	}
	var last wire.ID
	for i, r := range results {
		if i == 1200 {
			if redisstream.ClassOf(r.Err) != redisstream.WrongType || !redisstream.NotSent(r.Err) {
				t.Errorf("on a key that is no stream: %v", r.Err)
			}
			continue
		}
		if r.Err != nil || r.ID.Compare(last) <= 0 {
			t.Fatalf("result %d: id %s after %s, %v", i, r.ID, last, r.Err)
		}
		last = r.ID
	}
	if n := server.Do("XLEN", s1); n != int64(2499) {
		t.Errorf("XLEN = %v", n)
	}
}

// Of a batch of many bytes, what lies behind the pipeline that ended early was
// not sent.
func TestAddBatchBoundsTheBytesOfAPipeline(t *testing.T) {
	c, server := start(t)
	batch := make([]redisstream.Addition, 5)
	for i := range batch {
		batch[i] = redisstream.Addition{Stream: s1, Fields: []events.Field{{Name: "n", Value: strings.Repeat("x", 600<<10)}}}
	}
	for i, r := range c.AddBatch(t.Context(), batch) {
		if r.Err != nil {
			t.Fatalf("result %d: %v", i, r.Err)
		}
	}
	server.Stop()
	defer server.Cont()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for i, r := range c.AddBatch(ctx, batch) {
		if r.Err == nil || redisstream.NotSent(r.Err) != (i >= 3) {
			t.Errorf("result %d: %v", i, r.Err)
		}
	}
	server.Cont()
	if n := server.Do("XLEN", s1).(int64); n < 5 || n > 8 {
		t.Errorf("%d entries", n)
	}
}

func TestFailedAddsAreClassed(t *testing.T) {
	c, server := start(t)
	for _, tc := range []struct {
		name  string
		set   []string
		unset []string
		want  redisstream.Class
	}{
		{"out of memory", []string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}, redisstream.OutOfMemory},
		{"no replicas", []string{"CONFIG", "SET", "min-replicas-to-write", "1"}, []string{"CONFIG", "SET", "min-replicas-to-write", "0"}, redisstream.NoReplicas},
		{"not permitted", []string{"ACL", "SETUSER", "default", "-xadd"}, []string{"ACL", "SETUSER", "default", "+xadd"}, redisstream.NoPerm},
		{"replica", []string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}, redisstream.Unreachable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server.Do(tc.set...)
			_, err := c.Add(t.Context(), s1, someFields)
			server.Do(tc.unset...)
			if redisstream.ClassOf(err) != tc.want || !redisstream.NotSent(err) {
				t.Errorf("class %s, not sent %t: %v", redisstream.ClassOf(err), redisstream.NotSent(err), err)
			}
			if _, err := c.Add(t.Context(), s1, someFields); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestAddToADeadServerWasNotSent(t *testing.T) {
	c, server := start(t)
	server.Kill()
	eventually(t, "an Add that knows it was not sent", func() bool {
		_, err := c.Add(t.Context(), s1, someFields)
		if err == nil || redisstream.ClassOf(err) != redisstream.Unreachable {
			t.Fatalf("class %s: %v", redisstream.ClassOf(err), err)
		}
		return redisstream.NotSent(err)
	})
	server.Restart()
	if _, err := c.Add(t.Context(), s1, someFields); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestAddAfterTheDeadlineWasNotSent(t *testing.T) {
	c, _ := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Add(ctx, s1, someFields); !errors.Is(err, context.Canceled) || !redisstream.NotSent(err) {
		t.Errorf("not sent %t: %v", redisstream.NotSent(err), err)
	}
}

// A frozen server accepts connections and bytes, and answers nothing. What was
// not sent to it for that is known not to be there.
func TestAddToAFrozenServerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, server := start(t)
	server.Stop()
	defer server.Cont()
	var unknown atomic.Int64
	var wg sync.WaitGroup
	for range 3 { // of each: the connection is given up and made again meanwhile
		for range 50 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				began := time.Now()
				_, err := c.Add(ctx, s1, someFields)
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("took %v", took)
				}
				if err == nil {
					t.Error("added")
				}
				if !redisstream.NotSent(err) {
					unknown.Add(1)
				}
			})
		}
		wg.Wait()
	}
	server.Cont()
	if unknown.Load() == 0 {
		t.Error("nothing was sent")
	}
	eventually(t, "publishing again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Add(ctx, s1, someFields)
		return err == nil
	})
	if n := server.Do("XLEN", s1).(int64); n > unknown.Load()+1 {
		t.Errorf("XLEN %d, with %d unknown", n, unknown.Load())
	}
}

func BenchmarkAdd(b *testing.B) {
	c := benchmarkClient(b)
	for b.Loop() {
		if _, err := c.Add(b.Context(), s1, someFields); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddParallel(b *testing.B) {
	c := benchmarkClient(b)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Add(b.Context(), s1, someFields); err != nil {
				b.Fatal(err)
			}
		}
	})
}
