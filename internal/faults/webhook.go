package faults

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/webhook"
)

// What the endpoints of webhooks do.
var webhookFaults = []fault{
	{"F40", "webhooks that fail, hang and ask for less", true, badEndpoints},
}

const (
	webhookTimeout  = time.Second
	webhookAttempts = 4
)

// endpoint receives webhooks and has a consumer, in a group of its own, that
// delivers them.
type endpoint struct {
	*consumer
	name, group string

	mu       sync.Mutex
	bad      func(http.ResponseWriter, webhook.Event) // answers instead, unless nil
	requests int
	tries    map[string]int // requests of each event
	slowest  time.Duration  // call of the handler
}

// endpoint starts one whose requests are answered by bad, nil for 200.
func (t *trial) endpoint(redis, name string, bad func(http.ResponseWriter, webhook.Event)) *endpoint {
	e := &endpoint{name: name, group: "webhook-" + name, bad: bad, tries: map[string]int{}}
	receiver := httptest.NewServer(http.HandlerFunc(e.receive))
	t.atEnd(receiver.Close)
	target, err := webhook.New(webhook.Config{
		URL: receiver.URL, Secrets: []webhook.Secret{webhook.NewSecret()}, Timeout: webhookTimeout,
		AllowPrivate: true, AllowInsecure: true,
	})
	t.must(err)
	t.atEnd(target.Close)
	cfg := freshet.ConsumerConfig{Group: e.group, MaxAttempts: webhookAttempts, BackoffMin: 100 * time.Millisecond}
	e.consumer = t.consume(redis, cfg, func(ctx context.Context, d *freshet.Delivery) error {
		start := time.Now()
		err := target.Handle(ctx, d)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.slowest = max(e.slowest, time.Since(start))
		return err
	})
	return e
}

func (e *endpoint) receive(w http.ResponseWriter, r *http.Request) {
	var event webhook.Event
	if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
		panic(err)
	}
	e.mu.Lock()
	e.requests++
	e.tries[event.ID]++
	bad := e.bad
	e.mu.Unlock()
	if bad != nil {
		bad(w, event)
	}
}

func (e *endpoint) heal() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bad = nil
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests
}

func fails(w http.ResponseWriter, _ webhook.Event) { w.WriteHeader(http.StatusInternalServerError) }

const webhookVictim = "user-7"

func failsForVictim(w http.ResponseWriter, event webhook.Event) {
	if event.Entity.ID == webhookVictim {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// drips answers with headers that never end.
func drips(w http.ResponseWriter, _ webhook.Event) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Slow: ")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		<-tick.C
		_, err = io.WriteString(conn, "x")
	}
}

// limiter takes a number of requests, and then none for a time that it names.
type limiter struct {
	mu      sync.Mutex
	left    int
	until   time.Time
	refused int // times that it said when to come back
	early   int // requests that came before, though they were told
}

const (
	limiterTakes = 200
	limiterWait  = 2 * time.Second
	underWay     = 250 * time.Millisecond // requests may be when the first is refused
)

func (l *limiter) answer(w http.ResponseWriter, _ webhook.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	wait := l.until.Sub(now)
	switch {
	case wait > 0:
		if limiterWait-wait > underWay {
			l.early++
		}
	case l.left == 0:
		l.left = limiterTakes
		l.refused++
		wait = limiterWait
		l.until = now.Add(wait)
	default:
		l.left--
		return
	}
	// Whole seconds, and so no sooner than is meant.
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	w.WriteHeader(http.StatusTooManyRequests)
}

// badEndpoints delivers the same events to endpoints that are bad, each in
// its way, and to one that is not and must not notice.
func badEndpoints(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	healthy := t.endpoint(server.URL(), "healthy", nil)
	measure := func() time.Duration {
		begin := time.Now()
		stop := t.start(l, 50)
		t.pass(scaled(t, 12*time.Second, 4*time.Second))
		stop()
		t.settled(server, healthy.group, 10*time.Second)
		var delays []time.Duration
		for _, r := range healthy.journal.since(begin) {
			ms, _ := splitID(r.Entry)
			delays = append(delays, r.At.Sub(time.UnixMilli(int64(ms))))
		}
		return percentile(delays, 99)
	}
	t.many(l, 200) // of all entities
	t.steady(&healthy.journal, 200)
	alone := measure()

	var limits limiter
	poisoned := t.endpoint(server.URL(), "poisoned", failsForVictim)
	failing := t.endpoint(server.URL(), "failing", fails)
	hanging := t.endpoint(server.URL(), "hanging", drips)
	limited := t.endpoint(server.URL(), "limited", limits.answer)
	for _, e := range []*endpoint{poisoned, failing, hanging, limited} {
		t.until(e.name+" has requests", 10*time.Second, func() bool { return e.count() > 0 })
	}
	beside := measure()

	for _, e := range []*endpoint{failing, hanging} {
		t.check(e.count() <= 50, "%s had %d requests while it was bad", e.name, e.count())
		t.note("%s had %d requests while it was bad, of %d events", e.name, e.count(), len(l.acked))
	}
	failing.heal()
	hanging.heal()
	back := time.Now()
	for _, e := range []*endpoint{failing, hanging} {
		t.until(e.name+" gets events again", 40*time.Second, func() bool { return len(e.journal.since(back)) > 0 })
		t.recovered("delivering to "+e.name, time.Since(back), 31*time.Second)
	}
	for _, e := range []*endpoint{healthy, poisoned, failing, hanging, limited} {
		t.settled(server, e.group, 60*time.Second)
		e.stop()
		s := t.noneLost(server, e.group, l, &e.journal)
		if e != poisoned {
			t.check(len(s.deadLetters) == 0, "%d dead letters of %s", len(s.deadLetters), e.name)
			continue
		}
		t.check(len(s.deadLetters) > 0, "nothing was dead-lettered")
		for id, n := range e.tries {
			want := 1
			if s.deadLetters[id] > 0 {
				want = webhookAttempts
			}
			t.check(n == want, "event %s was sent %d times (dead-lettered: %t)", id, n, want > 1)
		}
		t.note("%d events dead-lettered after %d attempts each", len(s.deadLetters), webhookAttempts)
	}
	t.published = len(l.acked) + len(l.unknown) // not once for each group

	t.check(hanging.slowest <= webhookTimeout+500*time.Millisecond, "a request that hung was given up after %v", hanging.slowest)
	t.check(limits.refused > 1 && limits.early == 0, "%d requests came early, of %d times that the endpoint asked for less", limits.early, limits.refused)
	// Ids are whole milliseconds: less than ten cannot be told apart from noise.
	t.check(beside <= 3*max(alone, 10*time.Millisecond), "the 99th percentile of the healthy endpoint is %v, %v alone", beside, alone)
	t.note("99th percentile of the healthy endpoint: %v alone, %v beside the others",
		alone.Round(100*time.Microsecond), beside.Round(100*time.Microsecond))
}
