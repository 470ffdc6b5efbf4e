package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Where a terminal is too narrow for a table, columns of text are made narrower
// first, then the lesser columns are left out. Figures are never shortened.

// gap is between two columns.
const gap = 2

// textColumns can be made narrower. Names lose their middle, for the end of one
// tells it from others; text loses its end.
var textColumns = map[string]func(string, int) string{
	"STREAM": middleOut, "GROUP": middleOut, "CONSUMER": middleOut, "GIVEN TO": middleOut, "ENTITY": middleOut, "SOURCE": middleOut,
	"HELD BACK BY": middleOut, "GROUPS": shorten, "CONSUMERS": shorten, "DEAD LETTERS": shorten,
	"STATE": shorten, "REASON": shorten, "ERROR": shorten, "TYPE": shorten, "WHY NOT": shorten,
}

// lesserColumns are left out where there is no room, the first of them first,
// but after those that a table can do without even more.
var lesserColumns = []string{"RETRIED", "SIZE", "NEWEST", "SETTLED/S", "IN/S", "REASON", "LOST", "DEAD LETTERS"}

// How narrow text is made at most: before columns are left out, and when none
// can be any more.
const (
	leastWidth   = 20
	leastReading = 10
)

// fit makes the table fit the terminal. The widths must be known.
func (l *listing) fit() {
	width := terminalWidth(l.c.stdout)
	if width == 0 || l.c.output != "table" {
		return
	}
	l.fitted = true
	l.widths, l.hidden = fitColumns(l.header, l.widths, slices.Concat(l.lesser, lesserColumns), width)
	var out []string
	for i, hidden := range l.hidden {
		if hidden {
			out = append(out, l.header[i])
		}
	}
	if len(out) > 0 {
		fmt.Fprintf(l.c.stderr, "no room for %s: see -o wide\n", strings.Join(out, ", "))
	}
}

// fitColumns returns how wide each column is shown in a terminal, and which are
// not; the lesser ones go first.
func fitColumns(header []string, widths []int, lesser []string, terminal int) (fitted []int, hidden []bool) {
	fitted, hidden = slices.Clone(widths), make([]bool, len(header))
	// total is the width of a line in which text is at most so wide.
	total := func(text int) (n int) {
		for i, w := range fitted {
			if hidden[i] {
				continue
			}
			if textColumns[header[i]] != nil {
				w = min(w, max(text, utf8.RuneCountInString(header[i])))
			}
			n += w + gap
		}
		return n - gap
	}
	var out []int
	for _, name := range lesser {
		if total(leastWidth) <= terminal {
			break
		}
		if i := slices.Index(header, name); i >= 0 {
			hidden[i], out = true, append(out, i)
		}
	}
	for _, i := range slices.Backward(out) { // what is left may have made room for one before it
		hidden[i] = false
		hidden[i] = total(leastWidth) > terminal
	}
	text := max(terminal, leastReading)
	for text > leastReading && total(text) > terminal {
		text--
	}
	spare := terminal - total(text)
	for i, name := range header {
		if textColumns[name] == nil {
			continue
		}
		most := max(text, utf8.RuneCountInString(name))
		if fitted[i] > most && spare > 0 && !hidden[i] {
			most, spare = most+1, spare-1
		}
		fitted[i] = min(fitted[i], most)
	}
	return fitted, hidden
}

func shortenCell(column, cell string, width int) string {
	if short := textColumns[column]; short != nil {
		return short(cell, width)
	}
	return cell
}

// middleOut leaves out what is in the middle of a text that is longer than
// width, and keeps more of its end than of its beginning.
func middleOut(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	head := (width - 1) / 3
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-1-head):])
}
