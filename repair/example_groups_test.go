package repair_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

// A group is created before its application is there, so that it misses
// nothing.
func ExampleRepairer_CreateGroup() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	repairer, err := repair.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer repairer.Close()

	cfg := repair.CreateGroupConfig{Stream: "credit-events", Group: "billing", Start: repair.Beginning}
	for range 2 { // one that is there stays as it is
		created, err := repairer.CreateGroup(ctx, cfg)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("created:", created)
	}
	// Output:
	// created: true
	// created: false
}

// A group is removed once its owner has said what may go with it.
func ExampleRepairer_DeleteGroup() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	for _, id := range []string{"1764842400000-0", "1764842400001-0"} {
		server.Do("XADD", "credit-events", id, "eventType", "credit.allocated", "tenantId", "acme")
	}
	server.Do("XGROUP", "CREATE", "credit-events", "old-billing", "0")
	ctx := context.Background()
	repairer, err := repair.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer repairer.Close()

	cfg := repair.DeleteGroupConfig{Stream: "credit-events", Group: "old-billing"}
	_, err = repairer.DeleteGroup(ctx, cfg)
	var held *repair.HeldError
	if errors.As(err, &held) {
		fmt.Println("unread:", held.What.Unread, "pending:", held.What.Pending)
	}
	cfg.Unread = true
	deleted, err := repairer.DeleteGroup(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("deleted:", deleted.Deleted)
	// Output:
	// unread: 2 pending: 0
	// deleted: true
}

// What a replay would send, without sending it.
func ExampleEachReplayed() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	for n, tenant := range []string{"acme", "globex", "acme"} {
		server.Do("XADD", "credit-events", fmt.Sprintf("176484240000%d-0", n), "eventType", "credit.allocated", "tenantId", tenant)
	}
	ctx := context.Background()
	inspector, err := inspect.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		log.Fatal(err)
	}
	defer inspector.Close()

	cfg := repair.ReplayConfig{Patterns: []string{"credit-events"}, Tenants: []string{"acme"}, Since: "1764842400001-0"}
	err = repair.EachReplayed(ctx, inspector, cfg, func(item inspect.Item) error {
		fmt.Println(item.Envelope.ID, item.Envelope.Tenant)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 1764842400002-0 acme
}
