package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/shell"
)

const (
	findLongest = 512    // bytes of what is looked for
	findEach    = 10_000 // entries that are looked at of each stream
	findShown   = 200    // events, and streams that were not searched to their end
	findAtOnce  = 2      // searches, of all readers together
)

type findView struct {
	Query   string
	Found   []foundRow
	Left    int  // found, and not shown
	Entry   bool // an entry's id was looked up, so that its age does not matter
	Each    int
	Stopped []stoppedRow
	Further int      // streams that Stopped leaves out
	GaveUp  bool     // the search did not come to its end in time
	Next    []string // commands that look further
}

type foundRow struct {
	entryRow
	By string // what of the event is what was looked for
}

// stoppedRow is a stream of which older entries were not looked at.
type stoppedRow struct {
	Stream, ID string
	At         time.Time
}

// find looks for the events that an id may mean: that of an entry, of an event,
// or of a correlation. A single one is shown at once, unless a list is asked
// for.
func (d *Dashboard) find(r *http.Request) (*view, error) {
	query := strings.TrimSpace(r.URL.Query().Get("q"))
	body := &findView{Query: query, Each: findEach}
	v := &view{Title: "Find an event", Query: query, Body: body}
	if query == "" {
		return v, nil
	}
	if !searchable(query) {
		return nil, badRequest("This is no id: an id is at most %d bytes of readable text, without control characters.", findLongest)
	}
	select {
	case d.finds <- struct{}{}:
		defer func() { <-d.finds }()
	case <-r.Context().Done():
		return nil, &pageError{http.StatusServiceUnavailable, "Others are searching, and a search keeps the server busy. Try again in a moment."}
	}
	if err := d.search(r.Context(), body, v); err != nil {
		return nil, err
	}
	if len(body.Found) == 1 && body.Left == 0 && !body.GaveUp && r.URL.Query().Get("list") == "" {
		return &view{Redirect: to("/event", "stream", body.Found[0].Stream, "id", body.Found[0].ID)}, nil
	}
	body.Next = []string{shell.Command("freshet", "events", "get", query, "--limit", "1000000")}
	if !body.Entry {
		body.Next = append(body.Next, shell.Command("freshet", "trace", query, "--limit", "1000000"))
	}
	return v, nil
}

// searchable tells whether s could be an id that somebody looks for.
func searchable(s string) bool {
	return s != "" && len(s) <= findLongest && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r == '\n' || r == '\t' || unseen(r) })
}

// search fills in what is found. A search that takes too long is none that
// failed: what it has found until then is shown.
func (d *Dashboard) search(ctx context.Context, body *findView, v *view) error {
	cfg := inspect.FindConfig{Limit: findEach}
	body.Entry = isID(body.Query[strings.LastIndexByte(body.Query, '/')+1:])
	searches := []struct {
		by  string
		run func(context.Context, string, inspect.FindConfig) (*inspect.Search, error)
	}{{"id", d.cfg.Inspector.FindEvents}, {"correlation", d.cfg.Inspector.TraceEvents}}
	if body.Entry {
		searches = searches[:1]
	}
	found, stopped := map[[2]string]bool{}, map[string]bool{}
	for _, s := range searches {
		result, err := s.run(ctx, body.Query, cfg)
		switch {
		case err != nil && ctx.Err() != nil:
			body.GaveUp = true
		case err != nil:
			return err
		default:
			body.take(result, s.by, found, stopped)
			for _, p := range result.Problems {
				v.Problems = append(v.Problems, problem(partOf(p), p.Err))
			}
		}
	}
	slices.SortStableFunc(body.Found, func(a, b foundRow) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Stream, b.Stream))
	})
	body.Left, body.Further = max(len(body.Found)-findShown, 0), max(len(body.Stopped)-findShown, 0)
	body.Found, body.Stopped = body.Found[:len(body.Found)-body.Left], body.Stopped[:len(body.Stopped)-body.Further]
	return nil
}

// take adds what a search has found, each event and stream once.
func (body *findView) take(result *inspect.Search, by string, found map[[2]string]bool, stopped map[string]bool) {
	for _, item := range result.Found {
		if at := [2]string{item.Envelope.Stream, item.Envelope.ID}; !found[at] {
			found[at] = true
			body.Found = append(body.Found, foundRow{rowOf(item), by})
		}
	}
	for _, s := range result.Stopped {
		if !stopped[s.Stream] {
			stopped[s.Stream] = true
			body.Stopped = append(body.Stopped, stoppedRow{s.Stream, s.ID, idTime(s.ID)})
		}
	}
}
