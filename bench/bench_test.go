package main

import (
	"context"
	"encoding/xml"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

func testServer(t *testing.T) *server {
	t.Helper()
	s, err := startServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Every peer handles each entry once and leaves nothing pending, also where
// entries are fewer than it reads at once, or not a multiple of it.
func TestConsumersDoTheWork(t *testing.T) {
	s := testServer(t)
	b := backlog{server: s, streams: []string{userStream}, entries: 2503}
	if err := s.fill(fill{streams: b.streams, entries: b.entries}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		consume
		decodes bool
	}{
		"raw":                    {consumeRaw(false), false},
		"raw overlapped":         {consumeRaw(true), false},
		"guide":                  {consumeGuide, true},
		"go-redis":               {consumeGoRedis(false), false},
		"go-redis decoding":      {consumeGoRedis(true), true},
		"watermill":              {consumeWatermill(1), true},
		"watermill, many":        {consumeWatermill(8), true},
		"redisqueue":             {consumeRedisqueue(100, 10), true},
		"freshet":                {consumeFreshet, true},
		"freshet raw":            {consumeFreshetRaw, false},
		"freshet, two consumers": {freshetConsumers{count: 2}.run, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			users := make(chan string, 2*b.entries)
			run := b.fresh()
			if err := c.consume(ctx, run, func(user string) { users <- user }); err != nil {
				t.Fatal(err)
			}
			if err := run.check(len(users)); err != nil {
				t.Error(err)
			}
			seen := map[string]bool{}
			for range len(users) {
				seen[<-users] = true
			}
			if want := b.entries; c.decodes && len(seen) != want {
				t.Errorf("told of %d users, want %d", len(seen), want)
			}
		})
	}
}

func TestPublishersDoTheWork(t *testing.T) {
	s := testServer(t)
	const n = 1201 // not a multiple of a pipeline
	if len(readyFields) != 11 {
		t.Errorf("%d fields are ready to be published", len(readyFields))
	}
	for name, p := range map[string]publish{
		"prebuilt":         publishPrebuilt,
		"rueidis":          publishRueidis(4, flushDelay),
		"rueidis pipeline": publishRueidisPipeline,
		"go-redis":         publishGoRedis(4),
		"pipeline":         publishGoRedisPipeline,
		"watermill":        publishWatermill(4),
		"freshet":          publishFreshet(4),
		"freshet batch":    publishFreshetBatch,
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.publisher(name, n, p).run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What the peers are measured with is an event as the suite writes it.
func TestEventIsTheGuides(t *testing.T) {
	fields := numbered(userFields(userStream, 0), 7)
	if n := size(fields); len(fields) != 11 || n < 800 || n > 900 {
		t.Errorf("%d fields, %d bytes", len(fields), n)
	}
	var d wire.Decoder
	env, refusal := d.Decode(&wire.Entry{Stream: userStream, ID: wire.ID{Ms: 1}, Fields: events.FieldsOf(fields...)})
	if refusal != nil {
		t.Fatal(refusal)
	}
	user, err := events.Decode[events.UserCreated](env)
	if err != nil {
		t.Fatal(err)
	}
	if n := userNumber(user.UserID); n != 7 || user.UserID != userID(7) {
		t.Errorf("user %q is number %d, want 7", user.UserID, n)
	}
	command := string(userTemplate(userStream, 0).append(nil, 7))
	for _, f := range fields {
		if !strings.Contains(command, "\r\n"+f.Value+"\r\n") {
			t.Errorf("the prepared command lacks %s = %s", f.Name, f.Value)
		}
	}
}

func TestSpread(t *testing.T) {
	if got, want := spreadOf([]float64{9, 1, 4}), (spread{median: 4, low: 1, high: 9}); got != want {
		t.Errorf("odd: %v", got)
	}
	if got := spreadOf([]float64{4, 1, 2, 9}).median; got != 3 {
		t.Errorf("even: %v", got)
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		v    verdict
		want string
	}{
		{verdict{value: spread{median: 0.96}, goal: 0.95}, "yes"},
		{verdict{value: spread{median: 0.94}, goal: 0.95}, "**no**"},
		{verdict{value: spread{median: 2}, goal: 2, atMost: true}, "yes"},
		{verdict{value: spread{median: 2.1}, goal: 2, atMost: true}, "**no**"},
		{verdict{value: spread{median: 2.1}}, ""},
	} {
		if got := c.v.met(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.v, got, c.want)
		}
	}
}

// The page has a part for each section, which is replaced and nothing else.
func TestPageHasItsParts(t *testing.T) {
	before, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"goals"}
	for _, s := range sections {
		names = append(names, s.name)
	}
	page := before
	for _, name := range names {
		if page, err = replacePart(page, name, "new text of "+name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range names {
		if strings.Count(string(page), "new text of "+name+"\n") != 1 {
			t.Errorf("%s was not written once", name)
		}
		if page, err = replacePart(page, name, ""); err != nil {
			t.Error(err)
		}
	}
	if _, err := replacePart(page, "nothing", "x"); err == nil {
		t.Error("a part that the page does not have was replaced")
	}
	if !strings.HasPrefix(string(page), strings.SplitAfter(string(before), "<!--")[0]) {
		t.Error("other text was changed")
	}
}

func TestPlotIsXML(t *testing.T) {
	for _, log := range []bool{false, true} {
		p := plot{title: "a < b & c", unit: "ms", log: log, bars: []bar{
			{label: "guide's loop", spread: spread{2, 1, 3}}, {label: "freshet", spread: spread{200, 100, 300}, ours: true}, {label: "none"},
		}}
		d := xml.NewDecoder(strings.NewReader(string(p.svg())))
		for {
			token, err := d.Token()
			if token == nil {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			start, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			for _, a := range start.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || a.Name.Local == "width" && strings.HasPrefix(a.Value, "-") {
					t.Errorf("<%s %s=%q>", start.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
}

// The tables of what grows and of idle consumers, in small.
func TestGrowthAndCost(t *testing.T) {
	s := scale{rounds: 1, backlog: 4000, small: 100, idle: 100 * time.Millisecond, pending: 10_000, huge: 5000}
	for name, measure := range map[string]func(context.Context, scale) (*section, error){"growth": measureGrowth, "cost": measureCost} {
		result, err := measure(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Log("\n" + result.markdown())
		for _, p := range result.parts {
			for _, row := range p.table.rows {
				if len(row) != len(p.table.head) {
					t.Errorf("%s: %s: a row of %d cells under %d heads", name, p.heading, len(row), len(p.table.head))
				}
			}
		}
	}
}
