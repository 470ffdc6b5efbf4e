package redisstream_test

import (
	"testing"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
)

func facts(t *testing.T, c *redisstream.Client) redisstream.Facts {
	t.Helper()
	all, err := c.Facts(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	return all[0]
}

func TestFacts(t *testing.T) {
	c, s := start(t)
	set := func(name, value string) {
		t.Helper()
		if reply := s.Do("CONFIG", "SET", name, value); reply != "OK" {
			t.Fatal(reply)
		}
	}
	const yes, no = redisstream.Yes, redisstream.No
	check := func(policy string, appendOnly, snapshots, persists redisstream.Answer) {
		t.Helper()
		f := facts(t, c)
		if f.Policy != policy || f.AppendOnly != appendOnly || f.Snapshots != snapshots || f.Persists() != persists || f.Used == 0 || f.Addr != "" {
			t.Errorf("%+v", f)
		}
	}
	check("noeviction", no, no, no)
	set("save", "3600 1")
	check("noeviction", no, yes, yes)
	set("maxmemory-policy", "allkeys-lru")
	set("save", "")
	set("appendonly", "yes")
	check("allkeys-lru", yes, no, yes)
	set("maxmemory", "1gb")
	if f := facts(t, c); f.Max != 1<<30 {
		t.Errorf("%+v", f)
	}
}

// What a user may not ask is unknown, and no reason to think ill of a server.
func TestFactsThatAreNotTold(t *testing.T) {
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-config")
	server.Do("ACL", "SETUSER", "less", "on", ">secret", "~*", "+@all", "-config", "-info")
	f := facts(t, open(t, "redis://app:secret@"+server.Addr()))
	if f.Policy != "noeviction" || f.AppendOnly != redisstream.No || f.Snapshots != redisstream.Unknown || f.Persists() != redisstream.Unknown {
		t.Errorf("without CONFIG: %+v", f)
	}
	f = facts(t, open(t, "redis://less:secret@"+server.Addr()))
	if f.Policy != "" || f.AppendOnly != redisstream.Unknown || f.Persists() != redisstream.Unknown {
		t.Errorf("without INFO: %+v", f)
	}
	server.Do("CONFIG", "SET", "appendonly", "yes")
	if f := facts(t, open(t, "redis://app:secret@"+server.Addr())); f.Persists() != redisstream.Yes {
		t.Errorf("without CONFIG, with an append-only file: %+v", f)
	}
}

func TestFactsOfEveryMaster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	nodes[1].Do("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	all, err := open(t, nodes[0].URL()).Facts(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	policies := map[string]string{}
	for _, f := range all {
		policies[f.Addr] = f.Policy
	}
	if policies[nodes[0].Addr()] != "noeviction" || policies[nodes[1].Addr()] != "volatile-ttl" {
		t.Errorf("%v", policies)
	}
}

func TestFactsOfAServerThatIsGone(t *testing.T) {
	c, s := start(t)
	s.Kill()
	if all, err := c.Facts(t.Context()); redisstream.ClassOf(err) != redisstream.Unreachable {
		t.Errorf("%v, %v", all, err)
	}
}
