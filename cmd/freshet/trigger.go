package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/fake"
)

// triggering is what the arguments of trigger say.
type triggering struct {
	*cli
	typeName, tenant string
	set              []string
	count            int
	rate             float64
	seed             uint64
}

func (c *cli) triggerCommand() *cobra.Command {
	t := triggering{cli: c}
	cmd := &cobra.Command{
		Use:   "trigger TYPE",
		Short: "Publish realistic fake events",
		Long: `Publish made-up events of TYPE, valid and linked: what an event refers to (the
user and the role of a role_assigned, say) is published before it, unless --set
names something else. TYPE is a name of the catalogue, or inter-app:NAME.

A path of --set begins with a field of the event's data. The value is JSON, or
else a string.`,
		Example: `  freshet trigger user_created --tenant acme
  freshet trigger user_created --set email=ada@example.com --set isActive=false
  freshet trigger role_updated --set 'permissions.crm.leads=["read"]'
  freshet trigger credit.consumed --count 1000 --rate 50 --seed 1
  freshet trigger inter-app:employee.updated --count 0 --rate 2`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeType,
		RunE: func(cmd *cobra.Command, args []string) error {
			t.typeName = args[0]
			if !cmd.Flags().Changed("seed") {
				t.seed = rand.Uint64()
			}
			return t.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&t.tenant, "tenant", "acme", "`TENANT` that the events are about")
	flags.StringArrayVar(&t.set, "set", nil, "set a field: `PATH=VALUE` (may be given several times)")
	flags.IntVar(&t.count, "count", 1, "publish `N` events (0: until Ctrl-C)")
	flags.Float64Var(&t.rate, "rate", 0, "events a second (default: as fast as it goes)")
	flags.Uint64Var(&t.seed, "seed", 0, "`NUMBER` that gives the same data every time (default: random)")
	return cmd
}

func (t *triggering) run(ctx context.Context) (err error) {
	if err := t.check(); err != nil {
		return &exitError{exitUsage, err}
	}
	bus, err := t.open(ctx, "freshet")
	if err != nil {
		return err
	}
	defer bus.Close()
	suite := fake.New(t.seed, nil)
	out := t.receipts(t.count == 1)
	also := make(map[string]int)
	defer func() {
		err = errors.Join(err, out.close())
		for _, stream := range slices.Sorted(maps.Keys(also)) {
			fmt.Fprintf(t.stderr, "also published, to be referred to: %d on %s\n", also[stream], stream)
		}
	}()
	begin := time.Now()
	for sent := 0; t.count == 0 || sent < t.count; {
		if !t.wait(ctx, begin, sent) {
			return nil
		}
		n := t.due(begin, sent)
		if err := t.publish(bus, suite, n, out, also); err != nil {
			return err
		}
		sent += n
	}
	return nil
}

// check reports the first fault of the command line.
func (t *triggering) check() error {
	switch {
	case t.count < 0:
		return errors.New("--count: must not be negative")
	case t.rate < 0, math.IsNaN(t.rate):
		return errors.New("--rate: must not be negative")
	case math.IsInf(t.rate, 0):
		return errors.New("--rate: leave it out for as fast as it goes")
	}
	if err := events.ValidTenant(t.tenant); err != nil {
		return fmt.Errorf("--%w", err)
	}
	// An event that is never published shows what --set would do.
	_, err := t.next(fake.New(t.seed, nil))
	return err
}

// wait waits until the next event is due, and tells whether to go on.
func (t *triggering) wait(ctx context.Context, begin time.Time, sent int) bool {
	if t.rate == 0 || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	at := begin.Add(time.Duration(float64(sent) / t.rate * float64(time.Second)))
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// due returns how many events to publish now, at least one.
func (t *triggering) due(begin time.Time, sent int) int {
	n := publishBatch
	if t.rate > 0 {
		n = min(n, int(time.Since(begin).Seconds()*t.rate)+1-sent)
	}
	if t.count > 0 {
		n = min(n, t.count-sent)
	}
	return max(n, 1)
}

// publish makes up and publishes n events, and counts in also, by stream, the
// events that they refer to.
func (t *triggering) publish(bus *freshet.Bus, suite *fake.Suite, n int, out receiptList, also map[string]int) error {
	var messages []freshet.Message
	asked := make(map[int]bool, n) // places of the events that were asked for
	for range n {
		story, err := t.next(suite)
		if err != nil {
			return err
		}
		for _, p := range story {
			messages = append(messages, freshet.Message{Tenant: t.tenant, Payload: p})
		}
		asked[len(messages)-1] = true
	}
	// What is on its way is waited for, also after Ctrl-C.
	var failed error
	for i, r := range bus.PublishBatch(context.Background(), messages) {
		switch {
		case r.Err != nil:
			failed = cmp.Or(failed, r.Err)
		case asked[i]:
			if err := out.add(r.Receipt); err != nil {
				return err
			}
		default:
			also[r.Receipt.Stream]++
		}
	}
	if failed != nil {
		return publishError(failed, "Trigger it again")
	}
	return nil
}

// next makes up an event, as the last of a list, and before it those of the
// events it refers to that are needed.
func (t *triggering) next(suite *fake.Suite) ([]events.Payload, error) {
	story, err := suite.One(t.typeName, t.tenant)
	if err != nil {
		return nil, err
	}
	last := len(story) - 1
	if story[last], err = t.override(story[last]); err != nil {
		return nil, err
	}
	if len(t.set) == 0 {
		return story, nil
	}
	// What --set has put in the place of a reference needs no introduction.
	data, err := fieldsOf(story[last])
	if err != nil {
		return nil, err
	}
	before := slices.DeleteFunc(story[:last:last], func(p events.Payload) bool {
		other, err := fieldsOf(p)
		return err == nil && !refers(data, other, p.Type().Key)
	})
	return append(before, story[last]), nil
}

// refers tells whether one of the values of data is the key of another event.
func refers(data, other map[string]json.RawMessage, key []string) bool {
	for _, name := range key {
		if id := other[name]; id != nil {
			return slices.ContainsFunc(slices.Collect(maps.Values(data)), func(v json.RawMessage) bool { return bytes.Equal(v, id) })
		}
	}
	return false
}

// override sets the fields of a payload that --set names.
func (t *triggering) override(p events.Payload) (events.Payload, error) {
	if len(t.set) == 0 {
		return p, nil
	}
	fields, err := fieldsOf(p)
	if err != nil {
		return nil, err
	}
	for _, set := range t.set {
		path, value, found := strings.Cut(set, "=")
		if !found || path == "" {
			return nil, fmt.Errorf("--set %q: must be PATH=VALUE", set)
		}
		if err := setField(fields, p.Type(), strings.Split(path, "."), value); err != nil {
			return nil, fmt.Errorf("--set %s: %w", path, err)
		}
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	changed, err := events.Parse(t.typeName, data)
	if err == nil {
		err = events.Validate(changed)
	}
	if err != nil {
		return nil, fmt.Errorf("--set: %w", dataError(err))
	}
	return changed, nil
}

// fieldsOf returns the payload as [events.Parse] takes it: its data, and the
// fields that stand on the envelope.
func fieldsOf(p events.Payload) (map[string]json.RawMessage, error) {
	fields := make(map[string]json.RawMessage)
	if _, ok := p.(events.InterApp); !ok {
		data, err := events.Encode(p)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &fields); err != nil {
			return nil, err
		}
	}
	all, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]json.RawMessage)
	if err := json.Unmarshal(all, &byName); err != nil {
		return nil, err
	}
	for _, f := range p.Type().Fields {
		if raw := byName[f.Name]; f.Envelope && string(raw) != `""` {
			fields[f.Name] = raw
		}
	}
	return fields, nil
}

// setField sets what the path leads to, whose objects are made where they are
// missing.
func setField(fields map[string]json.RawMessage, t *events.Type, path []string, value string) error {
	raw := json.RawMessage(value)
	if !json.Valid(raw) || len(path) == 1 && isText(t, path[0]) && raw[0] != '"' && value != "null" {
		raw, _ = json.Marshal(value) // a string cannot fail
	}
	if len(path) == 1 {
		fields[path[0]] = raw
		return nil
	}
	inner := make(map[string]json.RawMessage)
	if outer := fields[path[0]]; outer != nil {
		if err := json.Unmarshal(outer, &inner); err != nil {
			return fmt.Errorf("%s is no object", path[0])
		}
	}
	if inner == nil { // it was null
		inner = make(map[string]json.RawMessage)
	}
	if err := setField(inner, nil, path[1:], value); err != nil {
		return err
	}
	fields[path[0]], _ = json.Marshal(inner) // valid JSON, all of it
	return nil
}

// isText tells whether a field takes 123 as "123".
func isText(t *events.Type, name string) bool {
	if t == nil {
		return false
	}
	for _, f := range t.Fields {
		if f.Name == name {
			return f.Kind == events.KindID || f.Kind == events.KindString || f.Kind == events.KindTime
		}
	}
	return false
}
