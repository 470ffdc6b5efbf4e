package web

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/inspect"
)

type overviewView struct {
	Verdict  string
	Severity string // of the worst finding: critical, warning; "" when all is well
	At       time.Time
	Cards    []card
	Findings []findingRow
	Groups   []groupRow
	Streams  int
}

type card struct {
	Label, Value, Unit, Hint string
	State                    string // bad, warn or ""
	Address                  string
	Spark                    spark
}

// findingRow is a finding, with the time since when it is known.
type findingRow struct {
	inspect.Finding
	Known   time.Time // since when the dashboard sees it, where the finding does not say since when it is
	Address string    // of the page about its subject
}

// overview says in a sentence how the bus is, and shows what to look at.
func (d *Dashboard) overview(r *http.Request) (*view, error) {
	s, err := d.look(r.Context())
	if err != nil {
		return nil, err
	}
	body := &overviewView{At: s.At}
	v := &view{Title: "Overview", Section: "overview", Refresh: 5, Body: body, Problems: s.stale()}
	if s.Diagnosis == nil {
		return nil, s.Err
	}
	body.Verdict = s.Diagnosis.Verdict()
	if !s.Diagnosis.Healthy() {
		body.Severity = string(cmp.Or(s.Diagnosis.Worst(), inspect.Critical))
	}
	if !s.Failing.IsZero() {
		body.Verdict, body.Severity = "The bus cannot be looked at.", string(inspect.Critical)
	}
	body.Findings = findings(s)
	snapshot := s.Diagnosis.Snapshot
	if snapshot == nil {
		return v, nil
	}
	for _, p := range snapshot.Problems {
		v.Problems = append(v.Problems, problem(partOf(p), p.Err))
	}
	body.Groups = groupsOf(snapshot, s.Rates)
	body.Streams = len(snapshot.Streams)
	body.Cards = cards(snapshot, s, body.Groups)
	return v, nil
}

func partOf(p inspect.Problem) string {
	words := []string{"The " + p.Part}
	if p.Stream != "" {
		words = append(words, "of "+text(p.Stream))
	}
	if p.Group != "" {
		words = append(words, "of group "+text(p.Group))
	}
	return strings.Join(words, " ")
}

func findings(s seen) (rows []findingRow) {
	for _, f := range s.Diagnosis.Findings {
		row := findingRow{Finding: f, Known: s.since[f.Check+"\x00"+f.Subject]}
		rows = append(rows, row)
	}
	return rows
}

func cards(snapshot *inspect.Snapshot, s seen, groups []groupRow) []card {
	var now sample
	if n := len(s.Samples); n > 0 {
		now = s.Samples[n-1]
	}
	in := card{Label: "Events in", Value: "–", Hint: plural(len(snapshot.Streams), "stream", "streams"), Address: "/streams", Spark: sparkOf(s.Samples, func(p sample) float64 { return p.In })}
	settled := card{Label: "Settled", Value: "–", Hint: "by all groups", Address: "/groups", Spark: sparkOf(s.Samples, func(p sample) float64 { return p.Settled })}
	if s.Rates != nil {
		in.Value, in.Unit = rateText(now.In), "a second"
		settled.Value, settled.Unit = rateText(now.Settled), "a second"
	}
	lag := card{Label: "Behind", Value: "0", Unit: "events", Address: "/groups", Spark: sparkOf(s.Samples, func(p sample) float64 { return p.Lag })}
	age := card{Label: "Oldest unsettled", Value: "none", Address: "/groups", Spark: sparkOf(s.Samples, func(p sample) float64 { return p.Age })}
	dead := card{Label: "Dead letters", Value: number(int64(now.Dead)), Address: "/deadletters", Hint: "none", Spark: sparkOf(s.Samples, func(p sample) float64 { return p.Dead })}
	var total int64
	unknown := 0
	var oldest *groupRow
	var most *groupRow
	for i := range groups {
		g := &groups[i]
		total += g.Lag
		unknown += g.Unknown
		if !g.Oldest.IsZero() && (oldest == nil || g.Oldest.Before(oldest.Oldest)) {
			oldest = g
		}
		if g.DeadLetters > 0 && (most == nil || g.DeadLetters > most.DeadLetters) {
			most = g
		}
	}
	lag.Value = number(total)
	lag.Hint = plural(len(groups), "group", "groups")
	if unknown > 0 {
		lag.Value, lag.Hint = "≥ "+lag.Value, plural(unknown, "count is not exact", "counts are not exact")
	}
	if oldest != nil {
		d := snapshot.At.Sub(oldest.Oldest)
		age.Value, age.Unit, _ = strings.Cut(span(d), " ")
		age.Hint = short(60, oldest.Name)
		switch levels := inspect.DefaultThresholds().LagAge; {
		case d >= levels.Critical:
			age.State = "bad"
		case d >= levels.Warning:
			age.State = "warn"
		}
	}
	if most != nil {
		dead.State, dead.Hint = "bad", "most of "+short(60, most.Name)
	}
	return []card{in, settled, lag, age, dead}
}

func rateText(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond < 10:
		return fmt.Sprintf("%.1f", perSecond)
	}
	return number(int64(perSecond + 0.5))
}

// spark is a line of a few numbers over time, in a box of 120 by 30.
type spark struct {
	Line, Area string // points of an SVG polyline and polygon; "" when there are too few
	Quiet      bool   // all are zero
	Says       string
}

func sparkOf(samples []sample, of func(sample) float64) spark {
	if len(samples) < 2 {
		return spark{}
	}
	top := 0.0
	for _, p := range samples {
		top = max(top, of(p))
	}
	var points []string
	for i, p := range samples {
		x := 120 * float64(i) / float64(len(samples)-1)
		y := 28.0
		if top > 0 {
			y = 28 - 26*max(of(p), 0)/top
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
	}
	line := strings.Join(points, " ")
	over := (time.Duration(len(samples)-1) * watchEvery).Round(time.Second)
	return spark{Line: line, Area: "0,30 " + line + " 120,30", Quiet: top == 0, Says: "the last " + span(over) + ", at most " + rateText(top)}
}

type streamsView struct {
	Streams []streamRow
	Missing []string
	At      time.Time
}

type streamRow struct {
	inspect.Stream
	In       string // events a second
	Groups   int
	Lag      int64 // of the group that is furthest behind
	Inexact  bool
	Dead     int64
	Catalog  bool
	HeldBack string
}

// streams lists the suite's streams.
func (d *Dashboard) streams(r *http.Request) (*view, error) {
	snapshot, s, err := d.snapshot(r.Context())
	if err != nil {
		return nil, err
	}
	body := &streamsView{At: s.At, Missing: snapshot.Missing}
	for _, stream := range snapshot.Streams {
		row := streamRow{Stream: stream, Groups: len(stream.Groups), In: "–"}
		if s.Rates != nil {
			if rate, ok := s.Rates.In[stream.Key]; ok && rate.Unknown == "" {
				row.In = rateText(rate.PerSecond)
			}
		}
		for _, g := range stream.Groups {
			row.Lag = max(row.Lag, g.Lag.N)
			row.Inexact = row.Inexact || !g.Lag.Known()
			row.Dead += max(g.DeadLetters, 0)
		}
		body.Streams = append(body.Streams, row)
	}
	return &view{Title: "Streams", Section: "streams", Refresh: 5, Body: body, Problems: s.stale()}, nil
}

// describeStream adds what is known of the stream as a whole, and returns what
// could not be read.
func (d *Dashboard) describeStream(r *http.Request, body *streamView) (problems []string) {
	snapshot, err := d.cfg.Inspector.Snapshot(r.Context(), inspect.SnapshotConfig{Patterns: []string{literal(body.Key)}})
	if err != nil {
		return []string{problem("What is known of the stream", err)}
	}
	for _, p := range snapshot.Problems {
		problems = append(problems, problem(partOf(p), p.Err))
	}
	i := slices.IndexFunc(snapshot.Streams, func(s inspect.Stream) bool { return s.Key == body.Key })
	if i >= 0 {
		body.Info = &snapshot.Streams[i]
	}
	return problems
}
