package repair_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

// When the cause is mended, the group gets once more what it could not handle.
func ExampleRepairer_Redrive() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	cfg := freshet.Config{URL: server.URL(), App: "crm"}
	bus, err := freshet.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	if _, err := bus.Publish(ctx, "acme", events.UserDeleted{UserID: "u-1", DeletedAt: time.Unix(1764842400, 0)}); err != nil {
		log.Fatal(err)
	}
	broken := true
	consume := func() {
		consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers"})
		freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserDeleted]) error {
			if broken {
				return freshet.Permanent(errors.New("no table users"))
			}
			fmt.Println("handled", e.Data.UserID)
			return nil
		})
		if err := consumer.Drain(ctx); err != nil {
			log.Fatal(err)
		}
	}
	consume()

	inspector, err := inspect.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer inspector.Close()
	var refs []inspect.DeadLetterRef
	err = inspector.DeadLetters(ctx, inspect.DeadLetterSelection{Groups: []string{"crm-consumers"}}, func(l *inspect.DeadLetter) error {
		refs = append(refs, l.DeadLetterRef)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	repairer, err := repair.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer repairer.Close()
	broken = false
	result, err := repairer.Redrive(ctx, refs, repair.RedriveConfig{Rate: 100})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("redriven:", result.Redriven)
	consume()
	// Output:
	// redriven: 1
	// handled u-1
}

// letterWithoutTenant has a server with a dead letter of an event that has no
// tenant.
func letterWithoutTenant(server *redistest.Server) {
	const stream = "crm:sync:user:user_deleted"
	server.Do("XADD", "{"+stream+"}:dlq:crm-consumers", "1764842500000-0",
		"eventType", "user_deleted", "eventId", "evt_1764842400000_a1", "data", `{"userId":"u-1","deletedAt":"2025-12-04T10:00:00Z"}`,
		"freshet-stream", stream, "freshet-id", "1764842400000-0", "freshet-group", "crm-consumers", "freshet-consumer", "crm-1",
		"freshet-attempts", "1", "freshet-reason", "missing_field", "freshet-error", "tenantId: missing_field", "freshet-first-failed", "", "freshet-last-failed", "")
}

// An event that is wrong itself is edited, and then given to the group that
// refused it. The entry that was published stays as it is.
func ExampleRepairer_RedriveEdited() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	letterWithoutTenant(server)
	ctx := context.Background()
	cfg := freshet.Config{URL: server.URL()}
	inspector, err := inspect.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer inspector.Close()
	repairer, err := repair.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer repairer.Close()

	letter, err := inspector.DeadLetterByID(ctx, "crm:sync:user:user_deleted", "crm-consumers", "1764842500000-0")
	if err != nil || letter == nil {
		log.Fatal("no such dead letter: ", err)
	}
	fields := letter.Envelope.Fields.List()
	var problem *repair.Problem
	if err := repairer.RedriveEdited(ctx, letter.DeadLetterRef, fields); errors.As(err, &problem) {
		fmt.Println("as it is:", problem.Field, problem.Reason)
	}
	fields = append(fields, events.Field{Name: "tenantId", Value: "acme"})
	if err := repairer.RedriveEdited(ctx, letter.DeadLetterRef, fields); err != nil {
		log.Fatal(err)
	}
	fmt.Println("dead letters:", server.Do("XLEN", "{crm:sync:user:user_deleted}:dlq:crm-consumers"))
	// Output:
	// as it is: tenantId missing_field
	// dead letters: 0
}

// Are these the fields of an event, before anything is changed?
func ExampleCheckFields() {
	err := repair.CheckFields("crm:sync:user:user_deleted", "1764842400000-0", []events.Field{
		{Name: "eventType", Value: "user_deleted"},
		{Name: "tenantId", Value: "acme"},
		{Name: "data", Value: `{"userId":`},
	})
	var problem *repair.Problem
	if errors.As(err, &problem) {
		fmt.Println(problem.Field, problem.Reason)
	}
	// Output:
	// data bad_json
}

// Dead letters are kept in a file, dropped, and brought back later.
func ExampleImporter_Import() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	letterWithoutTenant(server)
	ctx := context.Background()
	cfg := freshet.Config{URL: server.URL()}
	inspector, err := inspect.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer inspector.Close()
	repairer, err := repair.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer repairer.Close()

	var file bytes.Buffer // in your program: a file
	var refs []inspect.DeadLetterRef
	lines := json.NewEncoder(&file)
	err = inspector.DeadLetters(ctx, inspect.DeadLetterSelection{}, func(l *inspect.DeadLetter) error {
		refs = append(refs, l.DeadLetterRef)
		return lines.Encode(repair.RecordOf(l))
	})
	if err != nil {
		log.Fatal(err)
	}
	dropped, err := repairer.Drop(ctx, refs)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("dropped:", dropped)

	importer := repairer.Importer()
	record, err := repair.ParseRecord(bytes.TrimSpace(file.Bytes()))
	if err != nil {
		log.Fatal(err)
	}
	for range 2 { // to import the same again is safe
		result, err := importer.Import(ctx, []repair.Record{record})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("imported:", result.Imported, "present:", result.Present)
	}
	// Output:
	// dropped: 1
	// imported: 1 present: 0
	// imported: 0 present: 1
}
