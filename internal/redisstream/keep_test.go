package redisstream

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// userCreated is an entry whose data is so many bytes long.
func userCreated(i, size int) wire.Entry {
	return wire.Entry{Stream: "crm:sync:user:user_created", ID: wire.ID{Ms: 1764849600000, Seq: uint64(i)}, Fields: events.FieldsOf(
		events.Field{Name: "eventType", Value: "user_created"},
		events.Field{Name: "tenantId", Value: "00000000-0000-0000-0000-000000000001"},
		events.Field{Name: "data", Value: fmt.Sprintf(`{"userId":"u%d","email":"a@b.c","x":%q}`, i, strings.Repeat("x", size))},
	)}
}

// read returns entries as a client gets them.
func read(t *testing.T, entries []wire.Entry) []wire.Entry {
	_, reads, _ := passedOn(t, replyOf(entries), nil)
	if len(reads) != 1 || reads[0].err != nil {
		t.Fatalf("%d reads: %v", len(reads), reads)
	}
	return reads[0].entries
}

func heap() int {
	runtime.GC()
	runtime.GC() // what the first has taken from pools
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestKeptMemory: who keeps one envelope, or entry, keeps no more with it than
// the documentation of events.Envelope says, whatever came beside it.
func TestKeptMemory(t *testing.T) {
	fields := userCreated(0, 10)
	many := fields.Fields.List()
	for i := range 5000 {
		many = append(many, events.Field{Name: fmt.Sprint(i)})
	}
	fields.Fields = events.FieldsOf(many...)
	for name, of := range map[string]func(i int) wire.Entry{
		"alike":                 func(i int) wire.Entry { return userCreated(i, 500) },
		"of 1,800 bytes":        func(i int) wire.Entry { return userCreated(i, 1800) },
		"beside long ones":      func(i int) wire.Entry { return userCreated(i, 10+i%2*(250<<10)) },
		"beside a piece's size": func(i int) wire.Entry { return userCreated(i, 10+i%2*pieceSize) },
		"beside almost that":    func(i int) wire.Entry { return userCreated(i, 10+i%2*(pieceSize-500)) },
		"one in eight is long":  func(i int) wire.Entry { return userCreated(i, 10+min(i%8, 1)*2100) },
		"beside many fields": func(i int) wire.Entry {
			if i%8 == 0 {
				return fields
			}
			return userCreated(i, 10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []wire.Entry
			for i := range 32 {
				sent = append(sent, of(i))
			}
			var d wire.Decoder
			before := heap()
			var kept *events.Envelope
			func() {
				entries := read(t, sent)
				for i := range entries {
					if env, refusal := d.Decode(&entries[i]); i == 10 {
						if kept = env; refusal != nil {
							t.Fatal(refusal)
						}
					}
				}
			}()
			if n := heap() - before; n > 100<<10 {
				t.Errorf("%d KB are kept with an envelope", n>>10)
			}
			runtime.KeepAlive(kept)
			runtime.KeepAlive(sent)
		})
	}
}
