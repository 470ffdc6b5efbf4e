package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// Facts is what a server says about what it may lose.
type Facts struct {
	Addr       string // of a cluster's master, host:port; "" for the one server
	Used, Max  int64  // bytes of memory; Max 0: no cap, or it does not tell
	Policy     string // maxmemory-policy; "" when it does not tell
	AppendOnly Answer // it writes an append-only file
	Snapshots  Answer // it saves its data now and then
}

// Answer is what a server says about itself.
type Answer string

// The answers. Unknown is that of a server that does not tell, such as a
// managed one, or that may not tell the user that asks.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Persists tells whether anything is left after the server ends.
func (f Facts) Persists() Answer {
	switch {
	case f.AppendOnly == Yes || f.Snapshots == Yes:
		return Yes
	case f.AppendOnly == No && f.Snapshots == No:
		return No
	}
	return Unknown
}

// Facts asks the server, or each master of a cluster. It fails when none can
// be reached.
func (c *Client) Facts(ctx context.Context) ([]Facts, error) {
	if !c.cluster {
		f, _, err := c.factsOf(ctx, c.rc)
		if err != nil {
			return nil, fmt.Errorf("ask the server about itself: %w", err)
		}
		return []Facts{f}, nil
	}
	var all []Facts
	var errs []error
	for addr, node := range c.rc.Nodes() {
		f, master, err := c.factsOf(ctx, node)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("ask %s about itself: %w", addr, err))
		case master:
			f.Addr = addr
			all = append(all, f)
		}
	}
	if len(all) == 0 {
		return nil, errors.Join(errs...)
	}
	slices.SortFunc(all, func(a, b Facts) int { return strings.Compare(a.Addr, b.Addr) })
	return all, nil
}

// factsOf asks one node. What it refuses to tell is unknown.
func (c *Client) factsOf(ctx context.Context, node rueidis.Client) (f Facts, master bool, err error) {
	f = Facts{AppendOnly: Unknown, Snapshots: Unknown}
	n := &Client{rc: node}
	replies := n.doMulti(ctx, node.B().Info().Build(), node.B().ConfigGet().Parameter("save").Build())
	for _, reply := range replies {
		if _, refused := replyError(reply.Error()); reply.Error() != nil && (!refused || ClassOf(reply.Error()) == Unreachable) {
			return f, false, reply.Error()
		}
	}
	info := map[string]string{}
	text, _ := replies[0].ToString() // refused: an empty one
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	f.Used, _ = strconv.ParseInt(info["used_memory"], 10, 64)
	f.Max, _ = strconv.ParseInt(info["maxmemory"], 10, 64)
	f.Policy = info["maxmemory_policy"]
	switch info["aof_enabled"] {
	case "1":
		f.AppendOnly = Yes
	case "0":
		f.AppendOnly = No
	}
	if config, err := replies[1].AsStrMap(); err == nil {
		points, told := config["save"]
		switch {
		case told && points == "":
			f.Snapshots = No
		case told:
			f.Snapshots = Yes
		}
	}
	return f, info["role"] != "slave", nil
}
