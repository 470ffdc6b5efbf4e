package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/personal"
	"github.com/freshet/freshet/repair"
)

// replaying is what the flags of a replay say.
type replaying struct {
	repair.ReplayConfig
	group, file, resume string
	reveal              bool
	since, until        string // as they were given
}

func (c *cli) replayCommand() *cobra.Command {
	var r replaying
	cmd := &cobra.Command{
		Use:   "replay [PATTERN...]",
		Short: "Send events of the past to one group again, or to a file",
		Long: `Send the events of all streams that match a PATTERN (a key or a Redis glob; by
default every stream of the suite), in the order of their ids, once more to one
group and to no other, under the ids and identities that they have; or write
them to a file or to stdout, one JSON object a line, as 'freshet tail -o jsonl'
does, with the fields as they were published.

What has been published when it begins is replayed. With --resume, how far it
has got is kept in a file: the same command goes on from there, leaves nothing
out, and sends at most a hundred events again.`,
		Example: `  freshet replay --group crm-copy --since 2d --tenant acme --dry-run
  freshet replay credit-events --group billing --since 2026-01-02T15:04:05Z --until 1h --rate 200 --resume billing.replay
  freshet replay 'crm:*' --entity user/u-1 --file u-1.jsonl`,
		ValidArgs: events.Streams(),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Patterns = args
			if err := checkRate(cmd, r.Rate); err != nil {
				return err
			}
			if r.group != "" && r.file != "" {
				return usageError("--group and --file: give one of them")
			}
			if r.resume != "" && r.group == "" && r.file == "" {
				return usageError("--resume: what was written to stdout cannot be gone on with; give --group or --file")
			}
			if r.resume != "" && r.DryRun {
				return usageError("--resume and --dry-run: give one of them")
			}
			return c.replay(cmd.Context(), &r)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.group, "group", "", "send them to consumer group `GROUP`")
	flags.StringVar(&r.file, "file", "", "write them to `FILE` (default stdout)")
	flags.StringVar(&r.since, "since", "", "from `PLACE` on: "+placeUsage)
	flags.StringVar(&r.until, "until", "", "up to `PLACE`, that included")
	flags.StringArrayVar(&r.Types, "type", nil, "only events of `TYPE`, by its name in the catalogue or on the wire (may be given several times)")
	flags.StringArrayVar(&r.Tenants, "tenant", nil, "only events of `TENANT` (may be given several times)")
	flags.StringArrayVar(&r.Entities, "entity", nil, "only events about `ENTITY`: ID or TYPE/ID (may be given several times)")
	flags.Float64Var(&r.Rate, "rate", 0, "at most `N` a second (default as fast as it goes)")
	flags.BoolVar(&r.DryRun, "dry-run", false, "count, and send nothing")
	flags.StringVar(&r.resume, "resume", "", "keep in `FILE` how far it has got, and go on from there")
	flags.BoolVar(&r.reveal, "reveal", false, "do not mask personal data on a terminal")
	completeFlag(cmd, "type", typeNames)
	return cmd
}

func (c *cli) replay(ctx context.Context, r *replaying) error {
	now := time.Now()
	var err error
	if r.since != "" {
		if r.Since, err = parsePlace("--since", r.since, now); err != nil {
			return err
		}
	}
	if r.until != "" {
		if r.Until, err = parseEnd("--until", r.until, now); err != nil {
			return err
		}
	}
	progress, err := openProgress(r)
	if err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return usageError("%w", err)
	}
	if progress.Done {
		fmt.Fprintf(c.stderr, "%s says that this replay was finished: %d events sent\n", r.resume, progress.Sent)
		return nil
	}
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	if r.group == "" {
		return c.replayLines(ctx, inspector, r, progress)
	}
	return c.replayToGroup(ctx, inspector, r, progress)
}

func (c *cli) replayToGroup(ctx context.Context, inspector *inspect.Inspector, r *replaying, progress *replayProgress) error {
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	if err := c.warnUnserved(ctx, repairer, r); err != nil {
		return err
	}
	if err := progress.save(); err != nil {
		return err
	}
	before := progress.Sent
	r.After = progress.At
	r.Progress = func(result repair.ReplayResult) error {
		progress.At, progress.Sent = result.At, before+result.Sent
		return progress.save()
	}
	result, err := repairer.Replay(ctx, inspector, r.group, r.ReplayConfig)
	if err == nil && !r.DryRun {
		progress.Done = true
		err = progress.save()
	}
	shown := c.showReplayed(r, result)
	if ctx.Err() != nil || err != nil {
		c.sayWhere(r, result.At)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.Join(shown, errors.New("interrupted"))
	case err != nil:
		return errors.Join(changeError(err), shown)
	}
	return shown
}

// sayWhere says how to go on with what was cut short.
func (c *cli) sayWhere(r *replaying, at repair.Position) {
	switch {
	case r.resume != "":
		fmt.Fprintln(c.stderr, "the same command goes on from where this one has got")
	case at.ID != "":
		fmt.Fprintf(c.stderr, "all up to %s has been sent; go on with --since %s, which sends that one again\n", at.ID, at.ID)
	}
}

// warnUnserved says where nobody will handle what is sent.
func (c *cli) warnUnserved(ctx context.Context, repairer *repair.Repairer, r *replaying) error {
	patterns := r.Patterns
	if len(patterns) == 0 {
		patterns = events.Streams()
	}
	streams, err := repairer.Streams(ctx, patterns)
	if err != nil {
		return serverError(err)
	}
	unserved, err := repairer.Unserved(ctx, r.group, streams)
	if err != nil {
		return serverError(err)
	}
	for _, stream := range unserved {
		fmt.Fprintf(c.stderr, "warning: no consumer of group %s has been seen on %s lately: what is sent there waits for one\n", escape(r.group), escape(stream))
	}
	return nil
}

type replayedJSON struct {
	Group      string           `json:"group"`
	DryRun     bool             `json:"dry_run"`
	Sent       int              `json:"sent"` // in a dry run: would be
	NotDecoded int              `json:"not_decoded"`
	NotRead    int              `json:"not_read"` // of streams that the group does not read
	Gone       int              `json:"gone"`
	TooLarge   int              `json:"too_large"`
	At         *repair.Position `json:"at"` // all up to there has been sent
}

func (c *cli) showReplayed(r *replaying, result repair.ReplayResult) error {
	notRead := 0
	for _, stream := range slices.Sorted(maps.Keys(result.NotRead)) {
		notRead += result.NotRead[stream]
		fmt.Fprintf(c.stderr, "left out, because group %s does not read %s: %d\n", escape(r.group), escape(stream), result.NotRead[stream])
	}
	value := replayedJSON{
		Group: r.group, DryRun: r.DryRun, Sent: result.Sent, NotDecoded: result.NotDecoded, NotRead: notRead,
		Gone: result.Gone, TooLarge: result.TooLarge,
	}
	if result.At.ID != "" {
		value.At = &result.At
	}
	if !c.tabular() {
		return c.single(value)
	}
	sent := "SENT"
	if r.DryRun {
		sent = "WOULD SEND"
	}
	return c.show([]string{"GROUP", sent, "NOT DECODED", "NOT READ", "GONE", "TOO LARGE"}, []row{{cells: []string{
		r.group, strconv.Itoa(result.Sent), strconv.Itoa(result.NotDecoded), strconv.Itoa(notRead),
		strconv.Itoa(result.Gone), strconv.Itoa(result.TooLarge),
	}}})
}

// replayLines writes the events to a file or to stdout.
func (c *cli) replayLines(ctx context.Context, inspector *inspect.Inspector, r *replaying, progress *replayProgress) error {
	if r.DryRun {
		count := 0
		err := repair.EachReplayed(ctx, inspector, r.ReplayConfig, func(inspect.Item) error { count++; return nil })
		if err != nil {
			return serverError(err)
		}
		return c.showReplayed(r, repair.ReplayResult{Sent: count})
	}
	out, err := progress.output(r.file, c.stdout)
	if err != nil {
		return err
	}
	masked := r.file == "" && !r.reveal && isTerminal(c.stdout)
	r.After = progress.At
	err = repair.EachReplayed(ctx, inspector, r.ReplayConfig, func(i inspect.Item) error {
		line, err := encodeJSON(replayedLine(i, masked))
		if err != nil {
			return err
		}
		return out.line(line, repair.Position{ID: i.Envelope.ID, Stream: i.Envelope.Stream})
	})
	err = errors.Join(err, out.close(err == nil))
	if err != nil {
		c.sayWhere(r, progress.At)
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return serverError(err)
}

// replayedEntry is what tail shows of an entry, and its fields.
type replayedEntry struct {
	entryHead
	Data     json.RawMessage `json:"data"`
	Error    *entryError     `json:"error"` // why it does not decode
	Metadata json.RawMessage `json:"metadata"`
	Fields   [][]repair.Text `json:"fields"`
}

func replayedLine(i inspect.Item, masked bool) replayedEntry {
	e := i.Envelope
	data, metadata, fields := dataOf(e), validJSON(e.Metadata), e.Fields.List()
	if masked {
		data, metadata, fields = personal.JSON(data), personal.JSON(metadata), personal.Fields(fields)
	}
	line := replayedEntry{entryHead: headOf(e), Data: asJSON(data), Metadata: metadata, Fields: repair.Pairs(fields)}
	if i.Refusal != nil {
		line.Error = (*entryError)(i.Refusal)
	}
	return line
}
