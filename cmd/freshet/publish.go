package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
)

// publishing is what the arguments of publish say.
type publishing struct {
	*cli
	typeName, tenant, data, key, correlationID, source string

	at         string
	time       time.Time // at, parsed
	level      string
	durability freshet.Durability // level, parsed
}

func (c *cli) publishCommand() *cobra.Command {
	p := publishing{cli: c}
	cmd := &cobra.Command{
		Use:   "publish TYPE --tenant TENANT --data JSON|@FILE|-",
		Short: "Validate an event and publish it",
		Long: `Publish an event of TYPE, a name of the catalogue or one of its other spellings
(inter-app:NAME for events between applications), with JSON as its data.
Nothing is published that is not valid. Printed are the stream, the entry's id
and the event's id.

With --data - events are read from standard input, one JSON object a line. A
line that is not valid is reported and the others are published; the exit code
is 1 then.

--id makes a publish repeatable: the same tenant, type and KEY give the same
event id, by which consumers tell a repetition. With --data - line N has the
key KEY-N, so the same input may be published again after a failure. Give --time
too where that may be after newer events: a copy of the state follows the time.

--durability says what must have happened to an event before it is reported as
published: memory (the server has it), replicas(N) (N replicas have it too),
disk (it is in the server's append-only file), disk(N) (and in those of N
replicas). What is not reached in time is reported as unknown.`,
		Example: `  freshet publish user_created --tenant acme \
      --data '{"userId":"u-1","email":"ada@example.com","createdAt":"2025-12-04T10:00:00Z"}'
  freshet publish role_updated --tenant acme --data @role.json --id role-7-v3
  freshet publish user_created --tenant acme --data - --id import-42 < users.jsonl
  freshet publish inter-app:employee.updated --tenant acme \
      --data '{"targetApplication":"hr","entityId":"u-1","eventData":{"title":"CTO"}}'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeType,
		RunE: func(cmd *cobra.Command, args []string) error {
			p.typeName = args[0]
			if err := p.check(); err != nil {
				return &exitError{exitUsage, err}
			}
			if p.data == "-" {
				return p.lines(cmd.Context())
			}
			return p.one(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.tenant, "tenant", "", "`TENANT` that the event is about")
	flags.StringVar(&p.data, "data", "", "the event's data: `JSON`, @FILE, or - for JSON lines from standard input")
	flags.StringVar(&p.key, "id", "", "idempotency `KEY`")
	flags.StringVar(&p.correlationID, "correlation-id", "", "`ID` that connects the event to others")
	flags.StringVar(&p.at, "time", "", "event `TIME`, ISO 8601 (default: now)")
	flags.StringVar(&p.level, "durability", freshet.Memory.String(), "acknowledge at `LEVEL`: memory, replicas(N), disk or disk(N)")
	flags.StringVar(&p.source, "source", "", "`APP` that the event comes from (default: freshet)")
	return cmd
}

// one publishes a single event.
func (p *publishing) one(ctx context.Context) error {
	data, err := p.dataBytes()
	if err != nil {
		return err
	}
	message, err := p.message(data, p.key)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	bus, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	receipt, err := bus.PublishMessage(ctx, message)
	if err != nil {
		return publishError(err, p.repeatHint())
	}
	return p.receipts(true).add(receipt)
}

func (p *publishing) connect(ctx context.Context) (*freshet.Bus, error) {
	cfg := p.config("freshet")
	cfg.Durability = p.durability
	return p.cli.connect(ctx, cfg)
}

func (p *publishing) dataBytes() ([]byte, error) {
	file, isFile := strings.CutPrefix(p.data, "@")
	if !isFile {
		return []byte(p.data), nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, notFoundError("--data: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	return data, nil
}

// check reports the first fault of the command line, but for the data.
func (p *publishing) check() (err error) {
	if p.data == "" {
		return errors.New("--data: required")
	}
	empty, err := events.Parse(p.typeName, []byte("{}"))
	if err != nil {
		return err
	}
	if err := checkTenant(p.tenant, empty); err != nil {
		return err
	}
	if p.durability, err = freshet.ParseDurability(p.level); err != nil {
		return fmt.Errorf("--%w", err)
	}
	if p.at != "" {
		if p.time, err = time.Parse(time.RFC3339Nano, p.at); err != nil {
			return fmt.Errorf("--time %q: must be ISO 8601 with a zone, such as 2025-12-04T10:00:00Z", p.at)
		}
	}
	return nil
}

// checkTenant asks for a tenant where the event has one.
func checkTenant(tenant string, payload events.Payload) error {
	if _, ok := payload.(events.Acknowledgment); ok && tenant == "" {
		return nil
	}
	if err := events.ValidTenant(tenant); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

// message makes and checks the event that data describes.
func (p *publishing) message(data []byte, key string) (freshet.Message, error) {
	payload, err := events.Parse(p.typeName, data)
	if err == nil {
		err = events.Validate(payload)
	}
	return freshet.Message{
		Tenant:        p.tenant,
		Payload:       payload,
		Key:           key,
		CorrelationID: p.correlationID,
		Time:          p.time,
		Source:        p.source,
	}, dataError(err)
}

// dataError names the field alone: the type is on the command line. The name
// of an unknown field may be any text.
func dataError(err error) error {
	if field := (*events.FieldError)(nil); errors.As(err, &field) {
		return fmt.Errorf("%s: %s", escape(field.Field), field.Problem)
	}
	return err
}

// publishError says what became of an event that was not acknowledged, and
// gives it its exit code.
func publishError(err error, hint string) error {
	switch publish := (*freshet.PublishError)(nil); {
	case errors.Is(err, freshet.ErrUnknown) && errors.As(err, &publish):
		return fmt.Errorf("%w\nThe event may be on the stream, with the event id %s. %s", err, publish.EventID, hint)
	case errors.As(err, new(*events.FieldError)):
		return &exitError{exitUsage, dataError(err)}
	case redisstream.ClassOf(err) == redisstream.Unreachable:
		return &exitError{exitUnreachable, err}
	}
	return err
}

func (p *publishing) repeatHint() string {
	if p.key == "" {
		return "To be able to repeat a publish safely, give --id"
	}
	return "Repeat it with the same --id"
}

// receiptList prints what was acknowledged.
type receiptList struct{ *listing }

func (c *cli) receipts(single bool) receiptList {
	return receiptList{c.list(single, "STREAM", "ID", "EVENT ID")}
}

func (l receiptList) add(r freshet.Receipt) error {
	return l.listing.add(r, plain, r.Stream, r.ID, r.EventID)
}
