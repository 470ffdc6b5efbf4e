package redisstream_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
)

// line is a way to the server on which to has the bytes of the nth connection
// go there.
func line(t *testing.T, server *redistest.Server, to func(n int, server io.Writer, client io.Reader)) *redisstream.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 1; ; n++ {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server.Addr())
			if err != nil {
				down.Close()
				continue
			}
			go func() {
				io.Copy(down, up)
				down.Close()
			}()
			go func() {
				to(n, up, down)
				up.Close()
			}()
		}
	}()
	c, err := redisstream.Open(t.Context(), redisstream.Config{URL: "redis://" + l.Addr().String(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// What was given up while a connection was being made is not sent when it is
// there: it would come behind what was added since.
func TestAddsThatWereGivenUpAreNotSentLate(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := line(t, server, func(n int, server io.Writer, client io.Reader) {
		if n == 2 {
			time.Sleep(1500 * time.Millisecond)
		}
		io.Copy(server, client)
	})
	for i := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		c.Add(ctx, s1, []events.Field{{Name: "n", Value: strconv.Itoa(i)}}) // in order, whatever becomes of it
		cancel()
	}
	time.Sleep(2 * time.Second) // until all connections are there, and all that was ever to be sent
	last := -1
	entries, _ := server.Do("XRANGE", s1, "-", "+").([]any)
	for _, e := range entries {
		n, _ := strconv.Atoi(e.([]any)[1].([]any)[1].(string))
		if n < last {
			t.Errorf("%d stands behind %d", n, last)
		}
		last = max(last, n)
	}
	if len(entries) < 20 {
		t.Errorf("%d entries", len(entries))
	}
}

// Large entries that many add at once do not make so long a pipeline that the
// connection counts as dead before its end.
func TestLargeAddsOnASlowLine(t *testing.T) {
	t.Parallel()
	const rate, size, adds = 4 << 20, 100 << 10, 200 // bytes a second, bytes: five seconds
	server := redistest.Start(t)
	var mu sync.Mutex
	next := time.Now() // the line is shared by the connections
	c := line(t, server, func(_ int, server io.Writer, client io.Reader) {
		client.(*net.TCPConn).SetReadBuffer(64 << 10)
		for buf := make([]byte, 16<<10); ; {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			mu.Lock()
			if now := time.Now(); next.Before(now) {
				next = now
			}
			next = next.Add(time.Duration(n) * time.Second / rate)
			at := next
			mu.Unlock()
			time.Sleep(time.Until(at))
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	fields := []events.Field{{Name: "a", Value: strings.Repeat("x", size)}}
	var wg sync.WaitGroup
	for range adds {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := c.Add(ctx, s1, fields); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := server.Do("XLEN", s1); n != int64(adds) {
		t.Errorf("%v entries of %d", n, adds)
	}
}
