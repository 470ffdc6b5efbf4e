package web

import (
	"net/http"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/personal"
)

type eventView struct {
	*events.Envelope
	Refusal    *inspect.Refusal
	At         time.Time // of the entry's id
	Data, Meta string
	Fields     []events.Field
	Revealed   bool
	Way        []inspect.Way
	Related    string // address of the events of its correlation; "" when it has none
	Kept       bool   // the copy has a table for its entity
	Rows       []writtenRow
}

// event shows one entry; posted to, it shows what is masked as well.
func (d *Dashboard) event(r *http.Request) (*view, error) {
	stream, id := r.FormValue("stream"), r.FormValue("id")
	if stream == "" || !isID(id) {
		return nil, badRequest("Name a stream and an entry id: /event?stream=…&id=…")
	}
	item, err := d.cfg.Inspector.Entry(r.Context(), stream, id)
	if err != nil {
		return nil, err
	}
	if item == nil {
		return nil, notFound("%s has no entry %s. It may have been trimmed.", text(stream), id)
	}
	e := item.Envelope
	body := &eventView{Envelope: e, Refusal: item.Refusal, At: idTime(id), Fields: e.Fields.List(), Revealed: r.Method == http.MethodPost, Meta: pretty(e.Metadata)}
	if body.Revealed {
		d.audit(r, "revealed an event", "stream", stream, "id", id)
	} else {
		body.Fields = personal.Fields(body.Fields)
		body.Meta = pretty(personal.JSON(e.Metadata))
	}
	body.Data = pretty(dataOf(e, body.Revealed))
	if searchable(e.CorrelationID) {
		body.Related = to("/find", "q", e.CorrelationID, "list", 1)
	}
	v := &view{Title: "Event " + id, Section: "streams", Body: body}
	if d.cfg.Copy != nil {
		if body.Rows, body.Kept, err = d.writtenRows(r.Context(), e); err != nil {
			v.Problems = append(v.Problems, problem("Rows of the copy", err))
		}
	}
	ways, problems, err := d.cfg.Inspector.Ways(r.Context(), []inspect.Item{*item}, lettersPerLook)
	if err != nil {
		v.Problems = append(v.Problems, problem("The event's way", err))
		return v, nil
	}
	body.Way = ways[0]
	for _, p := range problems {
		v.Problems = append(v.Problems, problem(partOf(p), p.Err))
	}
	return v, nil
}
