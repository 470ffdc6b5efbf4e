package freshet

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/wire"
)

// Who keeps a delivery keeps its neighbours, but of long entries none.
func TestKeptDelivery(t *testing.T) {
	for _, size := range []int{500, 1700, 250 << 10} {
		var ds deliveries
		var d wire.Decoder
		var kept *Delivery
		before := heapInUse()
		for i := range 64 {
			entry := wire.Entry{Stream: "crm:sync:user:user_created", ID: wire.ID{Ms: 1764849600000, Seq: uint64(i)}, Fields: events.FieldsOf(
				events.Field{Name: "eventType", Value: "user_created"},
				events.Field{Name: "tenantId", Value: "acme"},
				events.Field{Name: "data", Value: fmt.Sprintf(`{"userId":"u%d","email":"a@b.c","x":%q}`, i, strings.Repeat("x", size-100))},
			)}
			env, refusal := d.Decode(&entry)
			if refusal != nil {
				t.Fatal(refusal)
			}
			m := delivery.Message{Envelope: env, Entry: &entry, Attempt: 1}
			m.Own = ds.next(&m)
			if got := (&Consumer{}).delivery(&m); i == 40 {
				kept = got
			} else if got == kept || got.Envelope != env {
				t.Fatal("another call's")
			}
		}
		if n := heapInUse() - before; n > max(200<<10, 3*size) {
			t.Errorf("%d KB are kept with a delivery of %d bytes", n>>10, size)
		}
		runtime.KeepAlive(kept)
	}
}

// A handler may change what it gets; the next attempt gets another.
func TestDeliveryIsOneCalls(t *testing.T) {
	var ds deliveries
	c := &Consumer{name: "a"}
	m := delivery.Message{Envelope: &events.Envelope{ID: "1-0"}, Attempt: 1}
	m.Own = ds.next(&m)
	first := c.delivery(&m)
	if first.Attempt != 1 || first.Consumer != "a" || first.ID != "1-0" {
		t.Errorf("%+v", first)
	}
	first.Envelope = nil
	if again := c.delivery(&m); again == first || again.Attempt != 1 || again.ID != "1-0" {
		t.Errorf("again: %+v", again)
	}
}

func heapInUse() int {
	for range 3 { // what the first has taken from pools
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
