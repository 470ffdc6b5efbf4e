package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// point is one value of what grows.
type point struct {
	label   string
	backlog backlog
	fill    fill
	consume consume
	peer    consume // measured beside it, where there is one

	samples, peers []sample
	slowest        time.Duration // command, of the server
	command        string
}

// curve is how the throughput changes with one thing.
type curve struct {
	heading, what string // what grows
	note          string
	name          string // of the plot
	points        []point
	goals         map[string]float64 // of points, as shares of the first
	slowest       bool               // report the server's slowest command
}

// measureGrowth measures what is to stay as fast when something grows.
func measureGrowth(ctx context.Context, s scale) (*section, error) {
	out := &section{title: "Growth"}
	rounds := min(s.rounds, 5)
	for _, c := range []curve{streamsCurve(s), pendingCurve(s), consumersCurve(s), payloadCurve(s), entitiesCurve(s)} {
		if err := c.measure(ctx, rounds); err != nil {
			return nil, fmt.Errorf("%s: %w", c.heading, err)
		}
		out.parts = append(out.parts, c.part())
		out.verdicts = append(out.verdicts, c.verdicts()...)
	}
	start, verdicts, err := measureStart(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	out.parts, out.verdicts = append(out.parts, *start), append(out.verdicts, verdicts...)
	if s.huge > 0 {
		huge, err := measureHuge(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("huge backlog: %w", err)
		}
		out.parts = append(out.parts, *huge)
	}
	return out, nil
}

func streamsCurve(s scale) curve {
	c := curve{
		heading: "Streams of one consumer", what: "streams", name: "growth-streams",
		note:  "The same number of entries, dealt to the streams in turn.",
		goals: map[string]float64{"100": 0.85, "1,000": 0.6},
	}
	for i, n := range []int{1, 10, 100, 1000} {
		streams := make([]string, n)
		for j := range streams {
			streams[j] = fmt.Sprintf("%s:%d", userStream, j)
		}
		c.add(thousands(float64(n)), backlog{db: i, streams: streams, entries: s.backlog / 2}, fill{}, consumeFreshet)
	}
	return c
}

func pendingCurve(s scale) curve {
	c := curve{
		heading: "Pending entries of another consumer", what: "pending", name: "growth-pending", slowest: true,
		note:  "Another consumer of the group, which is alive, holds so many entries while ours drains new ones.",
		goals: map[string]float64{"10,000": 0.95, "100,000": 0.95, "1,000,000": 0.95},
	}
	for i, held := range []int{0, 10_000, 100_000, 1_000_000} {
		if held > s.pending {
			break
		}
		c.add(thousands(float64(held)), backlog{db: i, entries: s.backlog / 2, held: held}, fill{}, freshetConsumers{count: 1, lease: time.Hour}.run)
	}
	return c
}

func consumersCurve(s scale) curve {
	c := curve{heading: "Consumers of one group", what: "consumers", name: "growth-consumers",
		note: "All in one process, which shares its two cores with the server: more consumers add work, not cores."}
	for i, n := range []int{1, 4, 16} {
		c.add(fmt.Sprint(n), backlog{db: i, entries: s.backlog / 2}, fill{}, freshetConsumers{count: n}.run)
	}
	return c
}

func payloadCurve(s scale) curve {
	c := curve{heading: "Payload", what: "bytes of data", name: "growth-payload",
		note: "Handlers take the raw data, beside the raw client with two reads in flight. The other ten fields are about 600 bytes."}
	for i, p := range []struct{ bytes, entries int }{{200, s.backlog / 2}, {1_000, s.backlog / 2}, {10_000, s.backlog / 8}, {100_000, s.backlog / 80}} {
		c.add(thousands(float64(p.bytes)), backlog{db: i, entries: p.entries}, fill{dataBytes: p.bytes}, consumeFreshetRaw)
		c.points[i].peer = consumeRaw(true)
	}
	return c
}

func entitiesCurve(s scale) curve {
	c := curve{heading: "Entities", what: "users", name: "growth-entities", note: "The events of one user are handled one after the other."}
	for i, n := range []int{1, 100, 10_000} {
		c.add(thousands(float64(n)), backlog{db: i, entries: s.backlog / 2}, fill{entities: n}, consumeFreshet)
	}
	return c
}

func (c *curve) add(label string, b backlog, f fill, with consume) {
	if b.streams == nil {
		b.streams = []string{userStream}
	}
	f.db, f.streams, f.entries = b.db, b.streams, b.held+b.entries
	c.points = append(c.points, point{label: label, backlog: b, fill: f, consume: with})
}

func (c *curve) measure(ctx context.Context, rounds int) error {
	server, err := startServer()
	if err != nil {
		return err
	}
	defer server.Close()
	for i := range c.points {
		p := &c.points[i]
		p.backlog.server = server
		if err := server.fill(p.fill); err != nil {
			return err
		}
	}
	for round := range rounds {
		for i := range c.points {
			p := &c.points[i]
			err := profiled(fileName(c.name+"-"+p.label), func() error { return p.measure(ctx) })
			if err != nil {
				return fmt.Errorf("%s %s: %w", p.label, c.what, err)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s: %s: %.0f/s\n", round+1, rounds, c.heading, p.label, p.samples[round].rate())
		}
	}
	for i := range c.points {
		for range min(rounds, 3) {
			if p := &c.points[i]; c.slowest {
				if err := p.findSlowest(ctx); err != nil {
					return fmt.Errorf("%s %s: %w", p.label, c.what, err)
				}
			}
		}
	}
	return nil
}

func (p *point) measure(ctx context.Context) error {
	got, err := p.run(ctx, p.consume)
	p.samples = append(p.samples, got)
	if err != nil || p.peer == nil {
		return err
	}
	got, err = p.run(ctx, p.peer)
	p.peers = append(p.peers, got)
	return err
}

func (p *point) run(ctx context.Context, with consume) (sample, error) {
	b := p.backlog.fresh()
	if err := b.hold("another"); err != nil {
		return sample{}, err
	}
	got, err := b.server.measure(b.entries, func() error { return b.handled(ctx, with) })
	if err != nil {
		return sample{}, err
	}
	return got, b.forget()
}

// findSlowest looks, in a run that counts for nothing else, for the slowest
// command that the server runs for the consumer. (What the other consumer does
// to hold its entries is slow too.)
func (p *point) findSlowest(ctx context.Context) error {
	_, err := p.run(ctx, func(ctx context.Context, b backlog, handle func(string)) error {
		command, took, err := b.server.slowest(func() error { return p.consume(ctx, b, handle) })
		if took >= p.slowest {
			p.command, p.slowest = command, took
		}
		return err
	})
	return err
}

func (c *curve) part() part {
	t := table{head: []string{c.what, "messages/s", "min–max", "client µs/msg", "server µs/msg", "allocs/msg"}}
	if c.slowest {
		t.head = append(t.head, "slowest command of the server")
	}
	if c.points[0].peer != nil {
		t.head = append(t.head, "raw client, messages/s")
	}
	p := part{heading: c.heading, note: c.note, plot: &plot{name: c.name, title: c.heading, unit: "messages/s"}}
	for _, x := range c.points {
		rate := of(x.samples, sample.rate)
		cells := []string{x.label, thousands(rate.median), thousands(rate.low) + "–" + thousands(rate.high),
			short(of(x.samples, sample.clientMicros).median), short(of(x.samples, sample.serverMicros).median), short(of(x.samples, sample.allocsPer).median)}
		if c.slowest {
			cells = append(cells, fmt.Sprintf("%s, %s ms", x.command, short(milliseconds(x.slowest))))
		}
		p.plot.bars = append(p.plot.bars, bar{label: x.label + " " + c.what, spread: rate, ours: true})
		if x.peer != nil {
			raw := of(x.peers, sample.rate)
			cells = append(cells, thousands(raw.median))
			p.plot.bars = append(p.plot.bars, bar{label: "raw client", spread: raw})
		}
		t.add(cells...)
	}
	p.table = t
	return p
}

func (c *curve) verdicts() []verdict {
	var out []verdict
	first := c.points[0]
	for _, x := range c.points {
		if x.peer != nil {
			v := verdict{what: fmt.Sprintf("%s %s ÷ raw client", x.label, c.what), value: ratios(x.samples, x.peers)}
			if x.label == "10,000" {
				v.goal = 0.85
			}
			out = append(out, v)
		} else if x.label != first.label {
			out = append(out, verdict{what: fmt.Sprintf("%s %s ÷ %s", x.label, c.what, first.label), value: ratios(x.samples, first.samples), goal: c.goals[x.label]})
		}
		if c.slowest {
			ms := milliseconds(x.slowest)
			out = append(out, verdict{what: fmt.Sprintf("%s %s: slowest command", x.label, c.what), value: spread{ms, ms, ms}, goal: 1, atMost: true, unit: " ms"})
		}
	}
	return out
}

// ratios are of the rates, round by round.
func ratios(a, b []sample) spread {
	var values []float64
	for i := range min(len(a), len(b)) {
		values = append(values, a[i].rate()/b[i].rate())
	}
	return spreadOf(values)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measureStart measures how long a consumer that starts is busy with what a
// dead one left, before it handles anything.
func measureStart(ctx context.Context, s scale) (*part, []verdict, error) {
	const lease = 2 * time.Second
	server, err := startServer()
	if err != nil {
		return nil, nil, err
	}
	defer server.Close()
	b := backlog{server: server, streams: []string{userStream}, entries: 1000, held: s.pending}.fresh()
	if err := server.fill(fill{streams: b.streams, entries: b.held + b.entries}); err != nil {
		return nil, nil, err
	}
	if err := b.hold("dead"); err != nil {
		return nil, nil, err
	}
	wait := time.NewTimer(lease) // for the last of the entries to be given up
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-wait.C:
	}
	running, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	first := make(chan time.Time, 1) // of a new event
	left := make(chan time.Time, 1)  // of one of the dead consumer's
	begin := time.Now()
	command, took, err := server.slowest(func() error {
		ended := make(chan error, 1)
		everything := b
		everything.entries += b.held
		go func() {
			ended <- freshetConsumers{count: 1, lease: lease}.run(running, everything, func(user string) {
				to := left
				if userNumber(user) >= b.held {
					to = first
				}
				select {
				case to <- time.Now():
				default:
				}
			})
		}()
		for range 600 {
			select {
			case err := <-ended:
				return fmt.Errorf("ended early: %w", err)
			case <-time.After(100 * time.Millisecond):
			}
			if len(first) > 0 && len(left) > 0 {
				cancel()
				<-ended // tells that it did not handle everything
				return nil
			}
		}
		return errors.New("handled nothing of either kind within a minute")
	})
	if err != nil {
		return nil, nil, err
	}
	newest, taken := (<-first).Sub(begin).Seconds(), (<-left).Sub(begin).Seconds()
	t := table{head: []string{"pending of a dead consumer", "first new event after", "first event taken over after", "slowest command of the server"}}
	t.add(thousands(float64(b.held)), fmt.Sprintf("%.3f s", newest), fmt.Sprintf("%.3f s", taken), fmt.Sprintf("%s, %s ms", command, short(milliseconds(took))))
	soonest := min(newest, taken)
	v := verdict{what: thousands(float64(b.held)) + " pending of a dead consumer: first event", value: spread{soonest, soonest, soonest}, goal: 2, atMost: true, unit: " s"}
	return &part{heading: "Start beside what a dead consumer left", table: t}, []verdict{v}, nil
}

// measureHuge drains a backlog that is far larger than what a consumer may
// hold.
func measureHuge(ctx context.Context, s scale) (*part, error) {
	server, err := startServer()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	t := table{head: []string{"backlog", "messages/s", "client µs/msg", "most memory of the client", "memory of the server"}}
	for i, n := range []int{s.huge / 100, s.huge} {
		b := backlog{server: server, db: i, streams: []string{userStream}, entries: n}.fresh()
		if err := server.fill(fill{db: i, streams: b.streams, entries: n}); err != nil {
			return nil, err
		}
		var got sample
		peak, err := peakMemory(func() (err error) {
			got, err = server.measure(n, func() error { return b.handled(ctx, consumeFreshet) })
			return err
		})
		if err != nil {
			return nil, err
		}
		t.add(thousands(float64(n)), thousands(got.rate()), short(got.clientMicros()), short(float64(peak)/1e6)+" MB", short(float64(server.memory())/1e6)+" MB")
	}
	return &part{heading: "A huge backlog", table: t}, nil
}
