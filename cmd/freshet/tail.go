package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/personal"
)

func (c *cli) tailCommand() *cobra.Command {
	var cfg inspect.TailConfig
	var reveal bool
	cmd := &cobra.Command{
		Use:   "tail [PATTERN...]",
		Short: "Show events as they pass, decoded, from many streams",
		Long: `Show the entries of all streams that match a PATTERN (a key or a Redis glob;
by default every stream of the suite), decoded and merged by entry id, until
Ctrl-C. New streams are picked up while running.

An entry that does not decode is shown with the reason. Personal data (names,
addresses, phone numbers) is masked unless --reveal is given, or the output is
jsonl to a file or pipe.`,
		Example: `  freshet tail
  freshet tail 'crm:*' credit-events --from 15m
  freshet tail --from 0 --exit-at-end -o jsonl > events.jsonl
  freshet tail --tenant acme --type user_created --type user_deleted`,
		ValidArgs: events.Streams(),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Patterns = args
			if cfg.From != "0" && cfg.From != "$" {
				from, err := parsePlace("--from", cfg.From, time.Now())
				if err != nil {
					return usageError("--from %q: must be 0, $, %s", cfg.From, placeUsage)
				}
				cfg.From = from
			}
			if err := cfg.Validate(); err != nil {
				return usageError("--%w", err)
			}
			return c.tail(cmd.Context(), cfg, reveal)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.From, "from", "$", "begin `AT` 0 (the beginning), $ (what comes from now on), or "+placeUsage)
	flags.IntVar(&cfg.Limit, "limit", 0, "exit after `N` entries (0: no limit)")
	flags.BoolVar(&cfg.ExitAtEnd, "exit-at-end", false, "exit when all that is there has been shown")
	flags.StringArrayVar(&cfg.Tenants, "tenant", nil, "only events of `TENANT` (may be given several times)")
	flags.StringArrayVar(&cfg.Types, "type", nil, "only events of `TYPE`, by its name in the catalogue or on the wire (may be given several times)")
	flags.BoolVar(&reveal, "reveal", false, "do not mask personal data")
	completeFlag(cmd, "type", typeNames)
	return cmd
}

func (c *cli) tail(ctx context.Context, cfg inspect.TailConfig, reveal bool) (err error) {
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	// As wide as what is common, so that columns rarely move.
	out := c.list(false, "TIME                ", "ID             ", "TYPE            ", "TENANT  ", "ENTITY        ", "DATA")
	defer func() { err = errors.Join(err, out.close()) }()
	masked := !reveal && (c.output != "jsonl" || isTerminal(c.stdout))
	return inspector.Tail(ctx, cfg, func(i inspect.Item) error {
		e := i.Envelope
		data, metadata := dataOf(e), validJSON(e.Metadata)
		if masked {
			data, metadata = personal.JSON(data), personal.JSON(metadata)
		}
		data = asJSON(data)
		head := headOf(e)
		row := []string{timeCell(e.Time), e.ID, typeCell(e), c.idCell(e.Tenant), c.entityCell(e.Entity)}
		if i.Refusal != nil {
			reason := i.Refusal.Reason + ": " + i.Refusal.Detail + " (" + e.Stream + ")"
			return out.add(refusedEntry{head, entryError(*i.Refusal), metadata}, red, append(row, reason)...)
		}
		return out.add(entry{head, data, metadata}, plain, append(row, compact(data))...)
	})
}

// entryHead is what an entry in the JSON formats begins with.
type entryHead struct {
	Stream   string  `json:"stream"`
	ID       string  `json:"id"`
	Type     *string `json:"type"`      // catalogue's name
	WireType *string `json:"wire_type"` // as it stands on the wire
	Identity *string `json:"identity"`
	Tenant   *string `json:"tenant"`
	Entity   *entity `json:"entity"`
	Time     *string `json:"time"`
	Source   *string `json:"source"`
	Action   *string `json:"action"`
}

type entity struct {
	Type *string `json:"type"`
	ID   *string `json:"id"`
}

type entry struct {
	entryHead
	Data     json.RawMessage `json:"data"`
	Metadata json.RawMessage `json:"metadata"`
}

// refusedEntry has the reason in place of data.
type refusedEntry struct {
	entryHead
	Error    entryError      `json:"error"`
	Metadata json.RawMessage `json:"metadata"`
}

type entryError struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

func headOf(e *events.Envelope) entryHead {
	head := entryHead{
		Stream:   e.Stream,
		ID:       e.ID,
		WireType: orNull(e.WireType),
		Identity: orNull(e.Identity),
		Tenant:   orNull(e.Tenant),
		Source:   orNull(e.Source),
		Action:   orNull(e.Action),
	}
	if e.Type != nil {
		head.Type = orNull(e.TypeName())
	}
	if e.Entity != (events.Entity{}) {
		head.Entity = &entity{orNull(e.Entity.Type), orNull(e.Entity.ID)}
	}
	if !e.Time.IsZero() {
		head.Time = orNull(e.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	}
	return head
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// dataOf returns the decoded data; of an event that the catalogue does not
// know, the data as it was published, which need not be JSON.
func dataOf(e *events.Envelope) json.RawMessage {
	if e.Data != nil || e.Type != nil {
		return validJSON(e.Data)
	}
	for f := range e.Fields.All() {
		if f.Name == "data" || f.Name == "eventData" {
			return json.RawMessage(f.Value)
		}
	}
	return nil
}

// asJSON makes a JSON string of what is no JSON.
func asJSON(raw json.RawMessage) json.RawMessage {
	if raw == nil || json.Valid(raw) {
		return raw
	}
	text, _ := json.Marshal(string(raw)) // a string cannot fail
	return text
}

func validJSON(raw json.RawMessage) json.RawMessage {
	if !json.Valid(raw) {
		return nil
	}
	return raw
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	_ = json.Compact(&b, raw) // valid, or empty
	return b.String()
}

func typeCell(e *events.Envelope) string {
	switch {
	case e.WireType == "":
		return "-"
	case e.Type == nil:
		return e.WireType + " (unknown)"
	}
	return e.TypeName()
}

func (c *cli) entityCell(e events.Entity) string {
	switch {
	case e == events.Entity{}:
		return "-"
	case e.Type == "":
		return c.idCell(e.ID)
	}
	return e.Type + "/" + c.idCell(e.ID)
}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// idCell cuts UUIDs on a terminal, where whole ones leave no room for data.
func (c *cli) idCell(id string) string {
	switch {
	case id == "":
		return "-"
	case uuid.MatchString(id) && isTerminal(c.stdout):
		return id[:8] + "…"
	}
	return id
}
