package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/freshet/freshet/inspect"
)

// topItem is a group on a stream, or a stream without one that is known.
type topItem struct {
	s     *inspect.Stream
	g     *inspect.Group // nil: there is none, or it is not known
	level alarmLevel
}

// topOrders are what groups can be sorted by. Where they are alike, the worst
// comes first.
var topOrders = []struct {
	name    string
	compare func(m *top, a, b topItem) int
}{
	{"worst", func(*top, topItem, topItem) int { return 0 }},
	{"lag", func(_ *top, a, b topItem) int { return cmp.Compare(b.lag(), a.lag()) }},
	{"pending", func(_ *top, a, b topItem) int { return cmp.Compare(b.pending(), a.pending()) }},
	{"dead letters", func(_ *top, a, b topItem) int { return cmp.Compare(b.deadLetters(), a.deadLetters()) }},
	{"in/s", func(m *top, a, b topItem) int {
		return cmp.Compare(m.rateIn(b.s.Key).PerSecond, m.rateIn(a.s.Key).PerSecond)
	}},
	{"stream", func(_ *top, a, b topItem) int { return cmp.Compare(a.s.Key, b.s.Key) }},
	{"group", func(_ *top, a, b topItem) int { return cmp.Compare(a.name(), b.name()) }},
}

func topOrderNames() (names []string) {
	for _, o := range topOrders {
		names = append(names, o.name)
	}
	return names
}

func (i topItem) name() string {
	switch {
	case i.g != nil:
		return i.g.Name
	case i.s.GroupsUnknown != "":
		return "?"
	}
	return "-"
}

func (i topItem) lag() int64 {
	if i.g == nil {
		return 0
	}
	return i.g.Lag.N
}

func (i topItem) pending() int64 {
	if i.g == nil {
		return 0
	}
	return i.g.Pending
}

func (i topItem) deadLetters() int64 {
	if i.g == nil {
		return 0
	}
	return i.g.DeadLetters
}

// oldest is when the oldest entry was published, or redriven, that nobody has
// settled; now where there is none.
func (i topItem) oldest(now time.Time) time.Time {
	switch {
	case i.g != nil && !i.g.WaitingSince().IsZero():
		return i.g.WaitingSince()
	case unread(i.s):
		return i.s.FirstAt
	}
	return now
}

// items are the groups that a place shows, sorted.
func (m *top) items(p *topPlace) (items []topItem) {
	if m.seen == nil {
		return nil
	}
	for n := range m.seen.Streams {
		s := &m.seen.Streams[n]
		if p.level == levelStream && s.Key != p.stream {
			continue
		}
		if len(s.Groups) == 0 {
			items = append(items, m.item(s, nil))
		}
		for k := range s.Groups {
			items = append(items, m.item(s, &s.Groups[k]))
		}
	}
	now := m.seen.At
	slices.SortStableFunc(items, func(a, b topItem) int {
		return cmp.Or(topOrders[m.order].compare(m, a, b), cmp.Compare(b.level, a.level), a.oldest(now).Compare(b.oldest(now)),
			cmp.Compare(b.lag(), a.lag()), cmp.Compare(b.deadLetters(), a.deadLetters()))
	})
	return items
}

func (m *top) item(s *inspect.Stream, g *inspect.Group) topItem {
	i := topItem{s: s, g: g}
	switch f := m.finding(i); {
	case g == nil && unread(s), g != nil && (g.Unserved() && !g.Waiting().Within(0) || g.LostUnread > 0), f != nil && f.Severity == inspect.Critical:
		i.level = alarming
	case f != nil && f.Severity == inspect.Warning:
		i.level = worrying
	}
	return i
}

// finding is the worst that the doctor found about a row, or nil.
func (m *top) finding(i topItem) *inspect.Finding {
	if m.diagnosis == nil {
		return nil
	}
	about := []string{"stream " + i.s.Key}
	if i.g != nil {
		about = []string{"group " + i.g.Name + " on " + i.s.Key, "group " + i.g.Name}
	}
	for n := range m.diagnosis.Findings {
		if slices.Contains(about, m.diagnosis.Findings[n].Subject) {
			return &m.diagnosis.Findings[n]
		}
	}
	return nil
}

func (m *top) groupTable(p *topPlace) topTable {
	t := topTable{
		title: "groups by stream, " + topOrders[m.order].name + " first", empty: "There are no streams.",
		columns: []topColumn{{"STREAM", columnKey, false}, {"GROUP", columnName, false}, {"IN/S", columnNumber, false}, {"OUT/S", columnNumber, false},
			{"LAG", columnNumber, false}, {"BEHIND", columnNumber, false}, {"PENDING", columnNumber, false}, {"OLDEST", columnNumber, true},
			{"RETRIED", columnNumber, true}, {"DEAD", columnNumber, false}, {"LOST", columnNumber, true}, {"LIVE", columnNumber, false}, {"LENGTH", columnNumber, true}},
	}
	if p.level == levelStream {
		t.title, t.empty = p.stream, "The stream has gone."
	}
	for _, i := range m.items(p) {
		if p.level == levelStream {
			t.about = m.aboutStream(i.s)
		}
		t.rows = append(t.rows, m.groupRow(p, i))
	}
	if p.level == levelStream { // which is in the title
		t.columns = t.columns[1:]
		for n := range t.rows {
			t.rows[n].cells = t.rows[n].cells[1:]
		}
	}
	return t
}

func (m *top) groupRow(p *topPlace, i topItem) topRow {
	s, g := i.s, i.g
	r := topRow{key: s.Key + " " + i.name(), level: i.level, notes: m.groupNotes(i)}
	in := rateCell(m.rateIn(s.Key))
	if g == nil {
		mark := "-"
		if s.GroupsUnknown != "" {
			mark = "?"
		}
		r.cells = []string{s.Key, i.name(), in}
		for range 9 {
			r.cells = append(r.cells, mark)
		}
		r.cells = append(r.cells, countCell(s.Length))
	} else {
		r.cells = []string{s.Key, g.Name, in, rateCell(m.rateOut(g)), topCount(g.Lag), topBehind(m.seen, g), countCell(g.Pending), m.oldestPending(g),
			topCount(g.Redelivered), countCell(g.DeadLetters), countCell(g.LostUnread), countCell(int64(g.Live)), countCell(s.Length)}
	}
	switch {
	case p.level == levelAll:
		r.open = &topPlace{level: levelStream, stream: s.Key, selected: r.key}
	case g != nil:
		r.open = &topPlace{level: levelConsumers, stream: s.Key, group: g.Name}
	}
	return r
}

// groupNotes say what a row is about, what is wrong with it, and why something
// is not known.
func (m *top) groupNotes(i topItem) []string {
	about := i.s.Key
	if i.g != nil {
		about = i.g.Name + " on " + i.s.Key
	}
	if g := i.g; g != nil {
		about += "; consumers: " + consumersCell(g)
		if !g.LastDeadAt.IsZero() {
			about += ", dead letters " + deadLettersCell(g, m.seen.At)
		}
	}
	if unread(i.s) {
		about += ": " + readersCell(i.s)
	}
	notes := []string{about}
	if f := m.finding(i); f != nil {
		text := string(f.Severity) + ": " + f.Summary + "."
		if !f.Since.IsZero() {
			text += " Since " + agoCell(f.Since, m.seen.At) + "."
		}
		notes = append(notes, text)
		if f.Command != "" {
			notes = append(notes, "Run: "+f.Command)
		} else if f.Advice != "" {
			notes = append(notes, f.Advice+".")
		}
	}
	unknown := func(what, why string) {
		if why != "" {
			notes = append(notes, what+" is not known: "+why)
		}
	}
	unknown("which groups there are", i.s.GroupsUnknown)
	unknown("IN/S", m.rateIn(i.s.Key).Unknown)
	if g := i.g; g != nil {
		unknown("LAG", g.Lag.Unknown)
		unknown("BEHIND", g.OldestUnknown)
		if out := m.rateOut(g).Unknown; out != m.rateIn(i.s.Key).Unknown && out != g.Lag.Unknown {
			unknown("OUT/S", out)
		}
		unknown("RETRIED", g.Redelivered.Unknown)
	}
	for _, problem := range m.seen.Problems {
		of := i.g != nil && problem.Group == i.g.Name || problem.Group == ""
		if of && (problem.Stream == i.s.Key || problem.Times > 1 || problem.Stream == "") {
			unknown(problem.Part, problem.Err.Error())
		}
	}
	return notes
}

func (m *top) rateIn(stream string) inspect.Rate {
	return rateOf(m.rates.In, stream)
}

func (m *top) rateOut(g *inspect.Group) inspect.Rate {
	return rateOf(m.rates.Settled, inspect.GroupRef{Stream: g.Stream, Group: g.Name})
}

func rateOf[K comparable](rates map[K]inspect.Rate, of K) inspect.Rate {
	if rate, known := rates[of]; known {
		return rate
	}
	return inspect.Rate{Unknown: "it was not looked at for long enough"}
}

func (m *top) aboutStream(s *inspect.Stream) string {
	now := m.seen.At
	return fmt.Sprintf("length %s, %s, oldest %s, newest %s, held back by %s",
		countCell(s.Length), sizeCell(s.Bytes), agoCell(s.FirstAt, now), agoCell(s.LastAt, now), heldBackCell(s.HeldBack, now))
}

func (m *top) oldestPending(g *inspect.Group) string {
	switch {
	case g.OldestPending != nil:
		return span(m.seen.At.Sub(g.OldestPending.At))
	case g.Pending > 0:
		return "?"
	}
	return "-"
}

func topCount(n inspect.Count) string {
	switch {
	case n.Known():
		return strconv.FormatInt(n.N, 10)
	case n.AtLeast:
		return ">=" + strconv.FormatInt(n.N, 10)
	}
	return "?"
}

func topBehind(s *inspect.Snapshot, g *inspect.Group) string {
	if _, known := s.OldestAge(g); !known {
		return "?"
	}
	return behindCell(s, g)
}
