package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// proxy stands between client and server.
type proxy struct {
	listener net.Listener
	cut      atomic.Value // string: the reply to this command is swallowed, and its connection closed
	mute     atomic.Bool  // all replies are swallowed, and the connections stay open

	wg    sync.WaitGroup
	mu    sync.Mutex
	conns []net.Conn
}

func startProxy(t *testing.T, server *redistest.Server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	p.cut.Store("")
	p.wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server.Addr())
			if err != nil {
				down.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, up, down)
			p.mu.Unlock()
			var cutting atomic.Bool
			p.wg.Go(func() { p.copy(up, down, &cutting, false) })
			p.wg.Go(func() { p.copy(down, up, &cutting, true) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.disconnect()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) copy(to, from net.Conn, cutting *atomic.Bool, replies bool) {
	defer to.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil || replies && cutting.Load() {
			return
		}
		if word := p.cut.Load().(string); !replies && word != "" && strings.Contains(string(buf[:n]), word) {
			cutting.Store(true)
		}
		if replies && p.mute.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// disconnect closes all connections.
func (p *proxy) disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) connected() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

func TestAddWhoseReplyIsLostIsUnknownAndNotRepeated(t *testing.T) {
	server := redistest.Start(t)
	p := startProxy(t, server)
	c := open(t, p.url())
	p.cut.Store("XADD")
	for range 10 {
		_, err := c.Add(t.Context(), s1, someFields)
		if err == nil || redisstream.NotSent(err) || redisstream.ClassOf(err) != redisstream.Unreachable {
			t.Errorf("class %s, not sent %t: %v", redisstream.ClassOf(err), redisstream.NotSent(err), err)
		}
	}
	if n := server.Do("XLEN", s1); n != int64(10) {
		t.Errorf("XLEN = %v after 10 publishes", n)
	}
	p.cut.Store("")
	add(t, c, s1, 1)
}

func TestReadWhoseReplyIsLostIsFoundAmongOwnEntries(t *testing.T) {
	server := redistest.Start(t)
	p := startProxy(t, server)
	c := open(t, p.url())
	want := add(t, c, s1, 15)
	g := group(t, c, "a")
	p.cut.Store("XREADGROUP")
	if got, _, err := g.Read(t.Context(), g.Streams(), 10, 0); err == nil {
		t.Fatalf("read %d entries", len(got))
	}
	p.cut.Store("")
	page, err := g.Own(t.Context(), s1, wire.ID{}, 100)
	if err != nil || !slices.Equal(ids(page.Entries), want[:10]) || slices.Max(page.Deliveries) != 1 {
		t.Errorf("own %v, deliveries %v, %v", ids(page.Entries), page.Deliveries, err)
	}
	if got := ids(read(t, g, 10)); !slices.Equal(got, want[10:]) {
		t.Errorf("then %v, want %v", got, want[10:])
	}
}

func TestBlockedReadOnAHalfOpenConnectionEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p := startProxy(t, server)
	g := group(t, open(t, p.url()), "a")
	p.mute.Store(true)
	began := time.Now()
	_, _, err := g.Read(t.Context(), g.Streams(), 10, 500*time.Millisecond)
	if took := time.Since(began); redisstream.ClassOf(err) != redisstream.Unreachable || took > 4*time.Second {
		t.Errorf("after %v: class %s: %v", took, redisstream.ClassOf(err), err)
	}
	p.mute.Store(false)
	eventually(t, "reading again", func() bool {
		_, _, err := g.Read(t.Context(), g.Streams(), 10, 0)
		return err == nil
	})
}

// Calls wait for the connection that one of them is making.
func TestCancelOfOneCallIsNoCancelOfAnother(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redistest.Start(t))
	c := open(t, p.url())
	p.mute.Store(true)
	p.disconnect()
	var wg sync.WaitGroup
	first, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() {
		for first.Err() == nil { // until it notices that the connection is gone, and makes another
			_, _ = c.Add(first, s1, someFields)
		}
	})
	eventually(t, "the first call connects", func() bool { return p.connected() > 0 })
	for range 16 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.Add(ctx, s1, someFields); err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	cancel()
	wg.Wait()
}

func TestSentinelFindsTheMasterAfterAFailover(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	host, port, _ := strings.Cut(master.Addr(), ":")
	replica := redistest.Start(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	master.Do("CONFIG", "SET", "repl-diskless-sync-delay", "0")
	// A sentinel that finds no replica at its first look takes ten seconds to the
	// next.
	eventually(t, "the replica is in sync", func() bool {
		return strings.Contains(replica.Do("INFO", "replication").(string), "master_link_status:up")
	})
	sentinel := startSentinel(t)
	sentinelDo := func(args ...string) string {
		reply, err := redistest.Call(sentinel, args...)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(reply)
	}
	sentinelDo("SENTINEL", "MONITOR", "mymaster", host, port, "1")
	sentinelDo("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "1000", "failover-timeout", "5000")
	eventually(t, "the replica is known to the sentinel", func() bool {
		return strings.Contains(sentinelDo("SENTINEL", "REPLICAS", "mymaster"), replica.Addr())
	})
	c := open(t, "redis+sentinel://"+sentinel+"/mymaster")
	add(t, c, s1, 1)
	if n := master.Do("XLEN", s1); n != int64(1) {
		t.Fatalf("XLEN on the master = %v", n)
	}
	eventually(t, "the failover begins", func() bool {
		return strings.HasPrefix(sentinelDo("SENTINEL", "FAILOVER", "mymaster"), "OK")
	})
	// A sentinel closes the connections of a server whose role it changes.
	eventually(t, "the replica is the master", func() bool {
		info, err := redistest.Call(replica.Addr(), "INFO", "replication")
		return err == nil && strings.Contains(info.(string), "role:master")
	})
	eventually(t, "publishing to the new master", func() bool {
		if _, err := c.Add(t.Context(), s1, someFields); err != nil {
			return false
		}
		n, err := redistest.Call(replica.Addr(), "XLEN", s1)
		return err == nil && n.(int64) > 1
	})
}

func startSentinel(t *testing.T) (addr string) {
	t.Helper()
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\n", port, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	eventually(t, "the sentinel listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}
