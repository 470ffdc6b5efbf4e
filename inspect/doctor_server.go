package inspect

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/shell"
)

// Server is what was found out about the server, of a cluster about one.
type Server struct {
	Name     string // as the configuration names it
	Version  string // "" when it does not tell
	User     string // that the doctor is to it; "" when it does not tell
	Masters  int    // more than one of a cluster
	Replicas int    // of all masters
	Features []Feature

	// ClockAhead is by how much its clock is ahead of this machine's.
	ClockAhead time.Duration
}

// Feature is something that some servers have, found out by asking for it.
type Feature struct {
	Name string // a command
	Has  bool
}

// features are the commands that are asked for, and what misses those that the
// project cannot do without.
var features = []struct{ command, missed string }{
	{"XAUTOCLAIM", "consumers cannot take over what others left behind"},
	{"WAITAOF", ""},
	{"ACL|DRYRUN", ""},
}

// unreachable says why there is no connection.
func (x *examination) unreachable(err error) {
	f := Finding{Check: "reachable", Severity: Critical, Subject: "server", Evidence: err.Error(), Command: x.redis("", "PING")}
	switch {
	case redisstream.ClassOf(err) == redisstream.Auth:
		f.Check = "authentication"
		f.Summary = fmt.Sprintf("The server at %s does not take the user or the password", x.target)
		f.Advice = "Give the right one in REDIS_URL or a file with --redis-password-file, or have the server take it"
		f.Command = ""
	case redisstream.HandshakeFailed(err):
		f.Check = "tls"
		f.Summary = fmt.Sprintf("No encrypted connection can be made to %s", x.target)
		f.Advice = "Name the authority of its certificate with --tls-ca and, where it wants one, a client certificate with --tls-cert and --tls-key; a server that speaks no TLS is redis:// instead of rediss://"
		f.Command = ""
	default:
		f.Summary = fmt.Sprintf("The server at %s does not answer", x.target)
		f.Advice = "Start the server, or name it with --redis or REDIS_URL"
	}
	x.find(f)
}

// server looks at the server itself.
func (x *examination) server(ctx context.Context) error {
	x.d.Server.Name = x.target.String()
	if x.target.Exposed {
		x.find(Finding{
			Check: "tls", Severity: Warning, Subject: "server",
			Summary:  "The connection to the server is not encrypted: passwords and events can be read on the way",
			Evidence: "the URL of " + x.target.String() + " begins with redis://",
			Advice:   "Set up TLS on the server (tls-port, tls-cert-file, tls-key-file) and use rediss://",
		})
	}
	x.clock(ctx)
	x.features(ctx)
	if state := x.client.ClusterState(ctx); state != "" && state != "ok" {
		x.find(Finding{
			Check: "cluster", Severity: Critical, Subject: "server",
			Summary: "The cluster does not serve all of its slots", Evidence: "cluster_state is " + state,
			Advice: "Start the masters that are down, or promote their replicas", Command: x.redis("", "CLUSTER", "NODES"),
		})
	}
	masters, err := x.client.Facts(ctx)
	if err != nil {
		return err
	}
	x.masters, x.d.Server.Masters = masters, len(masters)
	for _, f := range masters {
		x.d.Server.Version = f.Version
		x.d.Server.Replicas += len(f.Replicas)
		x.role(f)
		for _, finding := range dataLoss(x.target, f) {
			x.find(finding)
		}
		x.disk(f)
		x.memory(f)
		x.replicas(f)
	}
	return nil
}

func (x *examination) clock(ctx context.Context) {
	ahead, within, err := x.client.Clock(ctx)
	if err != nil {
		return // what is wrong with the server shows elsewhere
	}
	x.d.At, x.d.Server.ClockAhead = time.Now().Add(ahead), ahead
	severity := x.limits().Clock.of(ahead.Abs() - within)
	if severity == "" {
		return
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	x.find(Finding{
		Check: "clock", Severity: severity, Subject: "server",
		Summary:  fmt.Sprintf("The server's clock is %s %s this machine's: ages and leases are measured by the server's", span(ahead.Abs()), direction),
		Evidence: fmt.Sprintf("TIME differs by %v, exact to %v", ahead.Round(time.Millisecond), within.Round(time.Millisecond)),
		Advice:   "Run a time service on both machines", Command: "timedatectl timesync-status",
	})
}

// features asks which commands there are, instead of concluding it from a
// version: gateways and managed servers leave some out.
func (x *examination) features(ctx context.Context) {
	var names []string
	for _, f := range features {
		names = append(names, f.command)
	}
	has, err := x.client.Has(ctx, names...)
	if err != nil {
		return // a server that does not tell is not to blame
	}
	for n, f := range features {
		x.d.Server.Features = append(x.d.Server.Features, Feature{strings.ReplaceAll(f.command, "|", " "), has[n]})
		if f.missed != "" && !has[n] {
			x.find(Finding{
				Check: "version", Severity: Critical, Subject: "server",
				Summary: fmt.Sprintf("The server has no %s: %s", f.command, f.missed), Evidence: "COMMAND INFO does not know it",
				Advice: "Use Redis 6.2 or later, without the rename-command that hides it", Command: x.redis("", "INFO", "server"),
			})
		}
	}
}

func (x *examination) role(f redisstream.Facts) {
	if f.Replica {
		x.find(Finding{
			Check: "role", Severity: Critical, Subject: serverSubject(f),
			Summary:  serverName(f) + " is a replica: nothing can be published or consumed there",
			Evidence: "INFO says role:slave",
			Advice:   "Name the master instead, or its Sentinels (redis+sentinel://)", Command: x.redis(f.Addr, "INFO", "replication"),
		})
	}
}

// DataLoss returns the findings about what the server, or each master of a
// cluster, is set up to lose: of the checks eviction and persistence.
func (i *Inspector) DataLoss(ctx context.Context) ([]Finding, error) {
	masters, err := i.client.Facts(ctx)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, f := range masters {
		found = append(found, dataLoss(i.client.Target(), f)...)
	}
	return found, nil
}

func dataLoss(target redisstream.Target, f redisstream.Facts) (found []Finding) {
	set := func(setting, value string) string {
		return shell.Command(append(target.RedisCLI(f.Addr), "CONFIG", "SET", setting, value)...)
	}
	const file = "Write it into the server's configuration file too"
	switch f.Evicts() {
	case redisstream.Yes:
		found = append(found, Finding{
			Check: "eviction", Severity: Critical, Subject: serverSubject(f),
			Summary:  fmt.Sprintf("%s may delete %s when its memory is full", serverName(f), evicted(f.Policy)),
			Evidence: "maxmemory-policy is " + f.Policy, Advice: file, Command: set("maxmemory-policy", "noeviction"),
			Fix: &Fix{Server: f.Addr, Setting: "maxmemory-policy", Value: "noeviction"},
		})
	case redisstream.Unknown:
		found = append(found, Finding{
			Check: "eviction", Severity: Info, Subject: serverSubject(f),
			Summary:  serverName(f) + " does not tell its maxmemory-policy",
			Evidence: "INFO is refused, or has no such line",
			Advice:   "Make sure that it is noeviction, or streams may vanish when its memory is full",
		})
	}
	switch f.Persists() {
	case redisstream.No:
		found = append(found, Finding{
			Check: "persistence", Severity: Critical, Subject: serverSubject(f),
			Summary:  serverName(f) + " writes nothing to disk, so that all is lost when it ends",
			Evidence: "appendonly is no, and there are no save points", Advice: file, Command: set("appendonly", "yes"),
		})
	case redisstream.Unknown:
		found = append(found, Finding{
			Check: "persistence", Severity: Info, Subject: serverSubject(f),
			Summary:  serverName(f) + " does not tell whether it writes to disk",
			Evidence: "INFO or CONFIG GET is refused",
			Advice:   "Make sure that it does, or all is lost when it ends",
		})
	case redisstream.Yes:
		switch {
		case f.AppendOnly == redisstream.No:
			found = append(found, Finding{
				Check: "persistence", Severity: Warning, Subject: serverSubject(f),
				Summary:  serverName(f) + " has no append-only file: when it crashes, all that was published since its last snapshot is lost",
				Evidence: "appendonly is no", Advice: file, Command: set("appendonly", "yes"),
			})
		case f.AppendOnly == redisstream.Yes && f.Fsync == "no":
			found = append(found, Finding{
				Check: "persistence", Severity: Info, Subject: serverSubject(f),
				Summary:  serverName(f) + " leaves it to the system when to write: a power loss takes up to half a minute of events",
				Evidence: "appendfsync is no", Advice: file, Command: set("appendfsync", "everysec"),
			})
		}
	}
	return found
}

// evicted says what a maxmemory-policy other than noeviction deletes.
func evicted(policy string) string {
	if strings.HasPrefix(policy, "volatile-") {
		return "keys that expire, such as the lease of an exclusive consumer,"
	}
	return "whole streams, unread events and groups included,"
}

func (x *examination) disk(f redisstream.Facts) {
	var failed []string
	if f.AppendFailed {
		failed = append(failed, "aof_last_write_status is err")
	}
	if f.SaveFailed {
		failed = append(failed, "rdb_last_bgsave_status is err")
	}
	if len(failed) > 0 {
		x.find(Finding{
			Check: "disk", Severity: Critical, Subject: serverSubject(f),
			Summary:  serverName(f) + " could not write to its disk, and may refuse what is published until it can",
			Evidence: strings.Join(failed, ", "),
			Advice:   "Make room on the disk or mend its permissions; the server's log says which",
			Command:  x.redis(f.Addr, "INFO", "persistence"),
		})
	}
}

func (x *examination) memory(f redisstream.Facts) {
	if f.Max <= 0 {
		return
	}
	percent := int64(float64(f.Used) / float64(f.Max) * 100)
	severity := x.limits().Memory.of(percent)
	if severity == "" {
		return
	}
	then := "it will refuse what is published"
	if f.Evicts() == redisstream.Yes {
		then = "it will delete " + strings.TrimSuffix(evicted(f.Policy), ",")
	}
	x.find(Finding{
		Check: "memory", Severity: severity, Subject: serverSubject(f),
		Summary:  fmt.Sprintf("%s uses %d %% of the memory that it may: when that is full, %s", serverName(f), percent, then),
		Evidence: fmt.Sprintf("used_memory is %d bytes, maxmemory %d", f.Used, f.Max),
		Advice:   "Raise maxmemory, or keep less: without --dry-run this removes what every group has settled",
		Command:  x.freshet("trim", "--older-than", "30d", "--dry-run"),
	})
}

// replicaSilence is how long a replica that is well is never silent: it
// answers every second.
const replicaSilence = 10 * time.Second

func (x *examination) replicas(f redisstream.Facts) {
	var bad []string
	for _, r := range f.Replicas {
		switch {
		case !r.Online:
			bad = append(bad, r.Addr+" is not online")
		case r.Silent > replicaSilence:
			bad = append(bad, fmt.Sprintf("%s has been silent for %v", r.Addr, r.Silent))
		}
	}
	good := len(f.Replicas) - len(bad)
	evidence := fmt.Sprintf("%d of %d replicas keep up", good, len(f.Replicas))
	if len(bad) > 0 {
		evidence += ": " + strings.Join(bad[:min(len(bad), 5)], ", ")
	}
	switch {
	case good < f.MinReplicas:
		x.find(Finding{
			Check: "replicas", Severity: Critical, Subject: serverSubject(f),
			Summary:  fmt.Sprintf("%s wants %d replicas that keep up and has %d: it refuses to publish and to consume", serverName(f), f.MinReplicas, good),
			Evidence: evidence + fmt.Sprintf("; min-replicas-to-write is %d", f.MinReplicas),
			Advice:   "Start the replicas, or go on without them", Command: x.redis(f.Addr, "CONFIG", "SET", "min-replicas-to-write", fmt.Sprint(good)),
		})
	case len(bad) > 0:
		x.find(Finding{
			Check: "replicas", Severity: Warning, Subject: serverSubject(f),
			Summary: fmt.Sprintf("%d of the replicas of %s do not keep up: a failover to one loses events", len(bad), strings.ToLower(serverName(f))), Evidence: evidence,
			Advice: "See to the replicas", Command: x.redis(f.Addr, "INFO", "replication"),
		})
	}
}

// serverSubject and serverName name a server: a master of a cluster by its address.
func serverSubject(f redisstream.Facts) string {
	return strings.TrimSpace("server " + f.Addr)
}

func serverName(f redisstream.Facts) string { return "The " + serverSubject(f) }

// problem is a part that could not be looked at.
func (x *examination) problem(err error) {
	if redisstream.ClassOf(err) == redisstream.NoPerm {
		x.refusals = append(x.refusals, err.Error())
		return
	}
	f := Finding{
		Check: "incomplete", Severity: Warning, Subject: "doctor",
		Summary: "A part could not be looked at", Evidence: err.Error(),
		Advice: "Look again; where it stays so, see to what the evidence names",
	}
	if !slices.ContainsFunc(x.d.Findings, func(other Finding) bool { return other.Evidence == f.Evidence }) {
		x.find(f)
	}
}
