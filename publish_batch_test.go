package freshet_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

func TestPublishBatchAnswersEach(t *testing.T) {
	bus, server := start(t)
	messages := []freshet.Message{
		{Tenant: tenant, Payload: user(1)},
		{Tenant: tenant, Payload: events.UserCreated{UserID: "broken"}},
		{Tenant: tenant, Payload: user(3)},
	}
	results := bus.PublishBatch(t.Context(), messages)
	if results[0].Err != nil || results[2].Err != nil || !errors.Is(results[1].Err, freshet.ErrFailed) {
		t.Fatalf("results %+v", results)
	}
	if results[0].Receipt.ID >= results[2].Receipt.ID {
		t.Errorf("order lost: %s then %s", results[0].Receipt.ID, results[2].Receipt.ID)
	}
	if n := server.Do("XLEN", "crm:sync:user:user_created"); n != int64(2) {
		t.Errorf("XLEN %v, want 2", n)
	}
}

// entryOf returns the id and the fields of one entry of XRANGE's reply.
func entryOf(reply any) (id string, field map[string]string) {
	entry := reply.([]any)
	field = map[string]string{}
	for f := range slices.Chunk(entry[1].([]any), 2) {
		field[f[0].(string)] = f[1].(string)
	}
	return entry[0].(string), field
}

// A long batch goes in parts, and nobody can tell.
func TestLongPublishBatch(t *testing.T) {
	bus, server := start(t)
	messages := make([]freshet.Message, 2900)
	for i := range messages {
		messages[i] = freshet.Message{Tenant: tenant, Payload: user(i)}
		if i%7 == 3 {
			messages[i].Payload = events.UserCreated{UserID: "broken"}
		}
	}
	var want, got []string
	for i, r := range bus.PublishBatch(t.Context(), messages) {
		switch {
		case i%7 == 3:
			if !errors.Is(r.Err, freshet.ErrFailed) || r.Receipt != (freshet.Receipt{}) {
				t.Errorf("result %d: %+v", i, r)
			}
		case r.Err != nil || r.Receipt.ID == "":
			t.Errorf("result %d: %+v", i, r)
		default:
			want = append(want, r.Receipt.ID+" "+r.Receipt.EventID+" "+messages[i].Payload.(events.UserCreated).UserID)
		}
	}
	for _, entry := range server.Do("XRANGE", "crm:sync:user:user_created", "-", "+").([]any) {
		id, field := entryOf(entry)
		got = append(got, id+" "+field["messageId"]+" "+field["entityId"])
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d on the stream, want %d, in order and as the receipts say", len(got), len(want))
	}
	if r := bus.PublishBatch(t.Context(), nil); len(r) != 0 {
		t.Errorf("of nothing: %v", r)
	}
}

// Of a batch that ends early, the parts that were not sent are known not to be
// there.
func TestPublishBatchEndsWithItsContext(t *testing.T) {
	bus, server := start(t)
	server.Stop()
	defer server.Cont()
	messages := make([]freshet.Message, 2900)
	for i := range messages {
		messages[i] = freshet.Message{Tenant: tenant, Payload: user(i)}
	}
	unknown := 0
	// A machine that is busy may need longer to encode the first part.
	for limit := 500 * time.Millisecond; unknown == 0; limit *= 2 {
		if limit > 10*time.Second {
			t.Fatalf("nothing is sent within %v", limit/2)
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		late := overdue(ctx)
		results := bus.PublishBatch(ctx, messages)
		if took := late(); took > 1500*time.Millisecond {
			t.Errorf("took %v longer than a deadline of %v", took, limit)
		}
		cancel()
		for i, r := range results {
			switch {
			case errors.Is(r.Err, freshet.ErrUnknown) && unknown == i:
				unknown++
			case !errors.Is(r.Err, freshet.ErrFailed):
				t.Fatalf("result %d after %d unknown: %v", i, unknown, r.Err)
			}
		}
	}
	if unknown == len(messages) {
		t.Errorf("all of %d unknown", unknown)
	}
	server.Cont()
	more := publishUntilTaken(t, bus, 1, user)
	if n := server.Do("XLEN", "crm:sync:user:user_created").(int64); n > int64(unknown+more) {
		t.Errorf("XLEN %d, with %d unknown and %d published after that", n, unknown, more)
	}
}

// The same of batches that are long enough to be encoded by two goroutines,
// and large enough that the connection cannot take those that are given up.
func TestGivenUpBatchesKeepTheirFields(t *testing.T) {
	bus, server := start(t)
	const long = 100
	name := func(id string) string { return strings.Repeat(id+" ", 500) }
	named := func(n int) events.UserCreated {
		p := user(n)
		p.Name = name(p.UserID)
		return p
	}
	unknown, acknowledged := 0, 0
	// At least two rounds; a machine that is busy may need longer to encode one.
	limit := 15 * time.Millisecond
	for i := 0; i < 40 || i%20 != 0 || unknown == 0 || acknowledged < long; i++ {
		switch i % 20 {
		case 0:
			if i >= 40 {
				limit *= 4
			}
			if limit > time.Second {
				t.Fatalf("the test shows little: %d unknown, %d acknowledged", unknown, acknowledged)
			}
		case 5:
			server.Stop()
		case 19:
			server.Cont()
		}
		messages := make([]freshet.Message, long)
		for n := range messages {
			messages[n] = freshet.Message{Tenant: tenant, Payload: named(long*i + n)}
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		for _, r := range bus.PublishBatch(ctx, messages) {
			switch {
			case r.Err == nil:
				acknowledged++
			case errors.Is(r.Err, freshet.ErrUnknown):
				unknown++
			}
		}
		cancel()
	}
	publishUntilTaken(t, bus, 1_000_000, named)
	entries := server.Do("XRANGE", "crm:sync:user:user_created", "-", "+").([]any)
	for _, entry := range entries {
		_, field := entryOf(entry)
		id := field["entityId"]
		if !strings.Contains(field["data"], `"`+name(id)+`"`) || !strings.Contains(field["metadata"], id+"_") {
			t.Fatalf("of several events: %.1000v", field)
		}
	}
	if len(entries) < acknowledged {
		t.Errorf("%d entries, of %d that were acknowledged", len(entries), acknowledged)
	}
}

// Whoever encodes them, the events of a batch have ids and times in its order.
func TestBatchIDsAreInItsOrder(t *testing.T) {
	bus, server := start(t)
	messages := make([]freshet.Message, 2500)
	for i := range messages {
		messages[i] = freshet.Message{Tenant: tenant, Payload: user(i)}
	}
	last := ""
	for range 3 {
		for i, r := range bus.PublishBatch(t.Context(), messages) {
			if r.Err != nil || r.Receipt.EventID <= last {
				t.Fatalf("result %d: %+v after %s", i, r, last)
			}
			last = r.Receipt.EventID
		}
		if r := publish(t, bus, user(1)); r.EventID <= last {
			t.Errorf("%s after %s", r.EventID, last)
		}
	}
	at := ""
	for _, entry := range server.Do("XRANGE", "crm:sync:user:user_created", "-", "+").([]any) {
		f := entry.([]any)[1].([]any)
		if f[4] != "timestamp" || f[5].(string) < at {
			t.Fatalf("%v after %s", f, at)
		}
		at = f[5].(string)
	}
}

// Nor do the times of a batch's events run back where an early one is encoded
// last; keyed ones have nothing else to tell the newer by. A time that is given
// stays as it is, so that they can be told apart within a millisecond.
func TestBatchTimesAreInItsOrder(t *testing.T) {
	bus, _ := start(t)
	const n = 100 // enough for two goroutines
	given := time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC)
	var first, second []freshet.Message
	last := make(chan time.Time, 1)
	for i := range n {
		m := freshet.Message{Tenant: tenant, Payload: user(1), Key: strconv.Itoa(i)}
		switch i {
		case 0: // of the first 16, all of which wait for it
			m.Metadata = map[string]any{"m": marshaler(func() {
				select {
				case at := <-last:
					for !time.Now().After(at.Add(2 * time.Millisecond)) {
						time.Sleep(time.Millisecond)
					}
				case <-time.After(10 * time.Second):
					t.Error("the last event is not encoded beside the first")
				}
			})}
		case n - 1:
			m.Metadata = map[string]any{"m": marshaler(func() { last <- time.Now() })}
		}
		first = append(first, m)
		m.Key, m.Metadata, m.Time = "given "+m.Key, nil, given.Add(time.Duration(i)*time.Millisecond)
		second = append(second, m)
	}
	var want []string
	for _, r := range append(bus.PublishBatch(t.Context(), first), bus.PublishBatch(t.Context(), second)...) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		want = append(want, r.Receipt.EventID)
	}
	var got []string
	var at []time.Time
	c := bus.Consumer(freshet.ConsumerConfig{Group: "g"})
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		got, at = append(got, e.Identity), append(at, e.Time)
		return nil
	})
	drain(t, c)
	if !slices.Equal(got, want) {
		t.Fatalf("%d events came, or in another order than that of the batch", len(got))
	}
	for i := range n {
		if i > 0 && at[i].Before(at[i-1]) {
			t.Errorf("event %d: %v after %v", i, at[i], at[i-1])
		}
		if !at[n+i].Equal(second[i].Time) {
			t.Errorf("event %d: %v, want %v", i, at[n+i], second[i].Time)
		}
	}
}

// marshaler has something done when it is encoded.
type marshaler func()

func (m marshaler) MarshalJSON() ([]byte, error) {
	m()
	return []byte("1"), nil
}

// A panic of a marshaler reaches the caller, whoever encodes.
func TestPanicWhileEncodingABatch(t *testing.T) {
	bus, _ := start(t)
	messages := make([]freshet.Message, 200)
	for i := range messages {
		messages[i] = freshet.Message{Tenant: tenant, Payload: user(i), Metadata: map[string]any{"m": panics{first: i == 0}}}
	}
	func() {
		defer func() {
			if r := recover(); r != "of the marshaler" {
				t.Errorf("recovered %v", r)
			}
		}()
		bus.PublishBatch(t.Context(), messages)
	}()
	for i := range messages { // nobody reads them any more
		messages[i].Tenant = "another"
	}
	publish(t, bus, user(1))
}

// panics are slow, but for the first, which panics.
type panics struct{ first bool }

func (p panics) MarshalJSON() ([]byte, error) {
	if p.first {
		panic("of the marshaler")
	}
	time.Sleep(time.Millisecond)
	return []byte("1"), nil
}
