package inspect_test

import (
	"context"
	"fmt"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

// An event is found by its id, and its way through the groups is told.
func ExampleInspector_FindEvents() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		panic(err)
	}
	defer server.Close()
	const stream = "crm:sync:user:user_deleted"
	server.Do("XADD", stream, "1764842400000-0", "eventType", "user_deleted", "eventId", "evt_1764842400000_a1", "tenantId", "acme")
	server.Do("XGROUP", "CREATE", stream, "billing", "0")
	server.Do("XGROUP", "CREATE", stream, "crm-copy", "0")
	server.Do("XREADGROUP", "GROUP", "crm-copy", "crm-1", "STREAMS", stream, ">")
	ctx := context.Background()

	inspector, err := inspect.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		panic(err)
	}
	defer inspector.Close()
	search, err := inspector.FindEvents(ctx, "evt_1764842400000_a1", inspect.FindConfig{})
	if err != nil {
		panic(err)
	}
	ways, _, err := inspector.Ways(ctx, search.Found, 0)
	if err != nil {
		panic(err)
	}
	for n, item := range search.Found {
		fmt.Println(item.Envelope.Stream, item.Envelope.ID)
		for _, way := range ways[n] {
			fmt.Printf("  %s: %s\n", way.Group, way.State)
		}
	}
	// Output:
	// crm:sync:user:user_deleted 1764842400000-0
	//   billing: unread
	//   crm-copy: pending
}
