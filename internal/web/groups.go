package web

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

const pendingPage = 50

// groupRow is a group over all of its streams.
type groupRow struct {
	Name        string
	Streams     int
	Lag         int64
	Unknown     int       // streams of which the lag is not exact
	Oldest      time.Time // of what it has not settled; zero: nothing, as far as that is known
	AgeUnknown  bool      // of some stream
	Pending     int64
	Live, Dead  int // consumers; of the stream that has most
	DeadLetters int64
	Lost        int64
	Settled     string // events a second
}

// groupsOf sums up the groups of a snapshot, those furthest behind first.
func groupsOf(s *inspect.Snapshot, rates *inspect.Rates) []groupRow {
	byName := map[string]*groupRow{}
	settled := map[string]float64{}
	for _, stream := range s.Streams {
		for _, g := range stream.Groups {
			row := byName[g.Name]
			if row == nil {
				row = &groupRow{Name: g.Name, Settled: "–"}
				byName[g.Name] = row
			}
			row.Streams++
			row.Lag += g.Lag.N
			if !g.Lag.Known() {
				row.Unknown++
			}
			if at := oldestOf(&g); !at.IsZero() && (row.Oldest.IsZero() || at.Before(row.Oldest)) {
				row.Oldest = at
			}
			row.AgeUnknown = row.AgeUnknown || g.OldestUnknown != ""
			row.Pending += g.Pending
			row.Live, row.Dead = max(row.Live, g.Live), max(row.Dead, g.Dead)
			row.DeadLetters += max(g.DeadLetters, 0)
			row.Lost += g.LostUnread
			if rates != nil {
				settled[g.Name] += rates.Settled[inspect.GroupRef{Stream: stream.Key, Group: g.Name}].PerSecond
			}
		}
	}
	rows := make([]groupRow, 0, len(byName))
	for _, row := range byName {
		if rates != nil {
			row.Settled = rateText(settled[row.Name])
		}
		rows = append(rows, *row)
	}
	slices.SortFunc(rows, func(a, b groupRow) int {
		return cmp.Or(cmp.Compare(age(s, b.Oldest), age(s, a.Oldest)), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

// oldestOf is when the oldest entry that a group has not settled was published;
// zero when there is none, or it is not known.
func oldestOf(g *inspect.Group) time.Time {
	if g.Oldest == nil {
		return time.Time{}
	}
	return g.Oldest.At
}

func age(s *inspect.Snapshot, t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return s.At.Sub(t)
}

type groupsView struct {
	Groups []groupRow
	Unread []string // streams without a group
	At     time.Time
}

// groups lists the groups, each over all its streams.
func (d *Dashboard) groups(r *http.Request) (*view, error) {
	snapshot, s, err := d.snapshot(r.Context())
	if err != nil {
		return nil, err
	}
	body := &groupsView{Groups: groupsOf(snapshot, s.Rates), At: s.At}
	for _, stream := range snapshot.Streams {
		if len(stream.Groups) == 0 {
			body.Unread = append(body.Unread, stream.Key)
		}
	}
	return &view{Title: "Groups", Section: "groups", Refresh: 5, Body: body, Problems: s.stale()}, nil
}

type groupView struct {
	Name     string
	Stream   string // the one that is looked at; "" for all
	Parts    []inspect.Group
	One      *inspect.Group
	Consumer string
	Prune    string // command that gives away what consumers hold that are gone
	Pending  []inspect.PendingEntry
	More     string
	At       time.Time
}

// group shows a group on all of its streams, or on one with its consumers and
// a page of what is pending.
func (d *Dashboard) group(r *http.Request) (*view, error) {
	q := r.URL.Query()
	body := &groupView{Name: q.Get("name"), Stream: q.Get("stream"), Consumer: q.Get("consumer")}
	after := q.Get("after")
	if body.Name == "" || after != "" && !isID(after) {
		return nil, badRequest("Name a group: /group?name=…")
	}
	v := &view{Title: body.Name, Section: "groups", Body: body}
	if body.Stream == "" {
		snapshot, s, err := d.snapshot(r.Context())
		if err != nil {
			return nil, err
		}
		body.At, v.Problems, v.Refresh = snapshot.At, s.stale(), 5
		for _, stream := range snapshot.Streams {
			for _, g := range stream.Groups {
				if g.Name == body.Name {
					body.Parts = append(body.Parts, g)
				}
			}
		}
		if len(body.Parts) == 0 {
			return nil, notFound("No stream of the suite has a group of this name.")
		}
		return v, nil
	}
	var err error
	if body.One, v.Problems, err = d.groupOn(r.Context(), body.Stream, body.Name); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(body.One.Consumers, func(c inspect.Consumer) bool { return !c.Live && c.Pending > 0 }) {
		body.Prune = pruneCommand(body.Stream, body.Name)
	}
	if q.Get("done") == "removed" {
		v.Done = "The consumer was removed."
	}
	body.Pending, err = d.cfg.Inspector.Pending(r.Context(), inspect.PendingConfig{
		Stream: body.Stream, Group: body.Name, Consumer: body.Consumer, After: after, Limit: pendingPage,
	})
	if err != nil {
		v.Problems = append(v.Problems, problem("What is pending", err))
	}
	if len(body.Pending) == pendingPage {
		body.More = to("/group", "name", body.Name, "stream", body.Stream, "consumer", body.Consumer, "after", body.Pending[pendingPage-1].ID)
	}
	return v, nil
}

type rewindView struct {
	*repair.Rewind
	To string // as it was asked for
}

// rewind says how many events a group would be given again, and moves the group
// back once that was said to be wanted.
func (d *Dashboard) rewind(r *http.Request) (*view, error) {
	cfg := repair.RewindConfig{Stream: r.FormValue("stream"), Group: r.FormValue("name"), To: r.PostFormValue("to"), CountTo: 10_000, DryRun: r.PostFormValue("confirm") != "rewind"}
	to := cfg.To
	switch at, err := parseTime(to); {
	case to == "0":
		cfg.To = repair.Beginning
	case to == repair.Beginning || isID(to):
	case err == nil:
		cfg.To = strconv.FormatInt(max(at.UnixMilli(), 0), 10) + "-0"
	default:
		return nil, badRequest("%q is no place to go back to: write 0 for the beginning, an entry id, a time such as 2025-12-31T23:59 in UTC, or 15m for a quarter of an hour ago.", short(40, to))
	}
	result, err := d.cfg.Repairer.RewindGroup(r.Context(), cfg)
	switch {
	case errors.Is(err, repair.ErrNotBack):
		return nil, badRequest("The group has not got that far: a group is only ever moved back, for what is skipped would be lost to it.")
	case err != nil:
		return nil, err
	}
	if cfg.DryRun {
		return &view{Title: "Rewind " + text(cfg.Group) + "?", Section: "groups", Body: rewindView{result, cfg.To}}, nil
	}
	d.audit(r, "moved a group back", "stream", cfg.Stream, "group", cfg.Group, "from", result.LastDelivered, "to", cfg.To)
	return &view{Redirect: groupAddress(cfg.Stream, cfg.Group)}, nil
}

func groupAddress(stream, name string) string { return to("/group", "name", name, "stream", stream) }
