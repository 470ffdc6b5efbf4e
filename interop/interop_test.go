//go:build interop

package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

// consumers are the programs that read what the SDK publishes.
var consumers = []struct {
	name    string
	command []string
}{
	{"node", []string{"node", "node/consumer.js"}},
	{"python", []string{"/usr/bin/python3", "python/consumer.py"}},
}

// entry is what a consumer prints of a stream entry: the fields as it has
// them, and those that are JSON as its language parses them.
type entry struct {
	ID                 string            `json:"id"`
	Fields             map[string]string `json:"fields"`
	Data               any               `json:"data"`
	Metadata           any               `json:"metadata"`
	EventData          any               `json:"eventData"`
	AcknowledgmentData any               `json:"acknowledgmentData"`
}

func (e *entry) parsed(field string) any {
	return map[string]any{
		"data":               e.Data,
		"metadata":           e.Metadata,
		"eventData":          e.EventData,
		"acknowledgmentData": e.AcknowledgmentData,
	}[field]
}

// required are the fields that an entry of each shape must have, none empty.
var required = map[events.Shape][]string{
	events.ShapeSync: {"streamId", "messageId", "timestamp", "sourceApp", "eventType", "entityType", "entityId",
		"tenantId", "action", "data", "metadata"},
	events.ShapeAssignment:  {"eventId", "eventType", "source", "version", "timestamp", "tenantId", "data"},
	events.ShapeCredit:      {"eventId", "eventType", "tenantId", "entityId", "amount", "timestamp", "source", "metadata"},
	events.ShapeConsumption: {"eventId", "eventType", "tenantId", "entityId", "userId", "amount", "operationType", "operationId", "timestamp", "source", "metadata"},
	events.ShapeInterApp: {"eventId", "eventType", "sourceApplication", "targetApplication", "tenantId", "entityId",
		"timestamp", "eventData", "publishedBy"},
	events.ShapeAcknowledgment: {"acknowledgmentId", "originalEventId", "status", "timestamp", "source", "acknowledgmentData"},
	events.ShapeRoleFanOut:     {"eventId", "timestamp", "eventType", "tenantId", "entityType", "entityId", "data", "publishedBy"},
}

var isoMilliseconds = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

// TestConsumers publishes with the SDK and reads with each consumer, every one
// in a group of its own.
func TestConsumers(t *testing.T) {
	server, bus := start(t)
	receipts := make([]freshet.Receipt, len(published))
	perStream := map[string]int{}
	for i, p := range published {
		receipt, err := bus.Publish(t.Context(), tenant, p.payload)
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Stream != p.stream {
			t.Errorf("%T went to %s, want %s", p.payload, receipt.Stream, p.stream)
		}
		receipts[i] = receipt
		perStream[receipt.Stream]++
	}

	for _, consumer := range consumers {
		t.Run(consumer.name, func(t *testing.T) {
			entries := map[string]entry{} // by id of the entry
			for stream, count := range perStream {
				for _, e := range consume(t, server, consumer.command, stream, consumer.name+"-consumers", count) {
					entries[stream+"/"+e.ID] = e
				}
			}
			for i, p := range published {
				e, ok := entries[receipts[i].Stream+"/"+receipts[i].ID]
				if !ok {
					t.Errorf("%T: %s/%s was not read", p.payload, receipts[i].Stream, receipts[i].ID)
					continue
				}
				t.Run(fmt.Sprintf("%T", p.payload), func(t *testing.T) {
					check(t, &e, p.payload.Type().Shape, p.fields, p.json)
				})
			}
		})
	}
}

func check(t *testing.T, e *entry, shape events.Shape, fields, parsed map[string]string) {
	for _, name := range required[shape] {
		if e.Fields[name] == "" {
			t.Errorf("field %s is missing or empty", name)
		}
	}
	if len(e.Fields) != len(required[shape]) {
		t.Errorf("fields %v, want only %v", e.Fields, required[shape])
	}
	if !isoMilliseconds.MatchString(e.Fields["timestamp"]) {
		t.Errorf("timestamp %q is not ISO 8601 in milliseconds", e.Fields["timestamp"])
	}
	if shape != events.ShapeAcknowledgment && e.Fields["tenantId"] != tenant {
		t.Errorf("tenantId %q, want %q", e.Fields["tenantId"], tenant)
	}
	for name, want := range fields {
		if e.Fields[name] != want {
			t.Errorf("field %s is %q, want %q", name, e.Fields[name], want)
		}
	}
	for name, text := range parsed {
		var want any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, e.parsed(name)); diff != "" {
			t.Errorf("%s (-published +parsed):\n%s", name, diff)
		}
	}
	if shape == events.ShapeSync {
		metadata, _ := e.Metadata.(map[string]any)
		correlation, _ := metadata["correlationId"].(string)
		if correlation == "" || metadata["version"] != "1.0" {
			t.Errorf("metadata %v, want a correlationId and version 1.0", metadata)
		}
	}
}

// TestPublisher reads with the SDK what the Node.js publisher appends.
func TestPublisher(t *testing.T) {
	server, bus := start(t)
	data := `{"userId":"` + userID + `","email":"ada@example.com","firstName":"Áda \"A\" 👩‍💻","lastName":null,
		"createdAt":"2025-12-04T10:00:00.000Z","department":{"name":"R&D"}}`
	var printed struct{ MessageID string }
	out := run(t, server, []string{"node", "node/publisher.js"}, "TENANT="+tenant, "DATA="+data)
	if err := json.Unmarshal(out, &printed); err != nil {
		t.Fatal(err)
	}

	var user *freshet.Event[events.UserCreated]
	var ack *freshet.Event[events.Acknowledgment]
	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers"})
	freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserCreated]) error { user = e; return nil })
	freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.Acknowledgment]) error { ack = e; return nil })
	if err := consumer.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}

	if user == nil || ack == nil {
		t.Fatalf("user handled: %v, acknowledgment handled: %v, want both", user != nil, ack != nil)
	}
	if user.Tenant != tenant || user.Identity != printed.MessageID || user.Source != "wrapper-api" || user.Entity.ID != userID {
		t.Errorf("tenant %q, identity %q, source %q, entity %q", user.Tenant, user.Identity, user.Source, user.Entity.ID)
	}
	want := events.UserCreated{UserID: userID, Email: "ada@example.com", FirstName: `Áda "A" 👩‍💻`, CreatedAt: moment}
	if diff := cmp.Diff(want, user.Data); diff != "" {
		t.Errorf("data (-published +handled):\n%s", diff)
	}
	var raw map[string]any
	if err := json.Unmarshal(user.Envelope.Data, &raw); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"name": "R&D"}, raw["department"]); diff != "" {
		t.Errorf("a field that the catalogue does not know (-published +raw):\n%s", diff)
	}
	if ack.Data.OriginalEventID != printed.MessageID || ack.Data.Status != events.AckProcessed {
		t.Errorf("acknowledgment %+v, want %s processed", ack.Data, printed.MessageID)
	}
}

// TestSharedGroup lets a Node.js consumer and the SDK take turns in one group:
// between them, each event is handled once and none stays pending.
func TestSharedGroup(t *testing.T) {
	server, bus := start(t)
	want := map[string]int{}
	for i := range 4 {
		id := "user-" + strconv.Itoa(i)
		if _, err := bus.Publish(t.Context(), tenant, events.UserCreated{UserID: id, Email: "ada@example.com", CreatedAt: moment}); err != nil {
			t.Fatal(err)
		}
		want[id] = 1
	}

	got := map[string]int{}
	for _, e := range consume(t, server, consumers[0].command, "crm:sync:user:user_created", "crm-consumers", 2) {
		got[e.Fields["entityId"]]++
	}
	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers", Concurrency: 1})
	freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		got[e.Data.UserID]++
		return nil
	})
	if err := consumer.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times handled (-want +got):\n%s", diff)
	}
	pending := server.Do("XPENDING", "crm:sync:user:user_created", "crm-consumers").([]any)
	if pending[0] != int64(0) {
		t.Errorf("pending after both were done: %v", pending)
	}
}

func start(t *testing.T) (*redistest.Server, *freshet.Bus) {
	t.Helper()
	server := redistest.Start(t)
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL(), App: "wrapper-api"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	return server, bus
}

// consume runs a consumer until it has read count entries, and returns them.
func consume(t *testing.T, server *redistest.Server, command []string, stream, group string, count int) []entry {
	t.Helper()
	out := run(t, server, command, "STREAM="+stream, "GROUP="+group, "COUNT="+strconv.Itoa(count))
	var entries []entry
	for lines := json.NewDecoder(bytes.NewReader(out)); ; {
		var e entry
		switch err := lines.Decode(&e); err {
		case nil:
			entries = append(entries, e)
		case io.EOF:
			if len(entries) != count {
				t.Fatalf("%s: %d entries of %s, want %d", command[0], len(entries), stream, count)
			}
			return entries
		default:
			t.Fatalf("%s: output is not JSON: %v", command[0], err)
		}
	}
}

// run executes a program to its end and returns what it printed.
func run(t *testing.T, server *redistest.Server, command []string, env ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), append(env, "REDIS_URL="+server.URL())...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v (scripts/deps interop installs what it needs)\n%s", command, err, stderr.Bytes())
	}
	return out
}
