package wire_test

import (
	"encoding/json"
	"math"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// checkAllocation checks that decoding an entry allocates at most four times
// the entry's size, besides what every entry costs. What others allocate
// meanwhile is counted too, so the least of several measurements stands.
func checkAllocation(t *testing.T, e *wire.Entry) {
	t.Helper()
	size := uint64(len(e.Stream))
	for f := range e.Fields.All() {
		size += uint64(len(f.Name) + len(f.Value))
	}
	most := 4*size + 8<<10
	least := uint64(math.MaxUint64)
	for range 20 { // the race detector empties the pool at random
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		decoder.Decode(e)
		runtime.ReadMemStats(&after)
		if least = min(least, after.TotalAlloc-before.TotalAlloc); least <= most {
			return
		}
	}
	t.Errorf("an entry of %d bytes: %d bytes allocated, at most %d", size, least, most)
}

// FuzzDecode takes an entry as text: the stream, then name and value of each
// field, a line each.
func FuzzDecode(f *testing.F) {
	f.Add("crm:sync:user:user_created\neventType\nuser_created\ntenantId\nt\nuserId\nu\nemail\nx\nnotes\n" + strings.Repeat("\x01", 60_000))
	for i, v := range vectors(f) {
		if i%5 == 0 {
			lines := []string{v.entry.Stream}
			for field := range v.entry.Fields.All() {
				lines = append(lines, field.Name, field.Value)
			}
			f.Add(strings.Join(lines, "\n"))
		}
	}
	f.Add("credit-events:t\neventType\n\"credit.allocated\"\ntenantId\n\"t\"\nentityId\nnull\namount\n\"1\"")
	f.Add("credit-events:t\neventType\ncredit.allocated\ntenantId\nt\ndata\n{" + strings.Repeat(`"\\u0061":1,`, 2000) + `"b":2}`)
	f.Add("crm:sync:user:user_created\neventType\nuser_created\ntenantId\nt\ndata\n" + strings.Repeat("[", 32) + strings.Repeat("{},", 9000))
	f.Add("crm:sync:user:user_created\n" + strings.Repeat("a\n\n", 3000))
	f.Add("{a:sync:b}:retry:g\nevent\n{\"eventType\":\"user_created\"}\nfreshet-id\n1-1")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text, "\n")
		e := wire.Entry{Stream: lines[0], ID: wire.ID{Ms: 1764849600000}}
		var fields []events.Field
		for i := 1; i+1 < len(lines); i += 2 {
			fields = append(fields, events.Field{Name: lines[i], Value: lines[i+1]})
		}
		e.Fields = events.FieldsOf(fields...)
		env, refusal := decoder.Decode(&e)
		checkAllocation(t, &e)
		if env == nil || env.Identity == "" {
			t.Fatalf("envelope %+v", env)
		}
		if env.Tenant != "" && events.ValidTenant(env.Tenant) != nil {
			t.Fatalf("tenant %q", env.Tenant)
		}
		if refusal != nil {
			if refusal.Reason == "" || refusal.Field == "" {
				t.Fatalf("refusal %+v", refusal)
			}
			return
		}
		if env.Type == nil {
			return
		}
		if env.Tenant == "" && env.Type.Shape != events.ShapeAcknowledgment {
			t.Fatal("accepted without a tenant")
		}
		if err := events.ValidID(env.Entity.ID); err != nil {
			t.Fatalf("entity %q: %v", env.Entity.ID, err)
		}
		var data map[string]json.RawMessage
		if err := json.Unmarshal(env.Data, &data); err != nil || !utf8.Valid(env.Data) {
			t.Fatalf("data %q: %v", env.Data, err)
		}
		if env.Metadata != nil && !json.Valid(env.Metadata) {
			t.Fatalf("metadata %q", env.Metadata)
		}
		if env.Type.Field("amount") != nil && string(data["amount"]) == "" {
			t.Fatalf("no amount in %s", env.Data)
		}
	})
}
