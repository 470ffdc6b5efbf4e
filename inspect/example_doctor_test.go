package inspect_test

import (
	"context"
	"fmt"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

func ExampleDiagnose() {
	server, err := redistest.New("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru")
	if err != nil {
		panic(err)
	}
	defer server.Close()

	d, err := inspect.Diagnose(context.Background(), freshet.Config{URL: server.URL()}, inspect.DiagnoseConfig{Checks: []string{"eviction"}})
	if err != nil {
		panic(err)
	}
	for _, f := range d.Findings {
		fmt.Printf("%s %s: %s\n", f.Severity, f.Check, f.Summary)
	}
	fmt.Println(d.Healthy())
	// Output:
	// critical eviction: The server may delete whole streams, unread events and groups included, when its memory is full
	// false
}
