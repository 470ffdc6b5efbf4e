package repair_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/freshet/freshet"
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
