package faults

import (
	"cmp"
	"strconv"
	"strings"
)

// server is what answers commands: one Redis, or a cluster.
type server interface{ Do(args ...string) any }

// entry is an entry of a stream: its id and the event's.
type entry struct{ id, event string }

// entries returns all entries of a stream.
func entries(server server, stream string) []entry {
	var all []entry
	for from := "-"; ; {
		page, ok := server.Do("XRANGE", stream, from, "+", "COUNT", "1000").([]any)
		if !ok || len(page) == 0 {
			return all
		}
		for _, e := range page {
			e := e.([]any)
			all = append(all, entry{e[0].(string), field(e[1].([]any), "messageId")})
		}
		from = "(" + all[len(all)-1].id
	}
}

// field returns the first value of a name in a list of names and values.
func field(list []any, name string) string {
	for i := 0; i+1 < len(list); i += 2 {
		if list[i] == name {
			text, _ := list[i+1].(string)
			return text
		}
	}
	return ""
}

// owners returns the consumers of a group's pending entries of a stream.
func owners(server server, stream, group string) map[string]string {
	owners := map[string]string{}
	for from := "-"; ; {
		page, ok := server.Do("XPENDING", stream, group, from, "+", "1000").([]any)
		if !ok || len(page) == 0 {
			return owners
		}
		last := ""
		for _, p := range page {
			p := p.([]any)
			last = p[0].(string)
			owners[last] = p[1].(string)
		}
		from = "(" + last
	}
}

func pendingEntries(server server, stream, group string) map[string]bool {
	ids := map[string]bool{}
	for id := range owners(server, stream, group) {
		ids[id] = true
	}
	return ids
}

// pendingCount returns how many entries a group has pending on the load's
// streams.
func pendingCount(server server, group string) int {
	n := 0
	for _, stream := range loadStreams {
		n += len(owners(server, stream, group))
	}
	return n
}

// lastDelivered returns the id up to which a group was given entries, "0-0"
// when there is no such group.
func lastDelivered(server server, stream, group string) string {
	groups, _ := server.Do("XINFO", "GROUPS", stream).([]any)
	for _, g := range groups {
		g := g.([]any)
		if field(g, "name") == group {
			return field(g, "last-delivered-id")
		}
	}
	return "0-0"
}

// compareIDs orders entry ids.
func compareIDs(a, b string) int {
	am, as := splitID(a)
	bm, bs := splitID(b)
	return cmp.Or(cmp.Compare(am, bm), cmp.Compare(as, bs))
}

func splitID(id string) (ms, sequence uint64) {
	left, right, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(left, 10, 64)
	sequence, _ = strconv.ParseUint(right, 10, 64)
	return ms, sequence
}
