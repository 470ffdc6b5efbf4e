package freshet_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

func TestPublishAcknowledged(t *testing.T) {
	bus, server := start(t)
	receipt := publish(t, bus, user(1))
	if receipt.Stream != "crm:sync:user:user_created" || receipt.ID == "" || receipt.EventID == "" {
		t.Errorf("receipt %+v", receipt)
	}
	if n := server.Do("XLEN", receipt.Stream); n != int64(1) {
		t.Errorf("XLEN %v, want 1", n)
	}
}

func TestPublishRefusesBeforeTheWire(t *testing.T) {
	bus, server := start(t)
	for _, test := range []struct {
		name, tenant string
		payload      events.Payload
		field        string
	}{
		{"no email", tenant, events.UserCreated{UserID: "u", CreatedAt: time.Now()}, "data.email"},
		{"no id", tenant, events.UserDeleted{}, "data.userId"},
		{"no tenant", "", user(1), "tenantId"},
		{"glob as tenant", "acme:*", user(1), "tenantId"},
		{"no amount", tenant, events.CreditAllocated{EntityID: "e"}, "data.amount"},
	} {
		_, err := bus.Publish(t.Context(), test.tenant, test.payload)
		var field *events.FieldError
		if !errors.Is(err, freshet.ErrFailed) || !errors.As(err, &field) || field.Field != test.field {
			t.Errorf("%s: got %v, want a failure that names %s", test.name, err, test.field)
		}
	}
	if n := server.Do("DBSIZE"); n != int64(0) {
		t.Errorf("%v keys after refused publishes", n)
	}
}

func TestPublishKeyGivesOneIdentity(t *testing.T) {
	bus, _ := start(t)
	m := freshet.Message{Tenant: tenant, Payload: user(1), Key: "order-7"}
	first, err1 := bus.PublishMessage(t.Context(), m)
	second, err2 := bus.PublishMessage(t.Context(), m)
	m.Tenant = "other"
	third, err3 := bus.PublishMessage(t.Context(), m)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if first.EventID != second.EventID || first.ID == second.ID {
		t.Errorf("repeated publish: %+v then %+v, want one event id and two entries", first, second)
	}
	if third.EventID == first.EventID {
		t.Error("two tenants share an event id")
	}
}

func TestPublishUnknownWhenTheServerHangs(t *testing.T) {
	bus, server := start(t)
	server.Stop()
	defer server.Cont()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	late := overdue(ctx)
	_, err := bus.Publish(ctx, tenant, user(1))
	if took := late(); took > 500*time.Millisecond {
		t.Errorf("took %v longer than the deadline", took)
	}
	if !errors.Is(err, freshet.ErrUnknown) || errors.Is(err, freshet.ErrFailed) {
		t.Errorf("got %v, want unknown", err)
	}
	var publishErr *freshet.PublishError
	if !errors.As(err, &publishErr) || publishErr.EventID == "" {
		t.Errorf("unknown outcome without the event id: %v", err)
	}
}

// overdue returns a function that tells how much later it is than the end of a
// context, as the goroutines of this process see it: one that a busy machine
// does not run learns of that end late.
func overdue(ctx context.Context) (late func() time.Duration) {
	seen := make(chan time.Time, 1)
	go func() {
		<-ctx.Done()
		seen <- time.Now()
	}()
	return func() time.Duration {
		now := time.Now()
		return now.Sub(<-seen)
	}
}

// publishUntilTaken publishes one user after another, from n on, until one is
// acknowledged, and returns how many it has published. A publish that needs a
// new connection shares the fate of the call that makes it, which may be one
// that was given up.
func publishUntilTaken(t *testing.T, bus *freshet.Bus, n int, user func(int) events.UserCreated) (published int) {
	t.Helper()
	eventually(t, "a publish is acknowledged", func() bool {
		published++
		_, err := bus.Publish(t.Context(), tenant, user(n+published-1))
		if err != nil && !errors.Is(err, freshet.ErrUnknown) {
			t.Fatal(err)
		}
		return err == nil
	})
	return published
}

func TestPublishFailedWhenTheServerRefuses(t *testing.T) {
	bus, server := start(t)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	_, err := bus.Publish(t.Context(), tenant, user(1))
	if !errors.Is(err, freshet.ErrFailed) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("got %v, want failed, with OOM", err)
	}
}

func TestPublishFailedWhenTheServerIsGone(t *testing.T) {
	bus, server := start(t)
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	// The first publish may find out on a connection that looked alive, and
	// then cannot know; a failed dial does.
	var err error
	for range 20 {
		if _, err = bus.Publish(ctx, tenant, user(1)); errors.Is(err, freshet.ErrFailed) {
			return
		}
	}
	t.Errorf("got %v, want failed", err)
}

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

// What a publish that was given up is about to send is not another's by then:
// every entry has the fields of one event.
func TestGivenUpPublishesKeepTheirFields(t *testing.T) {
	bus, server := start(t)
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(g+i)%20)*time.Millisecond)
				if g%4 == 0 {
					bus.PublishBatch(ctx, []freshet.Message{{Tenant: tenant, Payload: user(1000*g + 2*i)}, {Tenant: tenant, Payload: user(1000*g + 2*i + 1)}})
				} else {
					_, _ = bus.Publish(ctx, tenant, user(1000*g+i)) // or not
				}
				cancel()
			}
		})
	}
	for range 5 {
		time.Sleep(10 * time.Millisecond)
		server.Stop()
		time.Sleep(20 * time.Millisecond)
		server.Cont()
	}
	wg.Wait()
	publishUntilTaken(t, bus, 100_000, user)
	seen := map[string]bool{}
	entries := server.Do("XRANGE", "crm:sync:user:user_created", "-", "+").([]any)
	for _, entry := range entries {
		_, field := entryOf(entry)
		id := field["entityId"]
		if !strings.Contains(field["data"], `"`+id+`"`) || !strings.Contains(field["data"], `"`+id+`@example.com"`) || !strings.Contains(field["metadata"], id+"_") {
			t.Errorf("of several events: %v", field)
		}
		if seen[id] || seen[field["messageId"]] {
			t.Errorf("twice: %v", field)
		}
		seen[id], seen[field["messageId"]] = true, true
	}
	if len(entries) < 100 {
		t.Errorf("the test shows little: %d entries", len(entries))
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

// Publishes of many goroutines share pipelines, and each has its own receipt.
func TestConcurrentPublishesHaveTheirOwnReceipts(t *testing.T) {
	bus, server := start(t)
	var receipts sync.Map // entry id → event id
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for i := range 20 {
				r, err := bus.Publish(t.Context(), tenant, user(20*g+i))
				if err != nil {
					t.Error(err)
					return
				}
				receipts.Store(r.ID, r.EventID)
			}
		})
	}
	wg.Wait()
	entries := server.Do("XRANGE", "crm:sync:user:user_created", "-", "+").([]any)
	for _, entry := range entries {
		e := entry.([]any)
		if eventID, _ := receipts.Load(e[0]); !slices.Contains(e[1].([]any), eventID) {
			t.Errorf("entry %v has not the event %v of its receipt", e[0], eventID)
		}
	}
	if len(entries) != 1000 {
		t.Errorf("%d entries", len(entries))
	}
}

func TestPublishCarriesTheTrace(t *testing.T) {
	bus, _ := start(t)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	if _, err := bus.Publish(trace.ContextWithSpanContext(t.Context(), span), tenant, user(1)); err != nil {
		t.Fatal(err)
	}
	var got seen
	c := bus.Consumer(freshet.ConsumerConfig{Group: "g"})
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		got.add(e.Traceparent)
		return nil
	})
	drain(t, c)
	want := "00-01000000000000000000000000000000-0200000000000000-01"
	if l := got.list(); len(l) != 1 || l[0] != want {
		t.Errorf("traceparent %q, want %q", l, want)
	}
}

func TestOpenNeverPrintsTheSecret(t *testing.T) {
	for _, url := range []string{
		"redis://user:s3cret@127.0.0.1:99999x/0",
		"http://user:s3cret@127.0.0.1:6379",
		"redis://user:s3cret@127.0.0.1:1/0",
		"redis://user:s3cret%re@127.0.0.1:6379/0",
		"redis://user:s3cret@127.0.0.1:6379/notadb",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := freshet.Open(ctx, freshet.Config{URL: url})
		cancel()
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error for a bad URL: %v", err)
		}
	}
}
