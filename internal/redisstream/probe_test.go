package redisstream_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/shell"
)

func TestClock(t *testing.T) {
	s := redistest.StartWithClock(t)
	c := open(t, s.URL())
	for _, d := range []time.Duration{0, time.Hour, -time.Minute} {
		s.MoveClock(d)
		if ahead, within, err := c.Clock(t.Context()); err != nil || (ahead-d).Abs() > within+time.Second/2 || within <= 0 {
			t.Errorf("moved by %v: ahead by %v within %v, %v", d, ahead, within, err)
		}
	}
}

func TestDryRun(t *testing.T) {
	c, s := start(t)
	s.Do("ACL", "SETUSER", "app", "on", "nopass", "~a", "+xadd", "+ping", "+acl|whoami")
	denied, err := c.DryRun(t.Context(), "app", [][]string{{"XADD", "a", "*", "f", "v"}, {"XADD", "b", "*", "f", "v"}, {"DEL", "a"}, {"NONSENSE"}})
	if err != nil || denied[0] != "" || !strings.Contains(denied[1], "'b' key") || !strings.Contains(denied[2], "'del' command") || denied[3] != "" {
		t.Errorf("%q, %v", denied, err)
	}
	if _, err := c.DryRun(t.Context(), "nobody", [][]string{{"PING"}}); !errors.Is(err, redisstream.ErrNotAsked) {
		t.Errorf("of nobody: %v", err)
	}
	app := open(t, "redis://app@"+s.Addr())
	if me, err := app.WhoAmI(t.Context()); err != nil || me != "app" {
		t.Errorf("%q, %v", me, err)
	}
	if _, err := app.DryRun(t.Context(), "app", [][]string{{"PING"}}); !errors.Is(err, redisstream.ErrNotAsked) {
		t.Errorf("by one who may not: %v", err)
	}
	if _, err := app.Has(t.Context(), "XADD"); !errors.Is(err, redisstream.ErrNotAsked) {
		t.Errorf("by one who may not: %v", err)
	}
	s.Kill()
	if _, err := c.WhoAmI(t.Context()); redisstream.ClassOf(err) != redisstream.Unreachable || errors.Is(err, redisstream.ErrNotAsked) {
		t.Errorf("of a server that is gone: %v", err)
	}
}

func TestHas(t *testing.T) {
	c, _ := start(t, "--rename-command", "XAUTOCLAIM", "")
	has, err := c.Has(t.Context(), "XADD", "XAUTOCLAIM", "ACL|DRYRUN", "NONSENSE")
	if err != nil || !slices.Equal(has, []bool{true, false, true, false}) {
		t.Errorf("%v, %v", has, err)
	}
}

func TestLetsAnyoneIn(t *testing.T) {
	c, s := start(t)
	asks := func() redisstream.Answer {
		t.Helper()
		in, err := c.Target().LetsAnyoneIn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	if asks() != redisstream.Yes {
		t.Error("a server without passwords does not let anyone in")
	}
	s.Do("CONFIG", "SET", "requirepass", "secret")
	if asks() != redisstream.No {
		t.Error("a server with a password lets anyone in")
	}
	s.Stop()
	defer s.Cont()
	if in, err := c.Target().LetsAnyoneIn(t.Context()); err == nil || in != redisstream.Unknown {
		t.Errorf("of a frozen server: %v, %v", in, err)
	}
}

func TestSetConfig(t *testing.T) {
	c, s := start(t)
	if err := c.SetConfig(t.Context(), "", "maxmemory-policy", "allkeys-lru"); err != nil || facts(t, c).Policy != "allkeys-lru" {
		t.Errorf("%v, %+v", err, facts(t, c))
	}
	if err := c.SetConfig(t.Context(), "", "maxmemory-policy", "nonsense"); err == nil {
		t.Error("nonsense is taken")
	}
	s.Do("ACL", "SETUSER", "app", "on", "nopass", "+@all", "-config")
	if err := open(t, "redis://app@"+s.Addr()).SetConfig(t.Context(), "", "save", ""); redisstream.ClassOf(err) != redisstream.NoPerm {
		t.Errorf("by one who may not: %v", err)
	}
}

func TestSetConfigOfAMaster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL())
	if err := c.SetConfig(t.Context(), nodes[1].Addr(), "maxmemory-policy", "volatile-ttl"); err != nil {
		t.Fatal(err)
	}
	if got := nodes[1].Do("CONFIG", "GET", "maxmemory-policy").([]any)[1]; got != "volatile-ttl" {
		t.Errorf("%v", got)
	}
	if got := nodes[0].Do("CONFIG", "GET", "maxmemory-policy").([]any)[1]; got != "noeviction" {
		t.Errorf("of another: %v", got)
	}
	if err := c.SetConfig(t.Context(), "127.0.0.1:1", "save", ""); err == nil {
		t.Error("no such node")
	}
	if state := c.ClusterState(t.Context()); state != "ok" {
		t.Errorf("cluster state %q", state)
	}
	for _, n := range nodes {
		n.Do("CLUSTER", "DELSLOTS", "16383")
	}
	eventually(t, "the cluster has failed", func() bool { return c.ClusterState(t.Context()) == "fail" })
}

func TestFactsOfReplication(t *testing.T) {
	c, s := start(t)
	host, port, _ := strings.Cut(s.Addr(), ":")
	replica := redistest.Start(t, "--replicaof", host+" "+port)
	eventually(t, "the replica is online", func() bool {
		f := facts(t, c)
		return len(f.Replicas) == 1 && f.Replicas[0].Online
	})
	s.Do("CONFIG", "SET", "min-replicas-to-write", "2")
	if f := facts(t, c); f.MinReplicas != 2 || f.Replica || f.Replicas[0].Addr != replica.Addr() || f.Replicas[0].Silent > 5*time.Second {
		t.Errorf("%+v", f)
	}
	if f := facts(t, open(t, replica.URL())); !f.Replica {
		t.Errorf("%+v", f)
	}
}

func TestFactsOfListening(t *testing.T) {
	for _, test := range []struct {
		args []string
		open redisstream.Answer
	}{
		{nil, redisstream.No},
		{[]string{"--bind", "127.0.0.1 -::1", "--protected-mode", "no"}, redisstream.No},
		{[]string{"--bind", "0.0.0.0", "--protected-mode", "yes"}, redisstream.No},
		{[]string{"--bind", "* -::*", "--protected-mode", "no"}, redisstream.Yes},
	} {
		c, _ := start(t, test.args...)
		if f := facts(t, c); f.Open != test.open {
			t.Errorf("%q: %s", test.args, f.Open)
		}
	}
}

func TestTargetSaysHowToReachTheServer(t *testing.T) {
	for url, want := range map[string]string{
		"redis://localhost":                         "redis-cli",
		"redis://:secret@127.0.0.1:6379/0":          "redis-cli",
		"redis://app:secret@db.internal:7000/2":     "redis-cli -h db.internal -p 7000 --user app -n 2",
		"rediss://db.internal":                      "redis-cli -h db.internal -p 6379 --tls",
		"unix:///run/redis.sock":                    "redis-cli -s /run/redis.sock",
		"redis+sentinel://:secret@s-1,s-2/mymaster": "redis-cli",
		"redis://odd%20one:secret@localhost":        "redis-cli --user 'odd one'",
	} {
		target, err := redisstream.TargetOf(redisstream.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if got := shell.Command(target.RedisCLI("")...); got != want || strings.Contains(got+target.String(), "secret") {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
	target, err := redisstream.TargetOf(redisstream.Config{URL: "rediss://app@a:1,b:2", CAFile: "ca.pem"})
	if err != nil || shell.Command(target.RedisCLI("[::1]:7001")...) != "redis-cli -h ::1 -p 7001 --tls --cacert ca.pem --user app" {
		t.Errorf("%v, %v", target.RedisCLI("[::1]:7001"), err)
	}
	if _, err := redisstream.TargetOf(redisstream.Config{URL: "http://x"}); err == nil {
		t.Error("http:// is taken")
	}
}

func TestKeptOfGroups(t *testing.T) {
	c, s := start(t)
	s.Do("HSET", "{"+s1+"}:state:g", "at", "7-1", "pending", "5-0", "total", "3", "noted", "1")
	s.Do("HSET", "{"+s2+"}:state:odd:one", "at", "7-1")
	s.Do("HSET", "{}:state:g", "at", "7-1")
	s.Do("SET", "{"+s2+"}:state:g", "no hash")
	refs, err := c.KeptGroups(t.Context())
	if err != nil || !slices.Equal(refs, []redisstream.GroupRef{{Stream: s1, Group: "g"}, {Stream: s2, Group: "odd:one"}}) {
		t.Fatalf("%v, %v", refs, err)
	}
	kept, err := c.Kept(t.Context(), append(refs, redisstream.GroupRef{Stream: "none", Group: "g"}))
	if err != nil || kept[0].Settled.String() != "4-18446744073709551615" || kept[0].Lost != 3 || kept[0].Noted != 1 || kept[1].Settled.String() != "7-1" || kept[2].Known {
		t.Errorf("%+v, %v", kept, err)
	}
	if _, err := c.Kept(t.Context(), []redisstream.GroupRef{{Stream: s2, Group: "g"}}); redisstream.ClassOf(err) != redisstream.WrongType {
		t.Errorf("%v", err)
	}
}

func TestClaims(t *testing.T) {
	c, _ := start(t)
	if _, err := c.Setting(t.Context(), "a", "tenants", "acme", false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.AcquireLease(t.Context(), "b", "c-1", time.Minute); err != nil {
		t.Fatal(err)
	}
	claims, err := c.Claims(t.Context(), []string{"a", "b"})
	if err != nil || !slices.Equal(claims, []redisstream.Claims{{Tenants: "acme"}, {Owner: "c-1"}}) {
		t.Errorf("%+v, %v", claims, err)
	}
}
