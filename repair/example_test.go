package repair_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

// A group that was left behind keeps old entries; it is named.
func ExampleRepairer_Trim() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	for _, stream := range []string{"credit-events", "crm:sync:user:user_created"} {
		server.Do("XADD", stream, "1764842400000-0", "eventType", "…") // in 2025
	}
	server.Do("XGROUP", "CREATE", "credit-events", "old-billing", "0")
	ctx := context.Background()

	repairer, err := repair.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer repairer.Close()
	report, err := repairer.Trim(ctx, repair.TrimConfig{OlderThan: 30 * 24 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range report.Streams {
		fmt.Println(s.Stream, "removed:", s.Removed)
		for _, h := range s.Holding {
			fmt.Println("  held back by", h.Group, "at", h.Lowest.ID, "served:", h.Served())
		}
	}
	// Output:
	// credit-events removed: 0
	//   held back by old-billing at 1764842400000-0 served: false
	// crm:sync:user:user_created removed: 1
}

// A group is moved back, so that it gets what it had once more.
func ExampleRepairer_RewindGroup() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	for _, id := range []string{"1764842400000-0", "1764842400001-0", "1764842400002-0"} {
		server.Do("XADD", "credit-events", id, "eventType", "credit.allocated", "tenantId", "acme")
	}
	server.Do("XGROUP", "CREATE", "credit-events", "billing", "$")
	ctx := context.Background()

	repairer, err := repair.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer repairer.Close()
	cfg := repair.RewindConfig{Stream: "credit-events", Group: "billing", To: "1764842400001-0", DryRun: true}
	rewind, err := repairer.RewindGroup(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("would be delivered again:", rewind.Again, "from", rewind.First)
	cfg.DryRun = false
	if _, err := repairer.RewindGroup(ctx, cfg); err != nil {
		log.Fatal(err)
	}
	// Output:
	// would be delivered again: 2 from 1764842400001-0
}

// Events of the past are sent to one group again.
func ExampleRepairer_Replay() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	cfg := freshet.Config{URL: server.URL()}
	bus, err := freshet.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	for _, tenant := range []string{"acme", "globex"} {
		_, err := bus.Publish(ctx, tenant, events.UserDeleted{UserID: "u-1", DeletedAt: time.Unix(1764842400, 0)})
		if err != nil {
			log.Fatal(err)
		}
	}
	server.Do("XGROUP", "CREATE", "crm:sync:user:user_deleted", "crm-copy", "$")

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
	result, err := repairer.Replay(ctx, inspector, "crm-copy", repair.ReplayConfig{Tenants: []string{"acme"}, Rate: 100})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent:", result.Sent)
	// Output:
	// sent: 1
}

// Consumers that are gone are removed; what they held goes to one that lives.
func ExampleRepairer_PruneConsumers() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Do("XADD", "credit-events", "1764842400000-0", "eventType", "credit.allocated")
	server.Do("XGROUP", "CREATE", "credit-events", "billing", "0")
	server.Do("XREADGROUP", "GROUP", "billing", "billing-1", "STREAMS", "credit-events", ">")
	ctx := context.Background()

	repairer, err := repair.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer repairer.Close()
	pruned, err := repairer.PruneConsumers(ctx, repair.PruneConfig{Streams: []string{"credit-events"}, Group: "billing", Idle: 2 * time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("gone:", len(pruned)) // billing-1 was here a moment ago
	// Output:
	// gone: 0
}
