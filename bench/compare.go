package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// contender does the work that is compared in one way.
type contender struct {
	name     string
	messages int // that one run handles or publishes
	run      func(ctx context.Context) error
}

// ours tells whether it is Freshet's.
func (c contender) ours() bool { return strings.HasPrefix(c.name, "freshet") }

// pair is one of ours beside a peer that does the same.
type pair struct {
	ours, peer string
	goal       float64 // the ratio of their rates is to reach it; 0: no goal
}

// comparison is the outcome of all rounds.
type comparison struct {
	order   []string
	samples map[string][]sample
	pairs   []pair
	ratios  [][]float64 // of each pair's rates, a round each
}

// compare runs each pair in each round, side by side and in turns first. A
// contender of several pairs runs for each.
func (s *server) compare(ctx context.Context, scale scale, contenders []contender, pairs []pair) (*comparison, error) {
	pairs = slices.DeleteFunc(pairs, func(p pair) bool { return !strings.Contains(p.peer, scale.peer) })
	c := &comparison{samples: map[string][]sample{}, pairs: pairs, ratios: make([][]float64, len(pairs))}
	byName := map[string]contender{}
	for _, who := range contenders {
		c.order = append(c.order, who.name)
		byName[who.name] = who
	}
	run := func(name string) (sample, error) {
		who := byName[name]
		if who.run == nil {
			return sample{}, fmt.Errorf("no contender %q", name)
		}
		var got sample
		measured := func() (err error) {
			got, err = s.measure(who.messages, func() error { return who.run(ctx) })
			return err
		}
		var err error
		if who.ours() {
			err = profiled(fileName(name), measured)
		} else {
			err = measured()
		}
		if err != nil {
			return sample{}, fmt.Errorf("%s: %w", name, err)
		}
		c.samples[name] = append(c.samples[name], got)
		return got, ctx.Err()
	}
	for round := range scale.rounds {
		for i, p := range pairs {
			first, second := p.ours, p.peer
			if round%2 == 1 {
				first, second = second, first
			}
			a, err := run(first)
			if err != nil {
				return nil, err
			}
			b, err := run(second)
			if err != nil {
				return nil, err
			}
			if round%2 == 1 {
				a, b = b, a
			}
			c.ratios[i] = append(c.ratios[i], a.rate()/b.rate())
			fmt.Fprintf(os.Stderr, "round %d of %d: %s %.0f/s, %s %.0f/s\n", round+1, scale.rounds, p.ours, a.rate(), p.peer, b.rate())
		}
	}
	return c, nil
}

// table has a row for each contender.
func (c *comparison) table() table {
	t := table{head: []string{"", "messages/s", "min–max", "client µs/msg", "server µs/msg", "allocs/msg"}}
	for _, name := range c.order {
		samples := c.samples[name]
		if len(samples) == 0 {
			continue
		}
		rate := of(samples, sample.rate)
		t.add(name, thousands(rate.median), thousands(rate.low)+"–"+thousands(rate.high),
			short(of(samples, sample.clientMicros).median), short(of(samples, sample.serverMicros).median), short(of(samples, sample.allocsPer).median))
	}
	return t
}

// verdicts are the ratios of the pairs, with what was aimed at.
func (c *comparison) verdicts(what string) []verdict {
	out := make([]verdict, len(c.pairs))
	for i, p := range c.pairs {
		out[i] = verdict{what: fmt.Sprintf("%s: %s ÷ %s", what, p.ours, p.peer), value: spreadOf(c.ratios[i]), goal: p.goal}
	}
	return out
}

// bars are the rates, for a plot.
func (c *comparison) bars() []bar {
	var out []bar
	for _, name := range c.order {
		if samples := c.samples[name]; len(samples) > 0 {
			out = append(out, bar{label: name, spread: of(samples, sample.rate), ours: contender{name: name}.ours()})
		}
	}
	return out
}

func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
}
