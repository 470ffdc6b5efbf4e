package redisstream

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A server that never keeps a script, as one behind a balancer may seem to, is
// asked a bounded number of times, and each run has its effect at most once.
func TestScriptThatIsNeverKept(t *testing.T) {
	const noScript = "-NOSCRIPT No matching script.\r\n"
	for _, test := range []struct{ name, eval, err string }{
		{"the text runs", ":7\r\n", ""},
		{"nor does the text run", noScript, "NOSCRIPT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var hashes, texts atomic.Int64
			c, err := Open(t.Context(), Config{URL: answering(t, map[string]string{"EVALSHA": noScript, "EVAL": test.eval}, func(command string) {
				switch command {
				case "EVALSHA":
					hashes.Add(1)
				case "EVAL":
					texts.Add(1)
				}
			})})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			const runs, rounds = 200, 65 // one more than a cluster has nodes
			for i, r := range c.runAll(ctx, newScript("return 7"), make([]scriptCall, runs)) {
				if n, err := r.AsInt64(); (err == nil) != (test.err == "") || err == nil && n != 7 || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Fatalf("run %d: %d, %v", i, n, err)
				}
			}
			if n := texts.Load(); n != runs {
				t.Errorf("%d texts were sent for %d runs", n, runs)
			}
			if n := hashes.Load(); n > runs*rounds {
				t.Errorf("%d hashes were sent for %d runs", n, runs)
			}
		})
	}
}
