package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/personal"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/repair"
)

func (c *cli) eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Find an event and show its way",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.eventsGetCommand())
	return cmd
}

// finding is what the flags of a search say.
type finding struct {
	inspect.FindConfig
	since, until string
	replica      string
	reveal       bool
	raw          bool
}

func (f *finding) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.Patterns, "stream", nil, "only on `STREAM`, a key or a Redis glob (may be given several times; default all streams of the suite)")
	flags.Int64Var(&f.Limit, "limit", 100_000, "look at `N` entries of each stream, at most")
	flags.StringVar(&f.since, "since", "", "only from `TIME` on: "+timeUsage)
	flags.StringVar(&f.until, "until", "", "only up to `TIME`")
}

const timeUsage = "2026-01-02T15:04:05Z, '2026-01-02 15:04', or how long ago, such as 15m or 2d"

func (f *finding) parse(now time.Time) error {
	if f.Limit <= 0 {
		return usageError("--limit %d: must be positive", f.Limit)
	}
	for _, bound := range []struct {
		flag, text string
		at         *time.Time
	}{{"--since", f.since, &f.Since}, {"--until", f.until, &f.Until}} {
		if bound.text == "" {
			continue
		}
		at, ok := parseTime(bound.text, now)
		if !ok {
			return usageError("%s %q: must be %s", bound.flag, bound.text, timeUsage)
		}
		*bound.at = at
	}
	return nil
}

func (c *cli) eventsGetCommand() *cobra.Command {
	var f finding
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Show an event, and what has become of it in every group",
		Long: `Show the event that ID names: the id of an entry ("1735987200000-0", or
"STREAM/1735987200000-0"), or an id of the event itself, on whatever stream it
is. It shows what became of it in each group, who acknowledged it, and with
--replica the rows that it wrote. When ID names several entries, all are shown.

An entry's id is looked up. Another one is searched for: first about the time
that it tells (UUIDv7, evt_TIME_…), then back from the newest entries, as far as
--limit says.

Personal data is masked unless --reveal is given, or the output is jsonl to a
file or pipe.`,
		Example: `  freshet events get 1735987200000-0
  freshet events get evt_1735987200000_abc --raw --reveal
  freshet events get 019408f2-3a5c-7d11-9c5e-0a1b2c3d4e5f --replica sqlite://suite.db -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.parse(time.Now()); err != nil {
				return err
			}
			return c.eventsGet(cmd.Context(), args[0], &f)
		},
	}
	f.addFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.raw, "raw", false, "show the fields as they were published, too")
	flags.BoolVar(&f.reveal, "reveal", false, "do not mask personal data")
	flags.StringVar(&f.replica, "replica", "", "look for the rows that it wrote in the copy `URL`: sqlite://FILE")
	return cmd
}

// followed is an event and its way.
type followed struct {
	inspect.Item
	ways    []inspect.Way
	acks    []inspect.Ack
	acksCut bool // not all that may be acknowledgments were looked at
	rows    []writtenRow
}

func (c *cli) eventsGet(ctx context.Context, id string, f *finding) error {
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	search, err := inspector.FindEvents(ctx, id, f.FindConfig)
	if err != nil {
		return serverError(err)
	}
	c.reportSearch(search)
	items, err := c.withRedriven(ctx, inspector, search.Found, id, f)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		if items, err = c.amongDeadLetters(ctx, inspector, id, f); err != nil {
			return err
		}
	}
	if len(items) == 0 {
		return notFoundError("no event %q", id)
	}
	ways, problems, err := inspector.Ways(ctx, items, f.Limit)
	if err != nil {
		return serverError(err)
	}
	c.warnOf(problems)
	all := make([]followed, len(items))
	for i, item := range items {
		all[i] = followed{Item: item, ways: ways[i]}
		if all[i].acks, all[i].acksCut, err = inspector.Acknowledgments(ctx, item.Envelope, f.Limit); err != nil {
			return serverError(err)
		}
		if f.replica != "" {
			if all[i].rows, err = rowsOf(ctx, f.replica, item.Envelope.Identity); err != nil {
				return err
			}
		}
	}
	return c.showFollowed(all, f)
}

// reportSearch says what was not looked at.
func (c *cli) reportSearch(search *inspect.Search) {
	c.warnOf(search.Problems)
	for _, s := range search.Stopped {
		fmt.Fprintf(c.stderr, "not looked at: entries of %s before %s; see --limit, --since and --until\n", escape(s.Stream), s.ID)
	}
}

// withRedriven adds what was redriven: to which groups, and the events that were
// not found on their streams.
func (c *cli) withRedriven(ctx context.Context, inspector *inspect.Inspector, items []inspect.Item, id string, f *finding) ([]inspect.Item, error) {
	search, err := inspector.FindRedriven(ctx, id, f.FindConfig)
	if err != nil {
		return nil, serverError(err)
	}
	c.reportSearch(search)
	for _, item := range search.Found {
		n := slices.IndexFunc(items, func(i inspect.Item) bool {
			return i.Envelope.Stream == item.Envelope.Stream && i.Envelope.ID == item.Envelope.ID
		})
		if n >= 0 {
			items[n].RedrivenTo = append(items[n].RedrivenTo, item.RedrivenTo...)
			continue
		}
		items = append(items, item)
		fmt.Fprintf(c.stderr, "%s was not found on its stream; it is shown as it was redriven\n", escape(item.Envelope.Stream+"/"+item.Envelope.ID))
	}
	return items, nil
}

// amongDeadLetters looks for an event that has gone from its stream.
func (c *cli) amongDeadLetters(ctx context.Context, inspector *inspect.Inspector, id string, f *finding) (items []inspect.Item, err error) {
	letters, err := inspector.FindDeadLetters(ctx, inspect.DeadLetterSelection{}, id)
	if err != nil {
		return nil, serverError(err)
	}
	seen := map[string]bool{}
	for _, l := range letters {
		name := l.Stream + "/" + l.Envelope.ID
		if l.Foreign || seen[name] || len(f.Patterns) > 0 && !redisstream.Matches(f.Patterns, l.Stream) {
			continue
		}
		seen[name] = true
		items = append(items, inspect.Item{Envelope: l.Envelope, Refusal: l.Refusal})
		fmt.Fprintf(c.stderr, "%s has gone from the stream; it is shown as a dead letter has it\n", escape(name))
	}
	return items, nil
}

func (c *cli) showFollowed(all []followed, f *finding) error {
	masked := !f.reveal && (c.output != "jsonl" || isTerminal(c.stdout))
	if c.tabular() {
		for i, e := range all {
			if i > 0 {
				fmt.Fprintln(c.stdout)
			}
			if _, err := fmt.Fprint(c.stdout, followedText(e, masked, f)); err != nil {
				return err
			}
		}
		return nil
	}
	out := c.list(false)
	for _, e := range all {
		if err := out.add(followedOf(e, masked, f), plain); err != nil {
			return err
		}
	}
	return out.close()
}

func followedText(f followed, masked bool, flags *finding) string {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%-14s%s\n", name, escape(orDash(value))) }
	e := f.Envelope
	data, metadata, fields := dataOf(e), validJSON(e.Metadata), e.Fields.List()
	if masked {
		data, metadata, fields = personal.JSON(data), personal.JSON(metadata), personal.Fields(fields)
	}
	line("STREAM", e.Stream)
	line("ENTRY", e.ID)
	line("TYPE", typeCell(e))
	line("IDENTITY", e.Identity)
	line("TENANT", e.Tenant)
	line("ENTITY", strings.Trim(e.Entity.Type+"/"+e.Entity.ID, "/"))
	line("TIME", timeCell(e.Time))
	line("SOURCE", e.Source)
	line("CORRELATION", e.CorrelationID)
	if f.Refusal != nil {
		line("NOT DECODED", f.Refusal.Reason+": "+f.Refusal.Detail)
	}
	line("DATA", compact(asJSON(data)))
	line("METADATA", compact(metadata))
	if flags.raw {
		b.WriteString("\nFIELDS\n")
		for _, field := range fields {
			fmt.Fprintf(&b, "  %s: %s\n", escape(field.Name), escape(field.Value))
		}
	}
	b.WriteString("\nGROUPS\n")
	if len(f.ways) == 0 {
		b.WriteString("  none reads the stream\n")
	}
	for _, w := range f.ways {
		fmt.Fprintf(&b, "  %s\n", escape(w.Group+": "+wayCell(w)))
	}
	b.WriteString("\nACKNOWLEDGMENTS\n")
	switch {
	case f.acksCut:
		b.WriteString("  not looked at further; see --limit\n")
	case len(f.acks) == 0:
		b.WriteString("  none\n")
	}
	for _, a := range f.acks {
		fmt.Fprintf(&b, "  %s\n", escape(strings.TrimSpace(fmt.Sprintf("%s %s %s", a.Envelope.ID, a.Status, sourceOf(a)))))
	}
	if flags.replica != "" {
		b.WriteString("\nROWS\n")
		if len(f.rows) == 0 {
			b.WriteString("  none says that it was written by this event; newer events may have written over it\n")
		}
		for _, r := range f.rows {
			fmt.Fprintf(&b, "  %s\n", escape(r.Table+" "+compact(r.json(masked))))
		}
	}
	return b.String()
}

func sourceOf(a inspect.Ack) string {
	if a.Envelope.Source == "" {
		return ""
	}
	return "by " + a.Envelope.Source
}

// wayCell says in a line what has become of an event in a group.
func wayCell(w inspect.Way) string {
	text := map[inspect.State]string{
		inspect.Unread:       "not delivered yet",
		inspect.Redriven:     "redriven, waits for a consumer",
		inspect.Settled:      "settled",
		inspect.Trimmed:      "removed from the stream before it was settled",
		inspect.DeadLettered: "dead letter",
	}[w.State]
	switch w.State {
	case inspect.Pending, inspect.Retrying:
		text = fmt.Sprintf("pending at %s for %s, attempt %d", w.Consumer, span(w.Idle), w.Deliveries)
		if w.State == inspect.Retrying {
			text = "redriven, " + text
		}
	case inspect.DeadLettered:
		text = fmt.Sprintf("dead letter %s, %s after %d attempts", w.Letter.ID, orDash(w.Letter.Reason), w.Letter.Attempts)
		if w.Letter.Error != "" {
			text += ": " + w.Letter.Error
		}
	}
	if w.Partly {
		text += " (or a dead letter or redriven: there are more than were looked at)"
	}
	return text
}

// followedJSON is an event and its way in the JSON formats.
type followedJSON struct {
	entryHead
	CorrelationID *string         `json:"correlation_id"`
	Data          json.RawMessage `json:"data"`
	Error         *entryError     `json:"error"` // why it does not decode
	Metadata      json.RawMessage `json:"metadata"`
	Fields        [][]repair.Text `json:"fields"` // null without --raw
	Groups        []wayJSON       `json:"groups"`
	Acks          []ackJSON       `json:"acknowledgments"`
	AcksPartly    bool            `json:"acknowledgments_partly"`
	Rows          []writtenRow    `json:"rows"` // null without --replica
}

type wayJSON struct {
	Group      string      `json:"group"`
	State      string      `json:"state"`
	Consumer   *string     `json:"consumer"`
	Idle       *float64    `json:"idle_seconds"`
	Deliveries *int64      `json:"deliveries"`
	DeadLetter *letterJSON `json:"dead_letter"`
	Partly     bool        `json:"partly"`
}

type ackJSON struct {
	ID     string  `json:"id"`
	Status string  `json:"status"`
	Source *string `json:"source"`
}

func followedOf(f followed, masked bool, flags *finding) followedJSON {
	e := f.Envelope
	data, metadata, fields := dataOf(e), validJSON(e.Metadata), e.Fields.List()
	if masked {
		data, metadata, fields = personal.JSON(data), personal.JSON(metadata), personal.Fields(fields)
	}
	value := followedJSON{
		entryHead: headOf(e), CorrelationID: orNull(e.CorrelationID), Data: asJSON(data), Metadata: metadata,
		Groups: waysOf(f.ways), Acks: []ackJSON{}, AcksPartly: f.acksCut,
	}
	if f.Refusal != nil {
		value.Error = (*entryError)(f.Refusal)
	}
	if flags.raw {
		value.Fields = repair.Pairs(fields)
	}
	for _, a := range f.acks {
		value.Acks = append(value.Acks, ackJSON{a.Envelope.ID, a.Status, orNull(a.Envelope.Source)})
	}
	if flags.replica != "" {
		value.Rows = []writtenRow{}
		for _, r := range f.rows {
			value.Rows = append(value.Rows, writtenRow{r.Table, r.json(masked)})
		}
	}
	return value
}

func waysOf(ways []inspect.Way) []wayJSON {
	list := make([]wayJSON, len(ways))
	for i, w := range ways {
		list[i] = wayJSON{Group: w.Group, State: string(w.State), Consumer: orNull(w.Consumer), Partly: w.Partly}
		if w.State == inspect.Pending || w.State == inspect.Retrying {
			idle, deliveries := seconds(w.Idle), w.Deliveries
			list[i].Idle, list[i].Deliveries = &idle, &deliveries
		}
		if w.Letter != nil {
			letter := deadLetterEvent(w.Letter, nil, nil).DeadLetter
			list[i].DeadLetter = &letter
		}
	}
	return list
}
