package redisstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// Reads find the same entries however the server's reply comes: set aside where
// the server speaks the third version of the protocol, or as values.
func TestReadsOfBothVersionsOfTheProtocol(t *testing.T) {
	for _, test := range []struct {
		name  string
		args  []string
		aside bool
	}{
		{"RESP3", nil, true},
		{"RESP2", []string{"--rename-command", "HELLO", ""}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := redistest.Start(t, test.args...)
			c, err := Open(t.Context(), Config{URL: server.URL()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			var want []wire.Entry
			for _, stream := range []string{"a", "b"} {
				for i := range 40 {
					fields := []events.Field{{Name: "n", Value: fmt.Sprint(i)}, {Name: "", Value: ""}, {Name: "n", Value: strings.Repeat("é\r\n\x00", 100*(i%5))}}
					added := c.AddBatch(t.Context(), []Addition{{Stream: stream, Fields: fields}})[0]
					if added.Err != nil {
						t.Fatal(added.Err)
					}
					want = append(want, wire.Entry{Stream: stream, ID: added.ID, Fields: events.FieldsOf(fields...)})
				}
			}
			got, atOnce, err := c.ReadAfter(t.Context(), []Position{{Stream: "a"}, {Stream: "none"}, {Stream: "b"}}, 100, 0)
			if err != nil || !atOnce || !slices.EqualFunc(got, want, sameEntry) {
				t.Errorf("%d entries read, at once %t, %v; want the %d that were added", len(got), atOnce, err, len(want))
			}
			defer c.aside.end(c.aside.begin())
			token, err := c.do(t.Context(), c.rc.B().Xread().Streams().Key("a", "b").Id("0", "0").Build()).ToString()
			if set, ok := c.aside.take(token); ok != test.aside || ok && len(set.entries) != len(want) {
				t.Errorf("set aside: %v, want %v (%d entries, %v)", ok, test.aside, len(set.entries), err)
			}
		})
	}
}
