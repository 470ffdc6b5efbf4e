package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/freshet/freshet/inspect"
)

// consumerTable shows the consumers of a group on a stream; its first row
// stands for all of them.
func (m *top) consumerTable(p *topPlace) topTable {
	t := topTable{
		title: p.group + " on " + p.stream, empty: "The group has gone.",
		columns: []topColumn{{"CONSUMER", columnName, false}, {"PENDING", columnNumber, false}, {"LAST SEEN", columnText, false}, {"STATE", columnText, false}},
	}
	g := m.group(p)
	if g == nil {
		return t
	}
	oldest := "none"
	if g.Oldest != nil {
		oldest = g.Oldest.ID + " " + stateOfHold(g.Oldest)
	} else if g.OldestUnknown != "" {
		oldest = "?"
	}
	t.about = fmt.Sprintf("lag %s, last delivered %s, oldest not settled: %s, dead letters %s",
		topCount(g.Lag), g.LastDelivered, oldest, deadLettersCell(g, m.seen.At))
	notes := m.groupNotes(m.item(&inspect.Stream{Key: p.stream}, g))
	t.rows = append(t.rows, topRow{
		key: "all", cells: []string{"all of them", countCell(g.Pending), "-", consumersCell(g)}, notes: notes,
		open: &topPlace{level: levelPending, stream: p.stream, group: p.group},
	})
	consumers := slices.Clone(g.Consumers)
	slices.SortStableFunc(consumers, func(a, b inspect.Consumer) int {
		return cmp.Or(cmp.Compare(levelOfConsumer(b), levelOfConsumer(a)), cmp.Compare(b.Pending, a.Pending))
	})
	for _, k := range consumers {
		t.rows = append(t.rows, topRow{
			key: "consumer " + k.Name, cells: []string{k.Name, countCell(k.Pending), span(k.Idle) + " ago", stateOfConsumer(k)},
			level: levelOfConsumer(k), notes: append([]string{k.Name}, notes[1:]...),
			open: &topPlace{level: levelPending, stream: p.stream, group: p.group, consumer: k.Name},
		})
	}
	return t
}

func levelOfConsumer(k inspect.Consumer) alarmLevel {
	if !k.Live && k.Pending > 0 {
		return alarming
	}
	return allWell
}

func (m *top) group(p *topPlace) *inspect.Group {
	if m.seen == nil {
		return nil
	}
	for n := range m.seen.Streams {
		s := &m.seen.Streams[n]
		for k := range s.Groups {
			if s.Key == p.stream && s.Groups[k].Name == p.group {
				return &s.Groups[k]
			}
		}
	}
	return nil
}

// pendingTable shows a page of what a group, or one of its consumers, holds.
func (m *top) pendingTable(p *topPlace) topTable {
	t := topTable{
		title: "pending at " + p.group + " on " + p.stream, empty: "Nothing is pending.",
		columns: []topColumn{{"ID", columnText, false}, {"CONSUMER", columnName, false}, {"DELIVERIES", columnNumber, false},
			{"IDLE", columnNumber, false}, {"PUBLISHED", columnNumber, false}, {"STATE", columnText, false}},
	}
	if p.consumer != "" {
		t.title = "pending at " + p.consumer + " of " + p.group + " on " + p.stream
	}
	if !p.loaded {
		t.empty = "Looking …"
	}
	if len(p.pending) == topPage {
		t.about = fmt.Sprintf("the first %d; 'freshet pending --after ID' shows those behind them", topPage)
	}
	now := m.at
	if m.seen != nil {
		now = m.seen.At
	}
	for n, r := range pendingRows(p.pending, now) {
		row := topRow{
			key: r.name, cells: r.cells, notes: []string{r.name + " at " + p.pending[n].Consumer},
			open: &topPlace{level: levelEntry, stream: p.stream, group: p.group, id: r.name},
		}
		if p.pending[n].Trimmed {
			row.level = alarming
		}
		t.rows = append(t.rows, row)
	}
	return t
}
