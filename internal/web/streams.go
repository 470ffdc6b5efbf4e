package web

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
)

// entriesPage is how many entries stand on a page.
const entriesPage = 50

// entryRow is an entry in a table, with personal data masked.
type entryRow struct {
	Stream, ID   string
	Type, Tenant string
	Known        bool // the catalogue knows the type
	Entity       events.Entity
	Time         time.Time // when it was published, by its id
	Data         string    // the beginning
	Refusal      string    // why it does not decode; "" when it does
}

func rowOf(item inspect.Item) entryRow {
	e := item.Envelope
	row := entryRow{
		Stream: e.Stream, ID: e.ID, Type: e.TypeName(), Known: e.Type != nil,
		Tenant: e.Tenant, Entity: e.Entity, Time: idTime(e.ID),
		Data: short(240, string(dataOf(e, false))),
	}
	if item.Refusal != nil {
		row.Refusal = strings.TrimSuffix(item.Refusal.Reason+": "+item.Refusal.Detail, ": ")
	}
	return row
}

// idTime is the time that an entry's id tells; zero when it tells none that
// could be.
func idTime(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || n <= 0 || n > 1e14 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

type streamView struct {
	Key              string
	Entries          []entryRow
	Newer, Older     string // addresses; "" when there is none
	Newest           bool   // this is the newest page
	Searched         int    // entries that were looked at
	Types            []string
	Type, Tenant, At string // what was asked for
	Info             *inspect.Stream
	Live             string // address of a live tail of what comes
	LiveOn           string // address of the one that goes on where this page, the newest, ends
}

// stream shows a page of a stream's entries: the newest, those before or after
// an id, or those around a time.
func (d *Dashboard) stream(r *http.Request) (*view, error) {
	q := r.URL.Query()
	key := q.Get("key")
	if key == "" {
		return nil, badRequest("Name a stream: /stream?key=…")
	}
	body := &streamView{Key: key, Type: q.Get("type"), Tenant: q.Get("tenant"), At: q.Get("at"), Types: typesOf(key)}
	v := &view{Title: key, Section: "streams", Body: body}

	page := inspect.PageConfig{Stream: key, Before: q.Get("before"), After: q.Get("after"), Limit: entriesPage}
	if body.At != "" {
		at, err := parseTime(body.At)
		if err != nil {
			return nil, badRequest("%q is no time: write it as 2025-12-31T23:59, in UTC, or as 15m for a quarter of an hour ago.", short(40, body.At))
		}
		// One page that begins at the time; ids are the server's clock.
		page.After, page.Before = strconv.FormatInt(max(at.UnixMilli()-1, 0), 10)+"-18446744073709551615", ""
	}
	for _, id := range []string{page.Before, page.After} {
		if id != "" && !isID(id) {
			return nil, badRequest("%q is no entry id.", short(40, id))
		}
	}
	items, err := d.pageOf(r.Context(), page, body.Type, body.Tenant)
	if err != nil {
		return nil, err
	}
	for _, item := range items.shown {
		body.Entries = append(body.Entries, rowOf(item))
	}
	here := []any{"key", key, "type", body.Type, "tenant", body.Tenant}
	body.Newest = page.Before == "" && page.After == ""
	live := []any{"stream", key, "type", body.Type, "tenant", body.Tenant}
	body.Live = to("/live", live...)
	if body.Newest {
		body.LiveOn = to("/live", append(live, "after", cmp.Or(items.newest, "0-0"))...)
	}
	body.Searched = items.searched
	if items.newest != "" && !body.Newest && (page.After == "" || items.full) {
		body.Newer = to("/stream", append(here, "after", items.newest)...)
	}
	if items.oldest != "" && (page.After != "" || items.full) {
		body.Older = to("/stream", append(here, "before", items.oldest)...)
	}
	v.Problems = d.describeStream(r, body)
	if q.Get("done") == "deleted" {
		v.Done = "The group was deleted."
	}
	return v, nil
}

// entries are a page of those that are wanted.
type entries struct {
	shown          []inspect.Item
	newest, oldest string // of those looked at
	full           bool   // there may be more in the direction of the page
	searched       int
}

// A page that looks for something among entries stops after so many, or so
// long, and leads on from there.
const (
	maxSearched = 5000
	searchStep  = 250 // read at one time
	searchTime  = 50 * time.Millisecond
)

// pageOf collects a page of entries of a type and tenant, "" for any.
func (d *Dashboard) pageOf(ctx context.Context, page inspect.PageConfig, typ, tenant string) (entries, error) {
	filtered := typ != "" || tenant != ""
	wanted := page.Limit
	if filtered {
		page.Limit = searchStep
	}
	var found entries
	for begin := time.Now(); found.searched < maxSearched; {
		items, err := d.cfg.Inspector.Page(ctx, page)
		if err != nil {
			return found, err
		}
		found.searched += len(items)
		found.full = len(items) == page.Limit
		if len(items) == 0 {
			break
		}
		upwards := page.After != ""
		if upwards { // nearest first
			for i := len(items) - 1; i >= 0 && len(found.shown) < wanted; i-- {
				found.newest = items[i].Envelope.ID
				if found.oldest == "" {
					found.oldest = found.newest
				}
				if matches(items[i], typ, tenant) {
					found.shown = append([]inspect.Item{items[i]}, found.shown...)
				}
			}
			page.After = found.newest
			found.full = found.full || found.newest != items[0].Envelope.ID
		} else {
			for i := 0; i < len(items) && len(found.shown) < wanted; i++ {
				found.oldest = items[i].Envelope.ID
				if found.newest == "" {
					found.newest = found.oldest
				}
				if matches(items[i], typ, tenant) {
					found.shown = append(found.shown, items[i])
				}
			}
			page.Before = found.oldest
			found.full = found.full || found.oldest != items[len(items)-1].Envelope.ID
		}
		if len(found.shown) == wanted || !found.full || time.Since(begin) > searchTime {
			break
		}
	}
	return found, nil
}

func matches(item inspect.Item, typ, tenant string) bool {
	e := item.Envelope
	return (typ == "" || typ == e.TypeName() || typ == e.WireType) && (tenant == "" || tenant == e.Tenant)
}

// typesOf are the types of events that the catalogue has on a stream.
func typesOf(stream string) (names []string) {
	base := events.BaseStream(stream)
	for _, t := range events.Catalogue() {
		if t.Name != "" && (t.Stream == stream || t.Stream == base) {
			names = append(names, t.Name)
		}
	}
	return names
}

func parseTime(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return time.Now().Add(-d), nil
	}
	var err error
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339Nano, time.DateTime, time.DateOnly} {
		var t time.Time
		if t, err = time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, err
}

// isID tells whether s is an entry id in full.
func isID(s string) bool {
	ms, seq, ok := strings.Cut(s, "-")
	_, err := strconv.ParseUint(ms, 10, 64)
	_, err2 := strconv.ParseUint(seq, 10, 64)
	return ok && err == nil && err2 == nil
}
