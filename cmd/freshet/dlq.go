package main

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/shell"
	"github.com/freshet/freshet/repair"
)

func (c *cli) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters, and redrive, drop, export or import them",
		Long: `Dead letters are the events that a group could not handle. They are kept, as
they were and with the reason, in {STREAM}:dlq:GROUP until they are redriven to
their group or dropped.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.dlqListCommand(), c.dlqShowCommand(), c.dlqRedriveCommand(), c.dlqDropCommand(), c.dlqExportCommand(), c.dlqImportCommand())
	return cmd
}

func (c *cli) dlqListCommand() *cobra.Command {
	var sel selection
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters, those that failed alike together",
		Long: `List dead letters by stream, group, reason and error, the most frequent first.
What differs between errors of one cause, such as ids and times, is left out.
EXAMPLE is the id of one of them, for 'freshet dlq show'.`,
		Example: `  freshet dlq ls
  freshet dlq ls --group crm-copy --reason max_attempts -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.dlqList(cmd.Context(), sel)
		},
	}
	sel.addFlags(cmd)
	return cmd
}

func (c *cli) dlqList(ctx context.Context, sel selection) error {
	var clusters inspect.DeadLetterClusters
	err := c.eachDeadLetter(ctx, sel, func(l *inspect.DeadLetter) error {
		clusters.Add(l)
		return nil
	})
	if err != nil {
		return err
	}
	out := c.list(false, "COUNT", "GROUP", "STREAM", "REASON", "FIRST SEEN", "LAST SEEN", "EXAMPLE", "ERROR")
	out.lesser = []string{"FIRST SEEN", "LAST SEEN"} // an example is what one goes on with
	list := clusters.List()
	rows := make([][]string, len(list))
	for i, cluster := range list {
		rows[i] = []string{
			fmt.Sprint(cluster.Count), cluster.Group, cluster.Stream, orDash(cluster.Reason),
			timeCell(cluster.FirstSeen), timeCell(cluster.LastSeen), cluster.Example, orDash(cluster.Error),
		}
		for k, cell := range rows[i] {
			out.widths[k] = max(out.widths[k], utf8.RuneCountInString(escape(cell)))
		}
	}
	if len(list) > 0 {
		out.fit()
	} else if err := c.reportNone(ctx, sel); err != nil {
		return err
	}
	for i, cluster := range list {
		if err := out.add(clusterJSON{
			Stream: cluster.Stream, Group: cluster.Group, Reason: orNull(cluster.Reason), Error: orNull(cluster.Error),
			Count: cluster.Count, FirstSeen: timeOrNull(cluster.FirstSeen), LastSeen: timeOrNull(cluster.LastSeen), Example: cluster.Example,
		}, plain, rows[i]...); err != nil {
			return err
		}
	}
	return out.close()
}

// reportNone tells people who got no dead letters whether there are none, or none
// that they selected.
func (c *cli) reportNone(ctx context.Context, sel selection) error {
	if !c.tabular() {
		return nil
	}
	stored := 0
	if !sel.empty() {
		if err := c.eachDeadLetter(ctx, selection{}, func(*inspect.DeadLetter) error { stored++; return nil }); err != nil {
			return err
		}
	}
	switch stored {
	case 0:
		fmt.Fprintln(c.stderr, "no dead letters")
	case 1:
		fmt.Fprintln(c.stderr, "the only dead letter does not match")
	default:
		fmt.Fprintf(c.stderr, "none of the %d dead letters matches\n", stored)
	}
	return nil
}

type clusterJSON struct {
	Stream    string  `json:"stream"`
	Group     string  `json:"group"`
	Reason    *string `json:"reason"`
	Error     *string `json:"error"`
	Count     int     `json:"count"`
	FirstSeen *string `json:"first_seen"`
	LastSeen  *string `json:"last_seen"`
	Example   string  `json:"example"`
}

// selection is what the flags say about which dead letters are meant.
type selection struct {
	inspect.DeadLetterSelection
	jq string
}

func (s *selection) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&s.Streams, "stream", nil, "only of `STREAM`, the key that the events were published on (may be given several times)")
	flags.StringArrayVar(&s.Groups, "group", nil, "only of consumer group `GROUP` (may be given several times)")
	flags.StringArrayVar(&s.Reasons, "reason", nil, "only those with `REASON` (may be given several times)")
	flags.StringArrayVar(&s.Types, "type", nil, "only events of `TYPE`, by its name in the catalogue or on the wire (may be given several times)")
	flags.StringArrayVar(&s.Tenants, "tenant", nil, "only events of `TENANT` (may be given several times)")
	flags.StringArrayVar(&s.Entities, "entity", nil, "only events about `ENTITY`: ID or TYPE/ID (may be given several times)")
	flags.StringVar(&s.jq, "jq", "", "only those for which the jq `EXPRESSION` is true, over what 'dlq show -o json' prints")
	completeFlag(cmd, "type", typeNames)
}

// empty tells whether the flags select all.
func (s *selection) empty() bool {
	return len(s.Streams)+len(s.Groups)+len(s.Reasons)+len(s.Types)+len(s.Tenants)+len(s.Entities) == 0 && s.jq == ""
}

// compile completes the selection by its jq expression.
func (s *selection) compile(ctx context.Context) (err error) {
	if s.jq != "" {
		s.Match, err = jqMatch(ctx, s.jq)
	}
	return err
}

// eachDeadLetter calls show with the dead letters that are selected.
func (c *cli) eachDeadLetter(ctx context.Context, sel selection, show func(*inspect.DeadLetter) error) error {
	if err := sel.compile(ctx); err != nil {
		return err
	}
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	return serverError(inspector.DeadLetters(ctx, sel.DeadLetterSelection, show))
}

// findDeadLetter returns the one dead letter among those selected that id means
// to the command of that name.
func (c *cli) findDeadLetter(ctx context.Context, command string, sel selection, id string) (*inspect.DeadLetter, error) {
	if err := sel.compile(ctx); err != nil {
		return nil, err
	}
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return nil, c.connectError(ctx, err)
	}
	defer inspector.Close()
	found, err := inspector.FindDeadLetters(ctx, sel.DeadLetterSelection, id)
	found = ownFirst(id, found)
	switch {
	case err != nil:
		return nil, serverError(err)
	case len(found) == 0:
		return nil, notFoundError("no dead letter %q: give the id of a dead letter, of its original entry or of its event", id)
	case len(found) > 1:
		return nil, c.ambiguous(command, id, found)
	}
	return found[0], nil
}

// ownFirst prefers, among the dead letters of one group on one stream, the one
// whose own id it is: those are unique there, and nowhere else.
func ownFirst(id string, found []*inspect.DeadLetter) []*inspect.DeadLetter {
	var own *inspect.DeadLetter
	for _, l := range found {
		if l.Stream != found[0].Stream || l.Group != found[0].Group {
			return found
		}
		if l.ID == id {
			own = l
		}
	}
	if own == nil {
		return found
	}
	return []*inspect.DeadLetter{own}
}

// ambiguous lists what an id may mean, each with the command that means it.
func (c *cli) ambiguous(command, id string, found []*inspect.DeadLetter) error {
	const most = 20
	list := ""
	for i, l := range found {
		if i == most {
			list += fmt.Sprintf("\n  and %d more", len(found)-most)
			break
		}
		words := append(c.ownCommand(), "dlq", command, l.ID, "--stream", l.Stream, "--group", l.Group)
		list += fmt.Sprintf("\n  entry %s, %s: %s", orDash(l.EntryID), orDash(l.Reason), shell.Command(words...))
	}
	return usageError("%q means %d dead letters; name one:%s", id, len(found), list)
}

func (c *cli) openRepairer(ctx context.Context) (*repair.Repairer, error) {
	repairer, err := repair.Open(ctx, c.config("freshet"))
	if err != nil {
		return nil, c.connectError(ctx, err)
	}
	return repairer, nil
}

// serverError gives the loss of the server its exit code.
func serverError(err error) error {
	if redisstream.ClassOf(err) == redisstream.Unreachable {
		return &exitError{exitUnreachable, err}
	}
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// timeCell is a time in UTC, and says so: places without a zone are local.
func timeCell(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(zonedTime)
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return orNull(t.Format("2006-01-02T15:04:05.000Z07:00"))
}
