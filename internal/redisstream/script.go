package redisstream

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/redis/rueidis"
)

// script is a Lua script. Its comments say what it takes and returns.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) // the server's name for it, not a signature
	return script{text: text, sha: hex.EncodeToString(sum[:])}
}

var (
	//go:embed lua/prelude.lua
	preludeText string
	//go:embed lua/own.lua
	ownText string
	//go:embed lua/reclaim.lua
	reclaimText string
	//go:embed lua/restart.lua
	restartText string
	//go:embed lua/begin.lua
	beginText string
	//go:embed lua/renew.lua
	renewText string
	//go:embed lua/bury.lua
	buryText string
	//go:embed lua/look.lua
	lookText string
	//go:embed lua/prune.lua
	pruneText string
	//go:embed lua/lease_acquire.lua
	leaseAcquireText string
	//go:embed lua/lease_renew.lua
	leaseRenewText string
	//go:embed lua/lease_release.lua
	leaseReleaseText string

	ownScript          = newScript(ownText)
	reclaimScript      = newScript(reclaimText)
	beginScript        = newScript(preludeText + restartText + beginText)
	renewScript        = newScript(preludeText + restartText + renewText)
	buryScript         = newScript(buryText)
	lookScript         = newScript(preludeText + lookText)
	pruneScript        = newScript(preludeText + pruneText)
	leaseAcquireScript = newScript(leaseAcquireText)
	leaseRenewScript   = newScript(leaseRenewText)
	leaseReleaseScript = newScript(leaseReleaseText)
)

// scriptCall is one run of a script. All keys share a cluster slot.
type scriptCall struct{ keys, args []string }

var errSlots = errors.New("what is kept of it is in another slot of the cluster: its name has braces, or is empty")

// oneSlot tells whether a node of a cluster has all keys; the library panics
// where they are in different slots.
func (c *Client) oneSlot(keys []string) bool {
	if !c.cluster || len(keys) == 1 {
		return true
	}
	slots := map[uint16]bool{}
	for _, key := range keys {
		cmd := c.rc.B().Exists().Key(key).Build()
		slots[cmd.Slot()] = true
	}
	return len(slots) == 1
}

// run runs a script once.
func (c *Client) run(ctx context.Context, s script, keys []string, args ...string) rueidis.RedisResult {
	return c.runAll(ctx, s, []scriptCall{{keys, args}})[0]
}

// runAll runs a script several times in one pipeline. A server that has not
// seen the script says so before it does anything, and gets its text once; of a
// cluster each node does.
func (c *Client) runAll(ctx context.Context, s script, calls []scriptCall) []rueidis.RedisResult {
	const mostNodes = 64 // then each call is sent with the text
	results := make([]rueidis.RedisResult, len(calls))
	left := make([]int, 0, len(calls))
	for i, call := range calls {
		if c.oneSlot(call.keys) {
			left = append(left, i)
		} else {
			results[i] = failAll(1, errSlots)[0]
		}
	}
	if len(left) == 0 {
		return results
	}
	for rounds := 0; ; rounds++ {
		cmds := make([]rueidis.Completed, len(left))
		for k, i := range left {
			cmds[k] = c.rc.B().Evalsha().Sha1(s.sha).Numkeys(int64(len(calls[i].keys))).Key(calls[i].keys...).Arg(calls[i].args...).Build()
		}
		for k, r := range c.doMulti(ctx, cmds...) {
			results[left[k]] = r
		}
		left = slices.DeleteFunc(left, func(i int) bool {
			text, failed := replyError(results[i].Error())
			return !failed || !strings.HasPrefix(text, "NOSCRIPT")
		})
		for n := 0; len(left) > 0 && (n == 0 || rounds == mostNodes); n++ {
			call := calls[left[0]]
			results[left[0]] = c.do(ctx, c.rc.B().Eval().Script(s.text).Numkeys(int64(len(call.keys))).Key(call.keys...).Arg(call.args...).Build())
			left = left[1:]
		}
		if len(left) == 0 {
			return results
		}
	}
}
