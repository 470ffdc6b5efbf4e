package web

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

type editView struct {
	*inspect.DeadLetter
	Fields  []editField
	Problem string // why what was written is not redriven
}

type editField struct {
	Input, Name, Value string
	Rows               int
	Fixed              bool // not text, so it cannot be written in a form
}

// edit shows the fields of a dead letter to be changed, and redrives it with
// those that come back.
func (d *Dashboard) edit(r *http.Request) (*view, error) {
	l, err := d.findLetter(r)
	if err != nil {
		return nil, err
	}
	if l.Foreign {
		return nil, badRequest("This record is no dead letter: it cannot be redriven.")
	}
	if r.PostFormValue("save") == "" {
		d.audit(r, "revealed a dead letter to edit it", "stream", l.Stream, "group", l.Group, "id", l.ID)
		return editPage(l, l.Envelope.Fields.List(), "", 0), nil
	}
	fields, changed := editedFields(r, l.Envelope.Fields.List())
	if len(changed) == 0 {
		return editPage(l, fields, "Nothing was changed.", http.StatusUnprocessableEntity), nil
	}
	err = d.cfg.Repairer.RedriveEdited(r.Context(), l.DeadLetterRef, fields)
	d.dead.forget()
	var wrong *repair.Problem
	switch {
	case errors.As(err, &wrong):
		return editPage(l, fields, "This is no event that a consumer can read: "+wrong.Error(), http.StatusUnprocessableEntity), nil
	case errors.Is(err, repair.ErrGone):
		return nil, notFound("The dead letter was redriven or dropped by somebody else meanwhile.")
	case err != nil:
		return nil, fmt.Errorf("%w; if the dead letter is gone, it was redriven", err)
	}
	d.audit(r, "edited and redrove a dead letter", "stream", l.Stream, "group", l.Group, "id", l.ID, "entry", l.EntryID, "fields", changed)
	return &view{Redirect: to("/deadletters", "done", "edited")}, nil
}

func editPage(l *inspect.DeadLetter, fields []events.Field, wrong string, status int) *view {
	body := editView{DeadLetter: l, Problem: wrong}
	for i, f := range fields {
		body.Fields = append(body.Fields, editField{
			Input: fmt.Sprintf("field-%d", i), Name: f.Name, Value: f.Value,
			Rows: min(1+len(f.Value)/90+strings.Count(f.Value, "\n"), 16), Fixed: !utf8.ValidString(f.Value),
		})
	}
	return &view{Title: "Edit dead letter " + l.ID, Section: "deadletters", Status: status, Body: body}
}

// editedFields returns the fields as the form has them, and the names of those
// that differ. A browser sends line ends as CRLF; a value that differs in
// nothing else is the one that was.
func editedFields(r *http.Request, original []events.Field) (fields []events.Field, changed []string) {
	fields = slices.Clone(original)
	for i, f := range fields {
		sent, ok := r.PostForm[fmt.Sprintf("field-%d", i)]
		if !ok || !utf8.ValidString(f.Value) {
			continue
		}
		value := strings.ReplaceAll(sent[0], "\r\n", "\n")
		if value != strings.ReplaceAll(f.Value, "\r\n", "\n") {
			fields[i].Value = value
			changed = append(changed, f.Name)
		}
	}
	return fields, changed
}
