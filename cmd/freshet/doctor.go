package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/daemon"
)

func (c *cli) doctorCommand() *cobra.Command {
	var cfg inspect.DiagnoseConfig
	var fix fixing
	limits := inspect.DefaultThresholds()
	cfg.Thresholds = &limits
	cmd := &cobra.Command{
		Use:   "doctor [PATTERN...]",
		Short: "Find what is wrong with the bus, and say what mends it",
		Long: `Find what is wrong: with the server and the permissions, with streams, groups
and consumers, with recent entries and with names. Each finding says what was
seen, since when, and the command that mends it or shows more; the worst come
first, and a verdict at the end. docs/doctor.md explains every check.

The exit code is 0 when nothing has to be done, 3 when there are findings that
are critical or warnings, and 5 when the server cannot be reached.

--fix makes the changes that are safe, after asking about each: it creates
groups that are missing, removes consumers that have piled up, and sets
maxmemory-policy to noeviction.`,
		Example: `  freshet doctor
  freshet doctor --group crm-copy --threshold lag-age=1m,10m
  freshet doctor --user crm-app --check acl
  freshet doctor --fix
  freshet doctor -o jsonl`,
		ValidArgs: events.Streams(),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Patterns, cfg.Freshet = args, c.ownCommand()
			if err := cfg.Validate(); err != nil {
				return usageError("--check: %w; there are: %s", err, strings.Join(checkNames(), ", "))
			}
			if fix.yes && !fix.wanted {
				return usageError("--yes is for --fix")
			}
			return c.doctor(cmd.Context(), cfg, fix)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&cfg.Checks, "check", nil, "report only `CHECK` (may be given several times, or names with commas between)")
	flags.StringArrayVar(&cfg.Groups, "group", nil, "`GROUP` has to be on every stream of the catalogue that there is (may be given several times)")
	flags.StringVar(&cfg.User, "user", "", "check the permissions of `USER` instead of one's own, as a user who administers the server")
	flags.Var(thresholdFlag{&limits}, "threshold", "`NAME=WARNING,CRITICAL`: from which values on a finding is a warning, or critical (may be given several times); docs/doctor.md has the names")
	fix.addFlags(cmd)
	completeFlag(cmd, "check", checkNames())
	return cmd
}

func checkNames() []string {
	var names []string
	for _, check := range inspect.Checks() {
		names = append(names, check.Name)
	}
	return names
}

// thresholdFlag is a flag that changes one of the thresholds each time that it
// is given.
type thresholdFlag struct{ t *inspect.Thresholds }

func (f thresholdFlag) Set(s string) error {
	name, levels, _ := strings.Cut(s, "=")
	warning, critical, both := strings.Cut(levels, ",")
	var names []string
	for _, t := range f.t.All() {
		names = append(names, t.Name)
		switch {
		case t.Name != name:
			continue
		case !both:
			return errors.New("must be NAME=WARNING,CRITICAL, such as stream-length=50000,100000")
		case t.Counts != nil:
			return setLevels(t.Counts, warning, critical, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
		}
		return setLevels(t.Ages, warning, critical, daemon.ParseDuration)
	}
	return fmt.Errorf("no threshold %q; there are: %s", name, strings.Join(names, ", "))
}

func setLevels[T int64 | time.Duration](l *inspect.Levels[T], warning, critical string, parse func(string) (T, error)) error {
	w, err1 := parse(warning)
	c, err2 := parse(critical)
	switch {
	case err1 != nil || err2 != nil:
		return fmt.Errorf("not two values: %q and %q", warning, critical)
	case w <= 0 || c < w:
		return errors.New("must be above 0, and the second not below the first")
	}
	l.Warning, l.Critical = w, c
	return nil
}

func (thresholdFlag) String() string { return "" }
func (thresholdFlag) Type() string   { return "threshold" }

// ownCommand is how this command was called, as far as it names the server. A
// URL may have a password in it, so that is never repeated.
func (c *cli) ownCommand() []string {
	words := []string{"freshet"}
	if c.redis != "" && !strings.Contains(c.redis, "@") {
		words = append(words, "--redis", c.redis)
	}
	for _, flag := range []struct{ name, value string }{
		{"--redis-password-file", c.passwordFile}, {"--tls-ca", c.tlsCA}, {"--tls-cert", c.tlsCert}, {"--tls-key", c.tlsKey},
	} {
		if flag.value != "" {
			words = append(words, flag.name, flag.value)
		}
	}
	return words
}

func (c *cli) doctor(ctx context.Context, cfg inspect.DiagnoseConfig, fix fixing) error {
	d, err := inspect.Diagnose(ctx, c.config("freshet"), cfg)
	if err != nil {
		return c.connectError(ctx, err)
	}
	if err := c.printDiagnosis(d); err != nil {
		return err
	}
	if fix.wanted && !d.Unreachable {
		fixed, err := c.fix(ctx, d, fix)
		if err != nil {
			return err
		}
		if fixed > 0 { // the exit code is that of what is left
			if d, err = inspect.Diagnose(ctx, c.config("freshet"), cfg); err != nil {
				return c.connectError(ctx, err)
			}
			fmt.Fprintln(c.stderr, escape(d.Verdict()))
		}
	}
	switch {
	case d.Unreachable:
		return &exitError{exitUnreachable, errors.New("the server cannot be reached")}
	case !d.Healthy():
		return &exitError{exitFindings, errors.New("something has to be done")}
	}
	return nil
}

func (c *cli) printDiagnosis(d *inspect.Diagnosis) error {
	switch {
	case c.tabular():
		return c.printFindings(d)
	case c.output == "jsonl":
		out := c.list(false)
		for _, f := range d.Findings {
			if err := out.add(findingOf(f, d), plain); err != nil {
				return err
			}
		}
		return out.close()
	}
	return c.list(true).add(diagnosisOf(d), plain)
}

// printFindings writes what people read: the findings, each with what mends it
// below, and the verdict at the end.
func (c *cli) printFindings(d *inspect.Diagnosis) error {
	out := c.list(false)
	for _, f := range d.Findings {
		style := plain
		switch f.Severity {
		case inspect.Critical:
			style = red
		case inspect.Warning:
			style = bold
		}
		heading := fmt.Sprintf("%-8s  %s: %s.", strings.ToUpper(string(f.Severity)), f.Check, f.Summary)
		if err := out.line(style, escape(heading)); err != nil {
			return err
		}
		for _, line := range []struct{ name, text string }{
			{"seen", f.Evidence}, {"since", sinceCell(f, d)}, {"do", f.Advice}, {"run", f.Command},
		} {
			if line.text == "" {
				continue
			}
			if err := out.line(plain, fmt.Sprintf("%10s%-5s  %s", "", line.name, escape(line.text))); err != nil {
				return err
			}
		}
	}
	if len(d.Findings) > 0 {
		if err := out.write("\n"); err != nil {
			return err
		}
	}
	if about := aboutServer(d.Server); about != "" {
		if err := out.line(plain, escape(about)); err != nil {
			return err
		}
	}
	style := plain
	if !d.Healthy() {
		style = bold
	}
	return out.line(style, escape(d.Verdict()))
}

func sinceCell(f inspect.Finding, d *inspect.Diagnosis) string {
	if f.Since.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s, %s", f.Since.Local().Format(timeWithZone), agoCell(f.Since, d.At))
}

const timeWithZone = "2006-01-02 15:04:05 MST"

func aboutServer(s inspect.Server) string {
	if s.Version == "" && s.User == "" {
		return ""
	}
	text := "Redis " + orDash(s.Version) + " at " + s.Name
	if s.User != "" {
		text += ", as user " + s.User
	}
	if s.Masters > 1 {
		text += fmt.Sprintf(", %d masters", s.Masters)
	}
	switch s.Replicas {
	case 0:
		text += ", no replica"
	case 1:
		text += ", 1 replica"
	default:
		text += fmt.Sprintf(", %d replicas", s.Replicas)
	}
	for _, f := range s.Features {
		if !f.Has {
			text += ", no " + f.Name
		}
	}
	return text + "."
}

type diagnosisJSON struct {
	Time        string        `json:"time"` // by the server's clock
	Verdict     string        `json:"verdict"`
	Healthy     bool          `json:"healthy"`
	Unreachable bool          `json:"unreachable"`
	Server      serverJSON    `json:"server"`
	Findings    []findingJSON `json:"findings"`
}

type serverJSON struct {
	Name       string          `json:"name"`
	Version    *string         `json:"version"`
	User       *string         `json:"user"`
	Masters    int             `json:"masters"`
	Replicas   int             `json:"replicas"`
	Features   map[string]bool `json:"features"`
	ClockAhead float64         `json:"clock_ahead_seconds"`
}

type findingJSON struct {
	Check    string  `json:"check"`
	Severity string  `json:"severity"`
	Subject  string  `json:"subject"`
	Summary  string  `json:"summary"`
	Evidence string  `json:"evidence"`
	Since    *string `json:"since"`
	ForSecs  *int64  `json:"since_seconds"`
	Advice   *string `json:"advice"`
	Command  *string `json:"command"`
	Fixable  bool    `json:"fixable"` // by --fix
}

func diagnosisOf(d *inspect.Diagnosis) diagnosisJSON {
	j := diagnosisJSON{
		Time: stamp(d.At), Verdict: d.Verdict(), Healthy: d.Healthy(), Unreachable: d.Unreachable, Findings: []findingJSON{},
		Server: serverJSON{
			Name: d.Server.Name, Version: orNull(d.Server.Version), User: orNull(d.Server.User),
			Masters: d.Server.Masters, Replicas: d.Server.Replicas, Features: map[string]bool{}, ClockAhead: seconds(d.Server.ClockAhead),
		},
	}
	for _, f := range d.Server.Features {
		j.Server.Features[f.Name] = f.Has
	}
	for _, f := range d.Findings {
		j.Findings = append(j.Findings, findingOf(f, d))
	}
	return j
}

func findingOf(f inspect.Finding, d *inspect.Diagnosis) findingJSON {
	j := findingJSON{
		Check: f.Check, Severity: string(f.Severity), Subject: f.Subject, Summary: f.Summary, Evidence: f.Evidence,
		Since: timeOrNull(f.Since), Advice: orNull(f.Advice), Command: orNull(f.Command), Fixable: f.Fix != nil,
	}
	if !f.Since.IsZero() {
		age := int64(d.At.Sub(f.Since).Seconds())
		j.ForSecs = &age
	}
	return j
}
