package inspect

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/freshet/freshet/internal/redisstream"
)

// access finds out who the doctor is to the server, and who else may use it.
func (x *examination) access(ctx context.Context) error {
	me, err := x.client.WhoAmI(ctx)
	if err != nil && !errors.Is(err, redisstream.ErrNotAsked) {
		return err
	}
	x.d.Server.User = me
	x.defaultUser(ctx)
	return nil
}

// user is whose permissions are looked at; "" when that is not known.
func (x *examination) user() string {
	if x.cfg.User != "" {
		return x.cfg.User
	}
	return x.d.Server.User
}

// defaultUser finds servers that anybody may use. One that only this machine
// reaches, and that is used without a name here too, is one for development.
func (x *examination) defaultUser(ctx context.Context) {
	if in, err := x.target.LetsAnyoneIn(ctx); err != nil || in != redisstream.Yes {
		return
	}
	open := x.target.Remote
	for _, f := range x.masters {
		open = open || f.Open == redisstream.Yes
	}
	named := x.target.User != "" && x.target.User != "default"
	if !open && !named {
		return
	}
	f := Finding{
		Check: "default_user", Severity: Warning, Subject: "user default",
		Summary:  "Whoever reaches the server may use it without a password",
		Evidence: "a PING without user and password was answered",
		Advice:   "Give every application a user of its own first, and the server's configuration file the same",
		Command:  x.redis("", "ACL", "SETUSER", "default", "off"),
	}
	if open {
		f.Severity = Critical
		f.Evidence += "; the server listens to other machines"
	}
	x.find(f)
}

// asGroup stands for any group in what is asked.
const asGroup = "freshet"

// lookCommands are what a look at a stream needs.
func lookCommands(stream string) [][]string {
	letters := redisstream.DeadLetterKey(stream, asGroup)
	return [][]string{
		{"XINFO", "STREAM", stream},
		{"XINFO", "GROUPS", stream},
		{"XINFO", "CONSUMERS", stream, asGroup},
		{"XPENDING", stream, asGroup},
		{"XRANGE", stream, "-", "+", "COUNT", "1"},
		{"XREVRANGE", stream, "+", "-", "COUNT", "1"},
		{"XLEN", letters},
		{"XRANGE", letters, "-", "+", "COUNT", "1"},
		{"HMGET", redisstream.StateKey(stream, asGroup), "at"},
		{"HGET", "freshet:{" + asGroup + "}:settings", "tenants"},
		{"SCAN", "0", "TYPE", "stream"},
		{"TIME"},
	}
}

func readCommand(stream string) []string {
	return []string{"XREADGROUP", "GROUP", asGroup, "c", "COUNT", "1", "STREAMS", stream, ">"}
}

// consumeCommands are what a consumer needs besides reading.
func consumeCommands(stream string) [][]string {
	letters, retries, state := redisstream.DeadLetterKey(stream, asGroup), redisstream.RetryKey(stream, asGroup), redisstream.StateKey(stream, asGroup)
	return [][]string{
		{"XACK", stream, asGroup, "1-0"},
		{"XPENDING", stream, asGroup, "-", "+", "1"},
		{"XCLAIM", stream, asGroup, "c", "0", "1-0"},
		{"XAUTOCLAIM", stream, asGroup, "c", "0", "0"},
		{"XRANGE", stream, "-", "+"},
		{"XGROUP", "CREATE", stream, asGroup, "0"},
		{"XGROUP", "CREATECONSUMER", stream, asGroup, "c"},
		{"XGROUP", "DELCONSUMER", stream, asGroup, "c"},
		{"XINFO", "STREAM", stream},
		{"XINFO", "GROUPS", stream},
		{"XINFO", "CONSUMERS", stream, asGroup},
		{"XADD", letters, "*", "f", "v"},
		{"EXISTS", retries},
		readCommand(retries),
		{"XDEL", retries, "1-0"},
		{"HSET", state, "at", "0-0"},
		{"HGETALL", state},
		{"HINCRBY", state, "total", "1"},
		{"HSETNX", "freshet:{" + asGroup + "}:settings", "tenants", "*"},
		{"EVALSHA", strings.Repeat("0", 40), "2", stream, letters},
		{"EVAL", "return 1", "2", stream, state},
		{"SCAN", "0", "TYPE", "stream"},
		{"TYPE", stream},
		{"TIME"},
	}
}

// permStreams bounds the streams for which permissions are asked.
const permStreams = 20

// permissions asks the server what the user may do. Nobody has to be allowed
// to consume; but who may read as a consumer has to be allowed the rest, or
// entries stay pending for ever.
func (x *examination) permissions(ctx context.Context) error {
	user := x.user()
	if user == "" {
		return nil
	}
	streams := []string{"credit-events"}
	if s := x.d.Snapshot; s != nil && len(s.Streams) > 0 {
		streams = nil
		for _, s := range s.Streams[:min(len(s.Streams), permStreams)] {
			streams = append(streams, s.Key)
		}
	}
	var reads [][]string
	for _, s := range streams {
		reads = append(reads, readCommand(s))
	}
	denied, err := x.client.DryRun(ctx, user, reads)
	switch {
	case x.cfg.User != "" && err != nil:
		return fmt.Errorf("permissions of user %s: %w", user, err)
	case errors.Is(err, redisstream.ErrNotAsked):
		return nil // refusals show what is missing
	case err != nil:
		return err
	}
	for n, s := range streams {
		if denied[n] == "" {
			err := x.permitted(ctx, user, s, consumeCommands(s), Critical, "may read %s as a consumer, and not all that a consumer does then: entries stay pending, or are not dead-lettered")
			if err != nil || x.foundPermission() {
				return err
			}
		}
	}
	return x.permitted(ctx, user, streams[0], lookCommands(streams[0]), Warning, "may not look at all of %s: what is wrong may not be seen")
}

func (x *examination) foundPermission() bool {
	return slices.ContainsFunc(x.d.Findings, func(f Finding) bool { return f.Check == "acl" })
}

// refused reports what the doctor was not allowed to look at, where it has not
// been told what would allow it.
func (x *examination) refused() {
	if len(x.refusals) == 0 || x.cfg.User == "" && x.foundPermission() {
		return
	}
	slices.Sort(x.refusals)
	refusals := slices.Compact(x.refusals)
	subject := "user"
	if me := x.d.Server.User; me != "" {
		subject += " " + me
	}
	x.find(Finding{
		Check: "acl", Severity: Warning, Subject: subject,
		Summary:  "Parts could not be looked at, because the user may not: what is wrong there is not seen",
		Evidence: strings.Join(refusals[:min(len(refusals), 5)], "; "),
		Advice:   "Use a user who may; docs/doctor.md has the rules of one",
		Command:  x.redis("", "ACL", "LOG"),
	})
}

// permitted reports which of the commands the user may not run.
func (x *examination) permitted(ctx context.Context, user, stream string, commands [][]string, severity Severity, summary string) error {
	reasons, err := x.client.DryRun(ctx, user, commands)
	if err != nil {
		return err
	}
	var rules, evidence []string
	for i, reason := range reasons {
		if reason == "" {
			continue
		}
		if rule := ruleFor(commands[i], reason, stream); !slices.Contains(rules, rule) {
			rules = append(rules, rule)
			evidence = append(evidence, strings.Join(commands[i][:min(2, len(commands[i]))], " "))
		}
	}
	if len(rules) == 0 {
		return nil
	}
	x.find(Finding{
		Check: "acl", Severity: severity, Subject: "user " + user,
		Summary:  fmt.Sprintf("User %s "+summary, user, stream),
		Evidence: "ACL DRYRUN refuses " + strings.Join(evidence, ", "),
		Advice:   "Allow it, as a user who administers the server",
		Command:  x.redis("", append([]string{"ACL", "SETUSER", user}, rules...)...),
	})
	return nil
}

var deniedCommand = regexp.MustCompile(`run the '([a-z|]+)' command`)

// ruleFor is the ACL rule that allows what was refused: the command, or the
// keys of the project's own, or the stream.
func ruleFor(command []string, reason, stream string) string {
	if m := deniedCommand.FindStringSubmatch(reason); m != nil {
		return "+" + m[1]
	}
	key := slices.IndexFunc(command, func(w string) bool { return strings.HasPrefix(w, "{") || strings.HasPrefix(w, "freshet:") })
	switch {
	case key < 0:
		return "~" + stream
	case strings.HasPrefix(command[key], "{"):
		return "~{*"
	}
	return "~freshet:*"
}
