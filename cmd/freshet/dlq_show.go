package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/personal"
	"github.com/freshet/freshet/repair"
)

func (c *cli) dlqShowCommand() *cobra.Command {
	var sel selection
	var reveal bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a dead letter: the event, its fields, and why it failed",
		Long: `Show the dead letter that ID names: its own id, that of the original entry, or
that of the event. When several are meant, they are listed, each with the command
that shows it.

Personal data is masked unless --reveal is given, or the output is jsonl to a
file or pipe.`,
		Example: `  freshet dlq show 1735987200000-0
  freshet dlq show evt_1735987200000_abc --group crm-copy --reveal -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			letter, err := c.findDeadLetter(cmd.Context(), "show", sel, args[0])
			if err != nil {
				return err
			}
			return c.dlqShow(letter, !reveal && (c.output != "jsonl" || isTerminal(c.stdout)))
		},
	}
	sel.addFlags(cmd)
	cmd.Flags().BoolVar(&reveal, "reveal", false, "do not mask personal data")
	return cmd
}

func (c *cli) dlqShow(l *inspect.DeadLetter, masked bool) error {
	data, metadata, fields := dataOf(l.Envelope), validJSON(l.Envelope.Metadata), l.Envelope.Fields.List()
	if masked {
		data, metadata, fields = personal.JSON(data), personal.JSON(metadata), personal.Fields(fields)
	}
	if !c.tabular() {
		out := c.list(true)
		event := deadLetterEvent(l, asJSON(data), metadata)
		if err := out.add(shownLetter{event, repair.Pairs(fields)}, plain); err != nil {
			return err
		}
		return out.close()
	}
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%-14s%s\n", name, escape(orDash(value))) }
	e := l.Envelope
	row("DEAD LETTER", l.ID)
	row("GROUP", l.Group)
	row("STREAM", l.Stream)
	row("ENTRY", l.EntryID)
	row("REASON", l.Reason)
	row("ERROR", l.Error)
	row("FIELD", l.Field)
	row("ATTEMPTS", strconv.Itoa(l.Attempts))
	row("CONSUMER", l.Consumer)
	row("FIRST FAILED", timeCell(l.FirstFailed))
	row("LAST FAILED", timeCell(l.LastFailed))
	if l.Refusal != nil {
		row("NOT DECODED", l.Refusal.Reason+": "+l.Refusal.Detail)
	}
	row("TYPE", typeCell(e))
	row("IDENTITY", e.Identity)
	row("TENANT", e.Tenant)
	row("ENTITY", strings.Trim(e.Entity.Type+"/"+e.Entity.ID, "/"))
	row("DATA", compact(asJSON(data)))
	row("METADATA", compact(metadata))
	b.WriteString("\nFIELDS\n")
	for _, f := range fields {
		fmt.Fprintf(&b, "  %s: %s\n", escape(f.Name), escape(f.Value))
	}
	_, err := io.WriteString(c.stdout, b.String())
	return err
}

// shownLetter is a dead letter in the JSON formats: the event as tail shows
// it, what is known of its failure, and the original's fields.
type shownLetter struct {
	letterEvent
	Fields [][]repair.Text `json:"fields"`
}

// letterEvent is what jq expressions are asked about.
type letterEvent struct {
	entryHead
	Data       json.RawMessage `json:"data"`
	Metadata   json.RawMessage `json:"metadata"`
	DeadLetter letterJSON      `json:"dead_letter"`
}

type letterJSON struct {
	ID          string      `json:"id"`
	Group       string      `json:"group"`
	Consumer    *string     `json:"consumer"`
	Attempts    int         `json:"attempts"`
	Reason      *string     `json:"reason"`
	Error       *string     `json:"error"`
	Field       *string     `json:"field"`
	FirstFailed *string     `json:"first_failed"`
	LastFailed  *string     `json:"last_failed"`
	NotDecoded  *entryError `json:"not_decoded"`
}

func deadLetterEvent(l *inspect.DeadLetter, data, metadata json.RawMessage) letterEvent {
	event := letterEvent{entryHead: headOf(l.Envelope), Data: data, Metadata: metadata, DeadLetter: letterJSON{
		ID:          l.ID,
		Group:       l.Group,
		Consumer:    orNull(l.Consumer),
		Attempts:    l.Attempts,
		Reason:      orNull(l.Reason),
		Error:       orNull(l.Error),
		Field:       orNull(l.Field),
		FirstFailed: timeOrNull(l.FirstFailed),
		LastFailed:  timeOrNull(l.LastFailed),
	}}
	if l.Refusal != nil {
		event.DeadLetter.NotDecoded = (*entryError)(l.Refusal)
	}
	return event
}
