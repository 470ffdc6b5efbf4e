package wire_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// What is kept of an entry stays as it was, whatever is decoded and encoded
// after it, at the same time, and done to its neighbours.
func TestWhatIsKeptStays(t *testing.T) {
	entries := vectors(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var kept []*events.Envelope
			var was []string
			for range 5 {
				for i := range entries {
					env, _ := decoder.Decode(&entries[i].entry)
					kept, was = append(kept, env), append(was, text(t, env))
				}
			}
			for i, env := range kept {
				if got := text(t, env); got != was[i] {
					t.Errorf("%s\nwas %s", got, was[i])
					return
				}
				_ = append(append(env.Data, "more"...), append(env.Metadata, "more"...)...)
				clear(env.Data)
				clear(env.Metadata)
			}
		})
	}
	wg.Wait()
}

func TestEncodedFieldsStay(t *testing.T) {
	var kept [][]events.Field
	var was []string
	for i := range 200 {
		p := wholeUser()
		p.UserID = fmt.Sprint("user-", i)
		_, fields, id, err := wire.Encode(wire.Outgoing{Tenant: tenant, Payload: p, CorrelationID: fmt.Sprint("c-", i), Time: vectorNow})
		if err != nil {
			t.Fatal(err)
		}
		if fields[1].Value != id || fields[6].Value != p.UserID {
			t.Fatalf("fields %+v", fields)
		}
		kept, was = append(kept, fields), append(was, fmt.Sprint(fields))
	}
	for i := range kept {
		if diff := cmp.Diff(was[i], fmt.Sprint(kept[i])); diff != "" {
			t.Fatal(diff)
		}
	}
}

func text(t *testing.T, env *events.Envelope) string {
	t.Helper()
	b, err := json.Marshal([]any{env.ID, env.Identity, env.Entity, env.CorrelationID, env.Source, string(env.Data), string(env.Metadata), env.Fields, env.Warnings})
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
