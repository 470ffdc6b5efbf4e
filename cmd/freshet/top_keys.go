package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
)

// topKeys are all keys, as the help shows them.
var topKeys = []struct{ keys, what string }{
	{"up down, k j", "select a line; PgUp, PgDn, Home and End go further"},
	{"Enter, right", "open it: stream, group, consumer, pending entry"},
	{"Esc, Backspace, left", "back"},
	{"/", "show the lines that have a text; Enter keeps it, Esc drops it"},
	{"s", "sort the groups by what is next: " + strings.Join(topOrderNames()[:4], ", ") + " …"},
	{"d", "what the doctor found, and what mends it"},
	{"p, Space", "pause, and go on"},
	{"r", "look now"},
	{"?, h", "this help"},
	{"q, Ctrl-C; Ctrl-Z", "quit; suspend"},
}

const topKeyLine = "Enter open  Esc back  / filter  s sort  d doctor  p pause  ? help  q quit"

func (m *top) help() *topText {
	t := &topText{title: "help"}
	for _, k := range topKeys {
		t.lines = append(t.lines, fmt.Sprintf("  %-22s%s", k.keys, k.what))
	}
	t.lines = append(t.lines, linesOf(`
IN/S      entries published on the stream, a second
OUT/S     entries that the group settled, a second
LAG       entries not delivered to the group; >= where only so many were counted
BEHIND    age of the oldest entry that the group has not settled
PENDING   entries delivered and not acknowledged; OLDEST: age of the first of them
RETRIED   of them were delivered more than once
DEAD      dead letters of the group: 'freshet dlq ls'
LIVE      consumers that the server has heard of within a minute
LOST      entries known to have been removed before the group read them
!  ~      critical, or work that nobody does, or entries lost; a warning
?         not known; the line below the table says why`)...)
	return t
}

// key acts on a key. Nothing here waits for the server.
func (m *top) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	switch {
	case key == "ctrl+c":
		return tea.Quit
	case key == "ctrl+z":
		return tea.Suspend
	case m.typing:
		m.typed(key, msg.Text)
		return nil
	case m.text != nil:
		return m.textKey(key)
	}
	p := m.place()
	if by, is := m.step(key); is {
		m.move(by)
		return nil
	}
	switch key {
	case "enter", "right":
		return m.open()
	case "esc", "backspace", "left":
		m.back()
	case "/":
		m.typing = p.level != levelEntry
	case "s":
		m.order = (m.order + 1) % len(topOrders)
	default:
		return m.globalKey(key)
	}
	return nil
}

// globalKey acts on what means the same wherever it is pressed.
func (m *top) globalKey(key string) tea.Cmd {
	switch key {
	case "q":
		return tea.Quit
	case "?", "h":
		m.text = m.help()
	case "d":
		m.text = m.findings()
	case "p", "space":
		m.paused = !m.paused
	case "r":
		return m.refresh()
	}
	return nil
}

func (m *top) textKey(key string) tea.Cmd {
	if by, is := m.step(key); is {
		m.text.from += by
		return nil
	}
	switch key {
	case "esc", "backspace", "left", "enter":
		m.text = nil
		return nil
	}
	was := m.text.title
	if m.text = nil; key == "?" && was == "help" {
		return nil // it closes what it opened
	}
	return m.globalKey(key)
}

// step is how many lines a key moves.
func (m *top) step(key string) (by int, is bool) {
	const far = 1 << 20
	switch key {
	case "up", "k":
		return -1, true
	case "down", "j":
		return 1, true
	case "pgup":
		return -max(m.height/2, 1), true
	case "pgdown":
		return max(m.height/2, 1), true
	case "home", "g":
		return -far, true
	case "end", "G":
		return far, true
	}
	return 0, false
}

func (m *top) typed(key, text string) {
	p := m.place()
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, p.filter = false, ""
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(p.filter)
		p.filter = p.filter[:len(p.filter)-size]
	default:
		p.filter += text
	}
}

// back leaves a place; at the first, it drops the filter.
func (m *top) back() {
	if len(m.path) == 1 {
		m.path[0].filter = ""
		return
	}
	m.path = m.path[:len(m.path)-1]
}

// refresh looks now, also while it is paused, and asks the doctor. While a look
// is under way it looks again after that.
func (m *top) refresh() tea.Cmd {
	paused := m.paused
	m.again = m.looking
	m.paused, m.lookAt, m.diagnoseAt = false, m.at, m.at
	if p := m.place(); p.level == levelEntry {
		p.loaded = false
	}
	asked := m.due()
	m.paused = paused
	return asked
}
