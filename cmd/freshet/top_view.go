package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/freshet/freshet/inspect"
)

// The styles are of the terminal's own palette, which suits what it has for a
// background; none is the only sign of something.
var (
	styleBold     = lipgloss.NewStyle().Bold(true)
	styleFaint    = lipgloss.NewStyle().Faint(true)
	styleGood     = lipgloss.NewStyle().Foreground(lipgloss.Green)
	styleWorry    = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	styleAlarm    = lipgloss.NewStyle().Foreground(lipgloss.Red)
	styleBanner   = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true).Reverse(true)
	styleSelected = lipgloss.NewStyle().Reverse(true)
)

// View draws all: what is wrong above, what was opened in the middle, what is
// to be said of the selected line and the keys below. Whatever comes from the
// server has passed escape before it is styled.
func (m *top) View() tea.View {
	above := m.header()
	if m.text == nil && m.place().level != levelEntry { // text needs the room
		above = append(above, m.wrapped(m.totals(), 2)...)
		above = append(above, m.verdict()...)
	}
	above = append(above, m.banner()...)
	below := []string{styleFaint.Render(m.cut(topKeyLine))}
	var body []string
	switch p := m.place(); {
	case m.text != nil:
		body = m.scrolled(m.text.title, m.text.lines, &m.text.from, m.height-len(above)-len(below))
	case p.level == levelEntry:
		body = m.scrolled("entry "+p.id+" of "+p.stream+", personal data masked", p.entryLines(), &p.from, m.height-len(above)-len(below))
	default:
		t := m.table()
		below = append(m.notes(t), below...)
		body = m.tableLines(t, m.height-len(above)-len(below))
	}
	lines := append(above, body...)
	for len(lines)+len(below) < m.height {
		lines = append(lines, "")
	}
	lines = append(lines, below...)
	v := tea.NewView(strings.Join(lines[:min(len(lines), m.height)], "\n"))
	v.AltScreen = true
	return v
}

func (m *top) cut(s string) string { return ansi.Truncate(s, m.width, "…") }

func (m *top) wrapped(s string, most int) []string { return wrap(s, m.width, most) }

// wrap breaks text between words into at most so many lines. It never breaks at
// a hyphen: a command has to survive being copied.
func wrap(s string, width, most int) (lines []string) {
	for line := range strings.SplitSeq(s, "\n") {
		for ansi.StringWidth(line) > width {
			head := ansi.Truncate(line, width, "")
			if head == "" {
				break // not even one character has room
			}
			if space := strings.LastIndexByte(head, ' '); space > len(head)/2 && line[len(head)] != ' ' {
				head = head[:space]
			}
			lines = append(lines, head)
			line = strings.TrimPrefix(line[len(head):], " ")
		}
		lines = append(lines, line)
	}
	if len(lines) > most {
		lines = lines[:most]
		lines[most-1] = ansi.Truncate(lines[most-1], width-1, "") + "…"
	}
	return lines
}

// indented breaks a line, what is behind its beginning as far in as that.
func (m *top) indented(line string) []string {
	text := strings.TrimLeft(line, " ")
	indent := min(len(line)-len(text), m.width/2)
	lines := wrap(text, m.width-indent, math.MaxInt32)
	for n := range lines {
		lines[n] = strings.Repeat(" ", indent) + lines[n]
	}
	return lines
}

// header names the server, and says how old is what is shown.
func (m *top) header() []string {
	name := "freshet top"
	if m.diagnosis != nil && m.diagnosis.Server.Name != "" {
		name += "  " + escape(m.diagnosis.Server.Name)
	}
	state := fmt.Sprintf("every %v", m.every)
	age := m.at.Sub(m.seenAt)
	switch {
	case m.seen == nil:
		state = "looking …"
	case m.paused:
		state = fmt.Sprintf("PAUSED, %s old", span(age))
	case age > 2*m.every+time.Second:
		state = fmt.Sprintf("OLD: %s", span(age))
	default:
		state += m.seenAt.Format("  " + time.TimeOnly)
	}
	room := max(m.width-ansi.StringWidth(state)-2, 0)
	line := pad(ansi.Truncate(name, room, "…"), room, false) + "  " + state
	return []string{styleBold.Render(m.cut(line))}
}

// verdict is the doctor's sentence.
func (m *top) verdict() []string {
	style, text := styleFaint, "The doctor looks …"
	switch d := m.diagnosis; {
	case d == nil && m.diagnoseErr != nil:
		text = "The doctor could not look: " + m.diagnoseErr.Error()
	case d == nil:
	default:
		style, text = styleGood, d.Verdict()
		switch d.Worst() {
		case inspect.Critical:
			style = styleAlarm.Bold(true)
		case inspect.Warning:
			style = styleWorry
		}
	}
	return rendered(style, m.wrapped(escape(text), 3))
}

// banner says that the server does not answer, as long as it does not.
func (m *top) banner() []string {
	if m.lost == nil {
		return nil
	}
	text := fmt.Sprintf("%s, for %s.", lostText(m.lost), span(m.at.Sub(m.lostSince)))
	if m.seen != nil {
		text += fmt.Sprintf(" What is shown is %s old.", span(m.at.Sub(m.seenAt)))
	}
	return rendered(styleBanner, m.wrapped(escape(text), 3))
}

func rendered(style lipgloss.Style, lines []string) []string {
	for n := range lines {
		lines[n] = style.Render(lines[n])
	}
	return lines
}

// totals are over all streams. What is not known of one makes them a bound.
func (m *top) totals() string {
	if m.seen == nil {
		return ""
	}
	var lag, pending, dead, live, in, out total
	consumers, groups := map[string]bool{}, map[string]bool{}
	for n := range m.seen.Streams {
		s := &m.seen.Streams[n]
		in.rate(m.rateIn(s.Key))
		live.unknown = live.unknown || s.GroupsUnknown != ""
		for k := range s.Groups {
			g := &s.Groups[k]
			groups[g.Name] = true
			lag.add(g.Lag.N, g.Lag.Known())
			pending.add(g.Pending, true)
			dead.add(g.DeadLetters, g.DeadLetters >= 0)
			live.unknown = live.unknown || g.Live < 0
			out.rate(m.rateOut(g))
			for _, consumer := range g.Consumers {
				if name := g.Name + "\x00" + consumer.Name; consumer.Live && !consumers[name] {
					consumers[name] = true
					live.n++
				}
			}
		}
	}
	return fmt.Sprintf("%d streams, %d groups, %s live | in %s/s out %s/s | lag %s | pending %s | dead %s",
		len(m.seen.Streams), len(groups), live, in, out, lag, pending, dead)
}

// total is a sum of which parts may be unknown.
type total struct {
	n       float64
	unknown bool
}

func (t *total) add(n int64, known bool) {
	t.n += float64(max(n, 0))
	t.unknown = t.unknown || !known
}

func (t *total) rate(r inspect.Rate) {
	t.n += r.PerSecond
	t.unknown = t.unknown || r.Unknown != ""
}

func (t total) String() string {
	switch {
	case !t.unknown:
		return fmt.Sprintf("%.0f", math.Ceil(t.n))
	case t.n > 0:
		return fmt.Sprintf(">=%.0f", t.n)
	}
	return "?"
}

// heading is the title of what was opened, and the filter.
func (m *top) heading(t topTable) string {
	p := m.place()
	line := escape(t.title)
	if p.filter != "" || m.typing {
		line += fmt.Sprintf("  /%s", escape(p.filter))
		if m.typing {
			line += "_"
		}
		line += fmt.Sprintf("  %d of %d", len(t.rows), t.of)
	}
	return styleBold.Render(ansi.TruncateLeft(line, max(ansi.StringWidth(line)-m.width+1, 0), "…"))
}

// notes are about the selected line: so many as have room in about four lines,
// and what is wrong with it and mends that in any case.
func (m *top) notes(t topTable) (lines []string) {
	p := m.place()
	if p.err != nil {
		lines = rendered(styleAlarm, m.wrapped(escape(p.err.Error()), 2))
	}
	if len(t.rows) == 0 {
		return lines
	}
	for n, note := range t.rows[p.cursor(t.rows)].notes {
		if n > 2 && len(lines) >= 4 {
			break
		}
		lines = append(lines, m.wrapped(escape(note), 3)...)
	}
	return lines
}

// tableLines are the heading and as many rows as there is room for, with the
// selected one among them.
func (m *top) tableLines(t topTable, height int) []string {
	p := m.place()
	lines := []string{m.heading(t)}
	if t.about != "" {
		lines = append(lines, m.cut(escape(t.about)))
	}
	if len(t.rows) == 0 {
		switch {
		case t.of > 0:
			t.empty = "No line has the text of the filter."
		case m.seen == nil && m.lost == nil:
			t.empty = "Looking …"
		case m.seen == nil:
			t.empty = "Nothing was seen yet."
		}
		return append(lines, t.empty)
	}
	columns, widths := m.layout(t)
	line := func(mark string, cells []string) string {
		text := mark
		for n, k := range columns {
			text += " " + fit(cells[k], widths[n], t.columns[k].kind)
		}
		return text
	}
	names := make([]string, len(t.columns))
	for k, c := range t.columns {
		names[k] = c.name
	}
	lines = append(lines, styleBold.Render(m.cut(line("  ", names))))
	room := max(height-len(lines), 1)
	selected := p.cursor(t.rows)
	p.from = window(p.from, selected, room, len(t.rows))
	for n := p.from; n < min(p.from+room, len(t.rows)); n++ {
		r, mark, style := t.rows[n], "  ", lipgloss.NewStyle()
		switch r.level {
		case alarming:
			mark, style = " !", styleAlarm
		case worrying:
			mark, style = " ~", styleWorry
		}
		if n == selected {
			mark, style = ">"+mark[1:], styleSelected.Inherit(style)
		}
		lines = append(lines, style.Render(pad(m.cut(line(mark, r.cells)), m.width, false)))
	}
	return lines
}

// window is the first of so many rows of which room are shown, so that the
// selected one is.
func window(from, selected, room, rows int) int {
	from = min(from, max(rows-room, 0))
	return max(min(from, selected), selected-room+1, 0)
}

// layout says which columns are shown, and how wide. Those that are extra go
// first, then the widest names are cut.
func (m *top) layout(t topTable) (columns, widths []int) {
	width := func(k int) int {
		w := ansi.StringWidth(t.columns[k].name)
		for _, r := range t.rows {
			w = max(w, ansi.StringWidth(r.cells[k]))
		}
		return w
	}
	over := 2 - m.width
	for k := range t.columns {
		columns, widths = append(columns, k), append(widths, width(k))
		over += 1 + widths[k]
	}
	for n := len(columns) - 1; n >= 0 && over > 0; n-- {
		if t.columns[columns[n]].extra {
			over -= 1 + widths[n]
			columns, widths = slices.Delete(columns, n, n+1), slices.Delete(widths, n, n+1)
		}
	}
	for ; over > 0; over-- {
		widest := -1
		for n, k := range columns {
			if kind := t.columns[k].kind; (kind == columnName || kind == columnKey) && (widest < 0 || widths[n] > widths[widest]) {
				widest = n
			}
		}
		if widest < 0 || widths[widest] <= 8 {
			break
		}
		widths[widest]--
	}
	// What is left over makes it easier to read.
	for n := range columns {
		if -over < 2*len(columns) {
			break
		}
		widths[n]++
	}
	return columns, widths
}

// fit makes a cell as wide as its column.
func fit(s string, width int, kind columnKind) string {
	if over := ansi.StringWidth(s) - width; over > 0 {
		if kind == columnKey {
			s = ansi.TruncateLeft(s, over+1, "…")
		} else {
			s = ansi.Truncate(s, width, "…")
		}
	}
	return pad(s, width, kind == columnNumber)
}

func pad(s string, width int, right bool) string {
	space := strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
	if right {
		return space + s
	}
	return s + space
}

// scrolled is text under a title, from the line that was scrolled to.
func (m *top) scrolled(title string, text []string, from *int, height int) []string {
	var lines []string
	for _, line := range text {
		lines = append(lines, m.indented(line)...)
	}
	room := max(height-1, 1)
	*from = max(min(*from, len(lines)-room), 0)
	shown := lines[*from:min(*from+room, len(lines))]
	title = escape(title)
	if len(shown) < len(lines) {
		title += fmt.Sprintf("  %d-%d of %d lines", *from+1, *from+len(shown), len(lines))
	}
	return append([]string{styleBold.Render(m.cut(title))}, shown...)
}

func (p *topPlace) entryLines() []string {
	switch {
	case p.err != nil:
		return []string{escape(p.err.Error())}
	case !p.loaded:
		return []string{"Looking …"}
	}
	return linesOf(p.text)
}
