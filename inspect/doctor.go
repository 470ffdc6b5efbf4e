package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/connection"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/shell"
)

// Severity says how much a finding matters.
type Severity string

// The severities. Critical is what loses events, or holds them up, now. Warning
// is what will, or leaves nobody to notice. Info is worth knowing and no reason
// to act.
const (
	Critical Severity = "critical"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// severities, the worst first.
var severities = []Severity{Critical, Warning, Info}

// Finding is something that is not as it should be.
type Finding struct {
	Check    string // name of a [Check]
	Severity Severity
	Subject  string // what it is about: "server", a stream, a group
	Summary  string // one sentence, without its full stop; it begins with a capital, or a name
	Evidence string // what was seen
	Advice   string // what a person has to do, where a command is not all; or ""
	Command  string // that mends it, or shows more where only a person can; or "". It can be pasted into a shell

	// Since is when it began, as far as that can be known; zero where not.
	Since time.Time

	// Fix is what Command does, where that is safe; nil where it is not.
	Fix *Fix
}

// Fix is a change that mends a finding and takes nothing away from anybody.
// One of its groups of fields is set.
type Fix struct {
	// Setting of the server to change.
	Server, Setting, Value string // Server is a master of a cluster, or ""

	// Group to create on Stream; it begins with the entry Start, or "beginning".
	Stream, Group, Start string

	// Consumers of Group on Stream to remove: those that have been silent for so
	// long. What one of them holds is given to one that lives.
	Idle time.Duration
}

// DiagnoseConfig says what is looked at. The zero value looks at all.
type DiagnoseConfig struct {
	Patterns   []string    // of streams, as keys or Redis globs; default all of the suite
	Groups     []string    // that have to read every stream of the catalogue that there is
	User       string      // whose permissions are checked; default the one that asks
	Checks     []string    // report these alone; default all
	Thresholds *Thresholds // default [DefaultThresholds]

	// Freshet is how the freshet command is called, with the flags that name
	// the server. It begins the commands that are given. Default "freshet".
	Freshet []string
}

// Validate reports the first check that is named and does not exist.
func (c DiagnoseConfig) Validate() error {
	for _, name := range c.Checks {
		if !slices.ContainsFunc(Checks(), func(check Check) bool { return check.Name == name }) {
			return fmt.Errorf("no check %q", name)
		}
	}
	return nil
}

// Diagnosis is what the doctor found.
type Diagnosis struct {
	At          time.Time // by the server's clock, as far as it was reached
	Server      Server
	Findings    []Finding // the worst first
	Snapshot    *Snapshot // nil when the server was not reached
	Unreachable bool      // the server; the findings say why
}

// Worst returns the severity of the worst finding, "" when there is none.
func (d *Diagnosis) Worst() Severity {
	if len(d.Findings) == 0 {
		return ""
	}
	return d.Findings[0].Severity
}

// Healthy tells whether nothing has to be done.
func (d *Diagnosis) Healthy() bool {
	return !d.Unreachable && d.Worst() != Critical && d.Worst() != Warning
}

// Diagnose connects and looks at everything. Where it cannot connect, the
// findings say why. The error is that of a wrong configuration, or of ctx.
func Diagnose(ctx context.Context, server freshet.Config, cfg DiagnoseConfig) (*Diagnosis, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	target, err := redisstream.TargetOf(connection.Config(server))
	if err != nil {
		return nil, err
	}
	i, err := Open(ctx, server)
	switch {
	case err == nil:
		defer i.Close()
		return i.Diagnose(ctx, cfg)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case redisstream.ClassOf(err) == redisstream.Other && !redisstream.HandshakeFailed(err):
		return nil, err
	}
	x := examination{cfg: cfg, target: target, d: &Diagnosis{At: time.Now(), Unreachable: true}}
	x.unreachable(err)
	return x.report(), nil
}

// Diagnose looks at everything. One part that fails does not hide the others:
// it is a finding. The work is bounded, however much there is on the streams.
// The error is that of a wrong configuration, or of ctx.
func (i *Inspector) Diagnose(ctx context.Context, cfg DiagnoseConfig) (*Diagnosis, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	x := examination{Inspector: i, cfg: cfg, target: i.client.Target(), d: &Diagnosis{At: time.Now()}}
	for _, look := range []func(context.Context) error{
		x.server, x.access, x.snapshot, x.permissions, x.groups, x.entries, x.catalogue,
	} {
		err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case redisstream.ClassOf(err) == redisstream.Unreachable:
			x.d.Unreachable = true
			x.unreachable(err)
			return x.report(), nil
		case err != nil:
			x.problem(err) // and the others are looked at all the same
		}
	}
	x.refused()
	return x.report(), nil
}

// examination is one run of the doctor.
type examination struct {
	*Inspector
	cfg    DiagnoseConfig
	target redisstream.Target
	d      *Diagnosis

	masters  []redisstream.Facts // of the server, once they were asked
	refusals []string            // to look, for want of permission
}

func (x *examination) find(f Finding) { x.d.Findings = append(x.d.Findings, f) }

// limits are the thresholds asked for.
func (x *examination) limits() Thresholds {
	if x.cfg.Thresholds == nil {
		return DefaultThresholds()
	}
	return *x.cfg.Thresholds
}

// freshet is a command of the project, and redis one of the server at addr.
func (x *examination) freshet(args ...string) string {
	words := x.cfg.Freshet
	if len(words) == 0 {
		words = []string{"freshet"}
	}
	return shell.Command(slices.Concat(words, args)...)
}

func (x *examination) redis(addr string, args ...string) string {
	return shell.Command(slices.Concat(x.target.RedisCLI(addr), args)...)
}

// report sorts the findings, and leaves out those that were not asked for.
func (x *examination) report() *Diagnosis {
	d := x.d
	if len(x.cfg.Checks) > 0 {
		d.Findings = slices.DeleteFunc(d.Findings, func(f Finding) bool { return !slices.Contains(x.cfg.Checks, f.Check) })
	}
	order := map[string]int{}
	for n, check := range Checks() {
		order[check.Name] = n
	}
	slices.SortStableFunc(d.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
			cmp.Compare(order[a.Check], order[b.Check]),
			strings.Compare(a.Subject, b.Subject),
		)
	})
	return d
}
