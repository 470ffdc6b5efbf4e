package main

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/freshet/freshet/inspect"
)

// topLevel is how far something was opened.
type topLevel int

const (
	levelAll       topLevel = iota // the groups of all streams
	levelStream                    // the groups of a stream
	levelConsumers                 // the consumers of a group on a stream
	levelPending                   // what they hold, or one of them
	levelEntry                     // one entry
)

// topPlace is something that was opened, and where the user is in it. It keeps
// that while other things are opened from it.
type topPlace struct {
	level                       topLevel
	stream, group, consumer, id string

	filter   string
	selected string // key of the row; "" is the first
	index    int    // where that was, for when it goes
	from     int    // first row, or line of text, that is shown

	// What was loaded for it alone.
	pending         []inspect.PendingEntry
	text            string // of an entry
	loading, loaded bool
	err             error
}

func (m *top) place() *topPlace { return m.path[len(m.path)-1] }

// topTable is what a place shows.
type topTable struct {
	title   string
	about   string // facts of what was opened
	columns []topColumn
	rows    []topRow // those that the filter leaves
	of      int      // rows without the filter
	empty   string   // said where there is no row
}

type topColumn struct {
	name  string
	kind  columnKind
	extra bool // shown where there is room
}

type columnKind int

const (
	columnName   columnKind = iota // what is cut, where it has to be, at its end
	columnKey                      // at its beginning: streams differ in their ends
	columnNumber                   // never cut, and to the right
	columnText                     // never cut, if it can be helped
)

type topRow struct {
	key   string // that it keeps, wherever it is sorted
	cells []string
	level alarmLevel
	notes []string // about it, for where it is selected
	open  *topPlace
}

// alarmLevel is how bad a row is.
type alarmLevel int

const (
	allWell alarmLevel = iota
	worrying
	alarming
)

// table makes the rows of what is shown from what was seen last.
func (m *top) table() topTable {
	p := m.place()
	var t topTable
	switch p.level {
	case levelAll, levelStream:
		t = m.groupTable(p)
	case levelConsumers:
		t = m.consumerTable(p)
	case levelPending:
		t = m.pendingTable(p)
	}
	t.of = len(t.rows)
	for n := range t.rows {
		for k, cell := range t.rows[n].cells {
			t.rows[n].cells[k] = escape(cell)
		}
	}
	if p.filter != "" {
		t.rows = slices.DeleteFunc(t.rows, func(r topRow) bool {
			return !strings.Contains(strings.ToLower(strings.Join(r.cells, " ")), strings.ToLower(p.filter))
		})
	}
	return t
}

// cursor is the index of the selected row. A row that has gone leaves it where
// it was.
func (p *topPlace) cursor(rows []topRow) int {
	if p.selected != "" {
		if n := slices.IndexFunc(rows, func(r topRow) bool { return r.key == p.selected }); n >= 0 {
			p.index = n
		}
	}
	p.index = min(p.index, max(len(rows)-1, 0))
	return p.index
}

func (m *top) move(by int) {
	p := m.place()
	if p.level == levelEntry {
		p.from += by
		return
	}
	rows := m.table().rows
	if len(rows) == 0 {
		return
	}
	p.index = min(max(p.cursor(rows)+by, 0), len(rows)-1)
	p.selected = rows[p.index].key
}

// open goes into the selected row.
func (m *top) open() tea.Cmd {
	rows := m.table().rows
	if len(rows) == 0 {
		return nil
	}
	p := m.place()
	row := rows[p.cursor(rows)]
	if row.open == nil {
		return nil
	}
	p.selected = row.key
	m.path = append(m.path, row.open)
	return m.load()
}
