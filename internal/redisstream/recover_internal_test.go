package redisstream

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
)

// In a cluster a call is made again while it gets no answer, so that a node that
// serves the stream by now is asked soon, and a slow one is waited for.
func TestInsist(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	type call struct {
		took time.Duration
		err  error
	}
	answer := call{time.Millisecond, rueidis.Nil}
	silent := call{silence, errNoAnswer}
	for name, c := range map[string]struct {
		calls []call // the last is that of all that follow
		took  time.Duration
		err   error
		asked int64
	}{
		"answered at once":               {[]call{answer}, time.Millisecond, rueidis.Nil, 1},
		"another node answers":           {[]call{silent, answer}, askAgain + time.Millisecond, rueidis.Nil, 2},
		"the third call is answered":     {[]call{silent, silent, answer}, 2*askAgain + time.Millisecond, rueidis.Nil, 3},
		"a slow server":                  {[]call{{700 * time.Millisecond, rueidis.Nil}, silent}, 700 * time.Millisecond, rueidis.Nil, 3},
		"refused":                        {[]call{{time.Millisecond, refused}}, time.Millisecond, refused, 1},
		"the old connection ends":        {[]call{{askAgain + 10*time.Millisecond, refused}, {50 * time.Millisecond, rueidis.Nil}}, askAgain + 50*time.Millisecond, rueidis.Nil, 2},
		"nobody answers, the last fails": {[]call{{480 * time.Millisecond, refused}, {220 * time.Millisecond, refused}}, 480 * time.Millisecond, refused, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				began := time.Now()
				err := insist(true, func() rueidis.RedisResult {
					c := c.calls[min(int(asked.Add(1)), len(c.calls))-1]
					time.Sleep(c.took)
					return rueidis.NewErrorResult(c.err)
				}).Error()
				if took := time.Since(began); took != c.took || !errors.Is(err, c.err) || asked.Load() != c.asked {
					t.Errorf("%d calls, %v after %v; want %d, %v after %v", asked.Load(), err, took, c.asked, c.err, c.took)
				}
				time.Sleep(silence) // the calls that are left end
			})
		})
	}
}
