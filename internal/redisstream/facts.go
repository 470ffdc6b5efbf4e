package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Facts is what a server says about itself. What it does not tell has its zero
// value, or is Unknown.
type Facts struct {
	Addr      string // host:port of a cluster's master, or of the one the Sentinels name; "" for the one server
	Version   string
	Used, Max int64  // bytes of memory; Max 0: no cap, or it does not tell
	Policy    string // maxmemory-policy; "" when it does not tell

	AppendOnly   Answer // it writes an append-only file
	Snapshots    Answer // it saves its data now and then
	Fsync        string // appendfsync; "" when it does not tell
	AppendFailed bool   // the last write to the append-only file
	SaveFailed   bool   // the last snapshot

	Replica     bool // it is one itself, and takes no writes
	Replicas    []Replica
	MinReplicas int    // it takes no writes while fewer than so many keep up
	Open        Answer // it listens to other machines, and is not in protected mode
}

// Replica is what a master says about one of its replicas.
type Replica struct {
	Addr   string // host:port, as the master sees it
	Online bool   // it has the data, and gets what is new
	Silent time.Duration
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

// Evicts tells whether data may be deleted when the memory is full.
func (f Facts) Evicts() Answer {
	switch f.Policy {
	case "":
		return Unknown
	case "noeviction":
		return No
	}
	return Yes
}

// Facts asks the server, or each master of a cluster. It fails when none can
// be reached.
func (c *Client) Facts(ctx context.Context) ([]Facts, error) {
	if !c.cluster {
		f, err := c.factsOf(ctx, c.rc)
		if err != nil {
			return nil, fmt.Errorf("ask the server about itself: %w", err)
		}
		if c.target.Sentinel {
			f.Addr = c.serverAddr(ctx)
		}
		return []Facts{f}, nil
	}
	var all []Facts
	var errs []error
	for addr, node := range c.rc.Nodes() {
		f, err := c.factsOf(ctx, node)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("ask %s about itself: %w", addr, err))
		case !f.Replica:
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
func (c *Client) factsOf(ctx context.Context, node rueidis.Client) (Facts, error) {
	settings := []string{"save", "appendfsync", "min-replicas-to-write", "bind", "protected-mode"}
	cmds := []rueidis.Completed{node.B().Info().Build()}
	for _, name := range settings { // one call each: several names are too many before version 7
		cmds = append(cmds, node.B().ConfigGet().Parameter(name).Build())
	}
	replies := (&Client{rc: node}).doMulti(ctx, cmds...)
	for _, reply := range replies {
		if _, refused := replyError(reply.Error()); reply.Error() != nil && (!refused || ClassOf(reply.Error()) == Unreachable) {
			return Facts{}, reply.Error()
		}
	}
	info := map[string]string{}
	text, _ := replies[0].ToString() // refused: an empty one
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	config := map[string]string{}
	for _, reply := range replies[1:] {
		told, _ := reply.AsStrMap() // refused: nil
		for name, value := range told {
			config[name] = value
		}
	}
	return parseFacts(info, config), nil
}

func parseFacts(info, config map[string]string) Facts {
	f := Facts{
		Version:      info["redis_version"],
		Policy:       info["maxmemory_policy"],
		AppendOnly:   Unknown,
		Snapshots:    Unknown,
		Fsync:        config["appendfsync"],
		AppendFailed: info["aof_last_write_status"] == "err",
		SaveFailed:   info["rdb_last_bgsave_status"] == "err",
		Replica:      info["role"] == "slave",
		Open:         Unknown,
	}
	f.Used, _ = strconv.ParseInt(info["used_memory"], 10, 64)
	f.Max, _ = strconv.ParseInt(info["maxmemory"], 10, 64)
	f.MinReplicas, _ = strconv.Atoi(config["min-replicas-to-write"])
	switch info["aof_enabled"] {
	case "1":
		f.AppendOnly = Yes
	case "0":
		f.AppendOnly = No
	}
	if points, told := config["save"]; told {
		f.Snapshots = Yes
		if points == "" {
			f.Snapshots = No
		}
	}
	for n := 0; ; n++ {
		line, ok := info["slave"+strconv.Itoa(n)]
		if !ok {
			break
		}
		f.Replicas = append(f.Replicas, parseReplica(line))
	}
	if protected, told := config["protected-mode"]; told {
		f.Open = No
		if protected == "no" && !onlyLoopback(config["bind"]) {
			f.Open = Yes
		}
	}
	return f
}

// parseReplica reads "ip=10.0.0.2,port=6379,state=online,offset=42,lag=0".
func parseReplica(line string) Replica {
	fields := map[string]string{}
	for part := range strings.SplitSeq(line, ",") {
		name, value, _ := strings.Cut(part, "=")
		fields[name] = value
	}
	seconds, _ := strconv.Atoi(fields["lag"])
	return Replica{
		Addr:   fields["ip"] + ":" + fields["port"],
		Online: fields["state"] == "online",
		Silent: time.Duration(seconds) * time.Second,
	}
}

// onlyLoopback reads the setting bind, "127.0.0.1 -::1". Without any address
// the server listens on all.
func onlyLoopback(bind string) bool {
	addresses := strings.Fields(bind)
	return len(addresses) > 0 && !slices.ContainsFunc(addresses, func(a string) bool {
		return !isLoopback(strings.TrimPrefix(a, "-"))
	})
}

// serverAddr is where the server sees the connection arrive; "" when it does
// not tell.
func (c *Client) serverAddr(ctx context.Context) string {
	text, _ := c.do(ctx, c.rc.B().Arbitrary("CLIENT", "INFO").Build()).ToString()
	for field := range strings.FieldsSeq(text) {
		if addr, ok := strings.CutPrefix(field, "laddr="); ok {
			return addr
		}
	}
	return ""
}
