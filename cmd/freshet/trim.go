package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/shell"
	"github.com/freshet/freshet/repair"
)

func (c *cli) trimCommand() *cobra.Command {
	var cfg repair.TrimConfig
	cmd := &cobra.Command{
		Use:   "trim --older-than AGE",
		Short: "Remove old entries that every group has settled",
		Long: `Remove entries that are older than AGE, by their ids and the server's clock, and
that every group of their stream has settled. What a group has not settled
stays, and the group is named. A stream that no group reads is trimmed by age
alone. Dead letters are never removed.`,
		Example: `  freshet trim --older-than 30d --dry-run
  freshet trim --older-than 30d
  freshet trim --older-than 7d --streams 'crm:*,credit-events' -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.OlderThan <= 0 {
				return usageError("--older-than: give the age from which on entries may go, such as 30d")
			}
			return c.trim(cmd.Context(), cfg)
		},
	}
	flags := cmd.Flags()
	flags.Var(durationFlag{&cfg.OlderThan}, "older-than", "remove entries older than `AGE`, such as 30d or 36h")
	flags.StringSliceVar(&cfg.Streams, "streams", nil, "trim these `PATTERNS`: keys or Redis globs, comma-separated (default all streams of the suite)")
	flags.BoolVar(&cfg.DryRun, "dry-run", false, "count what would be removed, and remove nothing")
	return cmd
}

func (c *cli) trim(ctx context.Context, cfg repair.TrimConfig) error {
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	report, err := repairer.Trim(ctx, cfg)
	if err := errors.Join(c.printTrimmed(report.Streams, cfg.DryRun), serverError(err)); err != nil {
		return err
	}
	c.reportUnmatched(cfg.Streams, report.Streams)
	for _, w := range trimWarnings(report) {
		fmt.Fprintln(c.stderr, "warning:", escapeLines(w.text))
	}
	return trimError(report.Streams)
}

// reportUnmatched names the patterns that no stream matches.
func (c *cli) reportUnmatched(patterns []string, streams []repair.TrimmedStream) {
	for _, p := range patterns {
		matches := func(s repair.TrimmedStream) bool { return redisstream.Matches([]string{p}, s.Stream) }
		if !slices.ContainsFunc(streams, matches) {
			fmt.Fprintln(c.stderr, "no stream matches", escape(p))
		}
	}
	if len(patterns)+len(streams) == 0 {
		fmt.Fprintln(c.stderr, "there are no streams of the suite")
	}
}

// trimError is the error of a trim in which streams failed, each of which the
// output names.
func trimError(streams []repair.TrimmedStream) error {
	var failed, missing int
	var first error
	for _, s := range streams {
		switch {
		case s.Err == nil:
			continue
		case redisstream.ClassOf(s.Err) == redisstream.Unreachable:
			return &exitError{exitUnreachable, s.Err}
		case errors.Is(s.Err, repair.ErrNoStream):
			missing++
		}
		failed++
		if first == nil {
			first = s.Err
		}
	}
	switch {
	case failed == 0:
		return nil
	case missing == failed:
		return notFoundError("%w", first)
	case failed == 1:
		return first
	}
	return fmt.Errorf("%d streams failed, the first: %w", failed, first)
}

func (c *cli) printTrimmed(streams []repair.TrimmedStream, dryRun bool) error {
	removed := "REMOVED"
	if dryRun {
		removed = "WOULD GO"
	}
	out := c.list(false, "STREAM", "LENGTH", removed, "OLDEST LEFT", "AGE", "HELD BACK BY")
	rows := make([][]string, len(streams))
	for i, s := range streams {
		rows[i] = []string{s.Stream, number(s.Length), number(s.Removed), orDash(s.Oldest.ID), ageCell(s.Oldest), heldCell(s)}
		for k, cell := range rows[i] {
			out.widths[k] = max(out.widths[k], utf8.RuneCountInString(escape(cell)))
		}
	}
	out.fit()
	for i, s := range streams {
		style := plain
		if s.Err != nil {
			style = red
		}
		if err := out.add(trimmedOf(s, dryRun), style, rows[i]...); err != nil {
			return err
		}
	}
	return out.close()
}

// heldCell names the group that holds most back, with how long.
func heldCell(s repair.TrimmedStream) string {
	switch {
	case s.Err != nil:
		return "failed: " + s.Err.Error()
	case len(s.Holding) > 0:
		h := s.Holding[0]
		cell := fmt.Sprintf("%s: %s since %s, %s", h.Group, stateOf(h), h.Lowest.ID, ageCell(h.Lowest))
		if !h.Served() {
			cell += ", nobody serves it"
		}
		if more := len(s.Holding) - 1; more > 0 {
			cell += fmt.Sprintf(" (and %d more)", more)
		}
		return cell
	case s.Groups == 0:
		return "- (no group reads it)"
	}
	return "-"
}

func stateOf(h repair.Hold) string {
	switch {
	case h.Gone:
		return "gone"
	case h.Pending:
		return "pending"
	}
	return "unread"
}

// ageCell is an age in the one unit that says enough.
func ageCell(a repair.Age) string {
	if a.ID == "" {
		return "-"
	}
	return roughly(a.Age)
}

func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

type trimmedJSON struct {
	Stream  string     `json:"stream"`
	Length  int64      `json:"length"` // before
	Removed int64      `json:"removed"`
	DryRun  bool       `json:"dry_run"`
	Oldest  *ageJSON   `json:"oldest"` // that is left
	Groups  int        `json:"groups"`
	Holding []holdJSON `json:"held_back_by"`
	Error   *string    `json:"error"`
}

type ageJSON struct {
	ID      string  `json:"id"`
	Seconds float64 `json:"age_seconds"`
}

type holdJSON struct {
	Group     string   `json:"group"`
	Lowest    ageJSON  `json:"lowest_unsettled"`
	State     string   `json:"state"` // pending, unread, or gone
	Served    bool     `json:"served"`
	Consumers int      `json:"consumers"`
	LastSeen  *float64 `json:"last_seen_seconds"`
}

func trimmedOf(s repair.TrimmedStream, dryRun bool) trimmedJSON {
	row := trimmedJSON{Stream: s.Stream, Length: s.Length, Removed: s.Removed, DryRun: dryRun, Groups: s.Groups, Holding: []holdJSON{}}
	if s.Oldest.ID != "" {
		row.Oldest = &ageJSON{s.Oldest.ID, s.Oldest.Age.Seconds()}
	}
	for _, h := range s.Holding {
		hold := holdJSON{Group: h.Group, Lowest: ageJSON{h.Lowest.ID, h.Lowest.Age.Seconds()}, State: stateOf(h), Served: h.Served(), Consumers: h.Consumers}
		if h.Consumers > 0 {
			seconds := h.LastSeen.Seconds()
			hold.LastSeen = &seconds
		}
		row.Holding = append(row.Holding, hold)
	}
	if s.Err != nil {
		row.Error = orNull(s.Err.Error())
	}
	return row
}

// warning is what an operator should see to. Warnings of one cause differ in
// their text at most by what time brings.
type warning struct{ cause, text string }

// trimWarnings says which groups hold entries back, which streams nobody
// reads, and which servers are near their memory cap.
func trimWarnings(report repair.TrimReport) []warning {
	var all []warning
	held := map[string]string{}
	for _, s := range report.Streams {
		if s.Groups == 0 && s.Err == nil && s.Length > 0 {
			all = append(all, warning{"no group " + s.Stream, fmt.Sprintf("no group reads %s: its entries go by age alone", s.Stream)})
		}
		for _, h := range s.Holding {
			held[s.Stream] = ", held back by group " + s.Holding[0].Group
			all = append(all, holdWarning(s.Stream, h))
		}
	}
	var largest []string
	for _, l := range report.Largest {
		largest = append(largest, fmt.Sprintf("%s (%s%s)", l.Stream, bytesCell(l.Bytes), held[l.Stream]))
	}
	for _, m := range report.Memory {
		then := "it will delete keys, which may be whole streams with unread events"
		if m.Policy == "noeviction" {
			then = "it will refuse what is published"
		}
		text := fmt.Sprintf("%s uses %s of the %s that its maxmemory allows; when that is full, %s (maxmemory-policy %s): give it more memory, or keep less",
			serverName(m.Server), bytesCell(m.Used), bytesCell(m.Max), then, m.Policy)
		if len(largest) > 0 {
			text += ". The largest streams: " + strings.Join(largest, ", ")
		}
		all = append(all, warning{"memory " + m.Server, text})
	}
	return all
}

// holdWarning names a group that keeps old entries, and what to do.
func holdWarning(stream string, h repair.Hold) warning {
	if h.Gone {
		return warning{"gone " + stream + " " + h.Group, fmt.Sprintf(
			"group %s of %s was destroyed, and is created again when its consumer comes: what it has not read stays, since %s, %s ago. Where it was removed on purpose, have that forgotten: %s",
			h.Group, stream, h.Lowest.ID, ageCell(h.Lowest), shell.Command("redis-cli", "DEL", redisstream.StateKey(stream, h.Group)))}
	}
	text := fmt.Sprintf("group %s keeps entries of %s from being removed: %s since %s, %s ago", h.Group, stream, stateOf(h), h.Lowest.ID, ageCell(h.Lowest))
	if h.Served() {
		return warning{"behind " + stream + " " + h.Group, text + "; its consumers are behind"}
	}
	silent := "it has no consumer"
	if h.Consumers > 0 {
		silent = "its consumers have been silent for " + roughly(h.LastSeen)
	}
	return warning{"unserved " + stream + " " + h.Group, fmt.Sprintf(
		"%s, and nobody serves the group: %s. Run a consumer of that group or, if it is a leftover, remove it: %s",
		text, silent, shell.Command("freshet", "groups", "delete", stream, h.Group))}
}

func bytesCell(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
