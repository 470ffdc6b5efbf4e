package redisstream

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/freshet/freshet/internal/wire"
)

// aside are entries that came on a connection and that a call is to take: the
// client library gives it a token instead of them. What nobody takes, for its
// call was given up, stays no longer than the calls that were under way when
// it came.
type aside struct {
	prefix string // of tokens; no server can make one

	mu    sync.Mutex
	calls []uint64         // those under way: what next was as they began, in order
	found map[uint64]found // by the number of the token
	first uint64           // what has a lower number is gone
	next  uint64
}

// found is what a read found.
type found struct {
	entries []wire.Entry
	err     error
}

func newAside() *aside {
	return &aside{prefix: "\x00freshet-" + rand.Text() + "-", found: map[uint64]found{}}
}

type dialFunc = func(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error)

// dialer returns dial with connections that set aside here what reads find. A
// sentinel is not read from.
func (a *aside) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
		conn, err := dial(ctx, addr, d, cfg)
		if _, sentinel := conn.(sentinelConn); sentinel || err != nil {
			return conn, err
		}
		return &repliesConn{Conn: conn, aside: a}, nil
	}
}

// begin begins a call that may take something. It is to end with what begin
// returns.
func (a *aside) begin() (call uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, a.next)
	return a.next
}

// end ends a call, and drops what none of the others can be meant to take.
func (a *aside) end(call uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.calls, call)
	a.calls = slices.Delete(a.calls, i, i+1)
	oldest := a.next
	if len(a.calls) > 0 {
		oldest = a.calls[0]
	}
	for ; a.first < oldest; a.first++ {
		delete(a.found, a.first)
	}
}

// put sets aside what a read found, and returns the reply to pass on instead.
func (a *aside) put(f found) []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.next
	a.next++
	if len(a.calls) > 0 {
		a.found[n] = f
	}
	token := strconv.AppendUint([]byte(a.prefix), n, 10)
	return fmt.Appendf(nil, "$%d\r\n%s\r\n", len(token), token)
}

// take takes what was set aside under a token.
func (a *aside) take(token string) (f found, ok bool) {
	number, ok := strings.CutPrefix(token, a.prefix)
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return found{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f, ok = a.found[n]
	delete(a.found, n)
	return f, ok
}
