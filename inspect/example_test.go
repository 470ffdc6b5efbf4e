package inspect_test

import (
	"context"
	"fmt"
	stdlog "log"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

// Who is behind, and does anybody work on it?
func ExampleInspector_Snapshot() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		stdlog.Fatal(err)
	}
	defer server.Close()
	for _, id := range []string{"1764842400000-0", "1764842400001-0", "1764842400002-0"} { // in 2025
		server.Do("XADD", "credit-events", id, "eventType", "…")
	}
	server.Do("XGROUP", "CREATE", "credit-events", "billing", "0")
	ctx := context.Background()

	inspector, err := inspect.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		stdlog.Fatal(err)
	}
	defer inspector.Close()
	snapshot, err := inspector.Snapshot(ctx, inspect.SnapshotConfig{})
	if err != nil {
		stdlog.Fatal(err)
	}
	for _, stream := range snapshot.Streams {
		for _, group := range stream.Groups {
			fmt.Println(group.Name, "on", stream.Key, "lag:", group.Lag, "oldest:", group.Oldest.ID, "unserved:", group.Unserved())
		}
	}
	for _, problem := range snapshot.Problems {
		fmt.Println(problem.Part, problem.Err)
	}
	// Output:
	// billing on credit-events lag: 3 oldest: 1764842400000-0 unserved: true
}

// The entries that a group was given and has not settled, page by page.
func ExampleInspector_Pending() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		stdlog.Fatal(err)
	}
	defer server.Close()
	server.Do("XADD", "credit-events", "1764842400000-0", "eventType", "…")
	server.Do("XGROUP", "CREATE", "credit-events", "billing", "0")
	server.Do("XREADGROUP", "GROUP", "billing", "billing-1", "STREAMS", "credit-events", ">")
	ctx := context.Background()

	inspector, err := inspect.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		stdlog.Fatal(err)
	}
	defer inspector.Close()
	cfg := inspect.PendingConfig{Stream: "credit-events", Group: "billing", Limit: 500}
	for {
		page, err := inspector.Pending(ctx, cfg)
		if err != nil {
			stdlog.Fatal(err)
		}
		for _, entry := range page {
			fmt.Println(entry.ID, "with", entry.Consumer, "deliveries:", entry.Deliveries)
		}
		if len(page) < cfg.Limit {
			break
		}
		cfg.After = page[len(page)-1].ID
	}
	// Output:
	// 1764842400000-0 with billing-1 deliveries: 1
}
