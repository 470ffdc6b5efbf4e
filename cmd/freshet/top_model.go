package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
)

const (
	topTick       = 250 * time.Millisecond // how often it is seen to what is due
	topDiagnosis  = 15 * time.Second       // between two diagnoses
	topPatience   = 10 * time.Second       // for an answer, before it counts as lost
	topShortest   = 500 * time.Millisecond // over which rates are told
	topPage       = 500                    // pending entries that are shown
	topEntryLimit = 10_000                 // entries that are looked at for what became of one
)

// top is what is shown on the terminal. All its fields belong to the loop that
// calls Update and View; what asks the server runs beside it and answers with a
// message.
type top struct {
	ctx       context.Context
	c         *cli
	inspector *inspect.Inspector
	patterns  []string
	every     time.Duration

	width, height int
	at            time.Time // now, by this machine's clock

	seen    *inspect.Snapshot // the last; nil: there is none yet
	seenAt  time.Time         // by this machine's clock
	before  *inspect.Snapshot // that the next rates are told from
	rates   inspect.Rates     // over topShortest at least
	lookAt  time.Time         // when the next is due
	looking bool              // one is under way
	again   bool              // what it finds is older than what was asked for

	lost      error // why the last look failed; nil: it did not
	lostSince time.Time

	diagnosis   *inspect.Diagnosis // the last that reached the server
	diagnoseAt  time.Time
	diagnosing  bool
	diagnoseErr error

	paused bool
	order  int         // of topOrders
	path   []*topPlace // what was opened, one within the other; the last is shown
	text   *topText    // shown over it: help, or the findings; or nil
	typing bool        // a filter
}

// topText is text that can be scrolled.
type topText struct {
	title string
	lines []string
	from  int // the first line shown
}

func newTop(ctx context.Context, c *cli, i *inspect.Inspector, patterns []string, every time.Duration) *top {
	return &top{
		ctx: ctx, c: c, inspector: i, patterns: patterns, every: every, width: 80, height: 24,
		at: time.Now(), path: []*topPlace{{level: levelAll}},
	}
}

// The answers. Those to what was asked for a place name it.
type (
	tickMsg     time.Time
	snapshotMsg struct {
		*inspect.Snapshot
		err error
	}
	diagnosisMsg struct {
		*inspect.Diagnosis
		err error
	}
	pendingMsg struct {
		place   *topPlace
		entries []inspect.PendingEntry
		err     error
	}
	entryMsg struct {
		place *topPlace
		text  string
		err   error
	}
)

// Init begins the clock.
func (m *top) Init() tea.Cmd { return tea.Batch(tick(), m.due()) }

func tick() tea.Cmd { return tea.Tick(topTick, func(t time.Time) tea.Msg { return tickMsg(t) }) }

// Update takes a key or an answer.
func (m *top) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m.at = time.Now()
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg)
	case tickMsg:
		return m, tea.Batch(tick(), m.due())
	case snapshotMsg:
		m.looked(msg)
		if m.again {
			return m, m.refresh()
		}
	case diagnosisMsg:
		m.diagnosed(msg)
	case pendingMsg:
		msg.place.loading, msg.place.err = false, msg.err
		if msg.err == nil {
			msg.place.pending, msg.place.loaded = msg.entries, true
		}
	case entryMsg:
		msg.place.loading, msg.place.err = false, msg.err
		if msg.err == nil {
			msg.place.text, msg.place.loaded = msg.text, true
		}
	}
	return m, nil
}

// due asks for what is due and not under way: of each there is one at a time,
// however slow the server is.
func (m *top) due() tea.Cmd {
	var commands []tea.Cmd
	if !m.looking && !m.paused && !m.at.Before(m.lookAt) {
		m.looking, m.lookAt = true, m.at.Add(m.every)
		commands = append(commands, m.look, m.load())
	}
	if !m.diagnosing && !m.paused && m.lost == nil && !m.at.Before(m.diagnoseAt) {
		m.diagnosing, m.diagnoseAt = true, m.at.Add(topDiagnosis)
		commands = append(commands, m.diagnose)
	}
	return tea.Batch(commands...)
}

func (m *top) look() tea.Msg {
	ctx, cancel := context.WithTimeout(m.ctx, topPatience)
	defer cancel()
	s, err := m.inspector.Snapshot(ctx, inspect.SnapshotConfig{Patterns: m.patterns})
	return snapshotMsg{s, err}
}

func (m *top) looked(msg snapshotMsg) {
	m.looking = false
	if msg.err != nil {
		if m.lost == nil {
			m.lostSince = m.at
		}
		m.lost = msg.err
		return
	}
	if m.lost != nil {
		m.lost, m.diagnoseAt = nil, m.at // what is wrong may be another thing now
	}
	m.seen, m.seenAt = msg.Snapshot, m.at
	switch {
	case m.before == nil:
		m.before = m.seen
	case m.seen.At.Sub(m.before.At) >= topShortest:
		m.rates, m.before = inspect.RatesBetween(m.before, m.seen), m.seen
	}
}

func (m *top) diagnose() tea.Msg {
	ctx, cancel := context.WithTimeout(m.ctx, 2*topPatience)
	defer cancel()
	d, err := inspect.Diagnose(ctx, m.c.config("freshet"), inspect.DiagnoseConfig{Patterns: m.patterns, Freshet: m.c.ownCommand()})
	return diagnosisMsg{d, err}
}

// diagnosed keeps the last verdict while the server is not reached: that it is
// not is told by the looks, within seconds.
func (m *top) diagnosed(msg diagnosisMsg) {
	m.diagnosing, m.diagnoseErr = false, msg.err
	if msg.err == nil && !msg.Unreachable {
		m.diagnosis = msg.Diagnosis
	}
}

// load asks for what only the place shown needs.
func (m *top) load() tea.Cmd {
	p := m.place()
	if p.loading || p.level == levelEntry && p.loaded {
		return nil
	}
	switch p.level {
	case levelPending:
		p.loading = true
		return func() tea.Msg {
			ctx, cancel := context.WithTimeout(m.ctx, topPatience)
			defer cancel()
			entries, err := m.inspector.Pending(ctx, inspect.PendingConfig{Stream: p.stream, Group: p.group, Consumer: p.consumer, Limit: topPage})
			return pendingMsg{p, entries, err}
		}
	case levelEntry:
		p.loading = true
		return func() tea.Msg {
			ctx, cancel := context.WithTimeout(m.ctx, topPatience)
			defer cancel()
			text, err := m.entry(ctx, p.stream, p.id)
			return entryMsg{p, text, err}
		}
	}
	return nil
}

// entry is what an entry says, masked, and what became of it in every group.
func (m *top) entry(ctx context.Context, stream, id string) (string, error) {
	item, err := m.inspector.Entry(ctx, stream, id)
	switch {
	case err != nil:
		return "", err
	case item == nil:
		return "The entry has gone from the stream: nobody can handle it any more. Its group gives it up when it comes to it.\n", nil
	}
	ways, problems, err := m.inspector.Ways(ctx, []inspect.Item{*item}, topEntryLimit)
	if err != nil {
		return "", err
	}
	f := followed{Item: *item, ways: ways[0]}
	if f.acks, f.acksCut, err = m.inspector.Acknowledgments(ctx, item.Envelope, topEntryLimit); err != nil {
		return "", err
	}
	var warnings bytes.Buffer
	(&cli{stderr: &warnings}).warnOf(problems)
	return followedText(f, true, &finding{}) + warnings.String(), nil
}

// findings is the text of the doctor.
func (m *top) findings() *topText {
	var text bytes.Buffer
	switch {
	case m.diagnosis != nil:
		_ = (&cli{stdout: &text, output: "wide"}).printFindings(m.diagnosis) // a buffer takes all
	case m.diagnoseErr != nil:
		fmt.Fprintln(&text, escape(m.diagnoseErr.Error()))
	default:
		fmt.Fprintln(&text, "The doctor has not finished yet.")
	}
	return &topText{title: "what the doctor found", lines: linesOf(text.String())}
}

func linesOf(text string) []string { return strings.Split(strings.TrimRight(text, "\n"), "\n") }

// lostText says in a line what is wrong with the connection.
func lostText(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("CONNECTION LOST: the server does not answer within %v", topPatience)
	case redisstream.ClassOf(err) == redisstream.Unreachable:
		return "CONNECTION LOST: " + err.Error()
	}
	return "THE SERVER REFUSES: " + err.Error()
}
