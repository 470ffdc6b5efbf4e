package inspect

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// DeadLetterRef names a dead letter.
type DeadLetterRef struct {
	Stream  string // that the event was read from
	Group   string // that could not handle it
	ID      string // of the dead letter, in the stream of the group's dead letters
	EntryID string // of the event, in Stream; "" when Foreign
}

// DeadLetter is an event that a group could not handle, and why.
type DeadLetter struct {
	DeadLetterRef
	Consumer    string
	Attempts    int
	Reason      string    // one word of a closed set
	Error       string    // of the last attempt
	Field       string    // that is to blame, "data.userId"; "" when none is known
	FirstFailed time.Time // zero where the letter does not say
	LastFailed  time.Time

	Envelope *events.Envelope // as far as it can be read; Fields are the original's
	Refusal  *Refusal         // nil when the event decodes, as of now

	// Foreign is a record among the dead letters that was not put there as
	// one: it has no fields that begin with freshet-. It cannot be redriven.
	Foreign bool

	Record []events.Field // as stored, byte for byte
}

// DeadLetterSelection says which dead letters are meant: those that match
// every list which is not empty. The zero value means all.
type DeadLetterSelection struct {
	Streams, Groups []string
	Reasons         []string
	Tenants         []string
	Types           []string // by the catalogue's name, or as it stands on the wire
	Entities        []string // "id" or "type/id"

	// Match, when set, is asked at last; its error ends the search.
	Match func(*DeadLetter) (bool, error)
}

const deadLetterPage = 500

// DeadLetters calls show with the dead letters that are selected: those of one
// stream and group after those of another, the oldest letters first. It
// returns the first error of show.
func (i *Inspector) DeadLetters(ctx context.Context, sel DeadLetterSelection, show func(*DeadLetter) error) error {
	keys, err := i.client.DeadLetterKeys(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		stream, group, _ := redisstream.SplitDeadLetterKey(key)
		if !among(sel.Streams, stream) || !among(sel.Groups, group) {
			continue
		}
		if err := i.deadLettersOf(ctx, key, sel, show); err != nil {
			return err
		}
	}
	return nil
}

// FindDeadLetters returns the dead letters that id may mean: their own id,
// that of the original entry, or the event's.
func (i *Inspector) FindDeadLetters(ctx context.Context, sel DeadLetterSelection, id string) (found []*DeadLetter, err error) {
	err = i.DeadLetters(ctx, sel, func(l *DeadLetter) error {
		if l.isCalled(id) {
			found = append(found, l)
		}
		return nil
	})
	return found, err
}

func (i *Inspector) deadLettersOf(ctx context.Context, key string, sel DeadLetterSelection, show func(*DeadLetter) error) error {
	for after := (wire.ID{}); ; {
		page, err := i.client.Range(ctx, key, after, deadLetterPage)
		if err != nil {
			return err
		}
		for _, entry := range page {
			l := readDeadLetter(entry)
			selected, err := sel.selects(l)
			if err != nil {
				return err
			}
			if !selected {
				continue
			}
			if err := show(l); err != nil {
				return err
			}
		}
		if len(page) < deadLetterPage {
			return nil
		}
		after = page[len(page)-1].ID
	}
}

// readDeadLetter reads a record of a stream of dead letters. The event is
// decoded as the entry that it was.
func readDeadLetter(record wire.Entry) *DeadLetter {
	l := &DeadLetter{Record: record.Fields.List()}
	l.Stream, l.Group, _ = redisstream.SplitDeadLetterKey(record.Stream)
	l.ID = record.ID.String()
	fields, note, ok := redisstream.SplitLetter(l.Record)
	original := wire.Entry{Stream: l.Stream, ID: record.ID, Fields: record.Fields}
	if id, err := wire.ParseID(note.ID); ok && err == nil {
		original.ID, original.Fields = id, events.FieldsOf(fields...)
		l.EntryID = id.String()
		l.Consumer, l.Reason, l.Error = note.Consumer, note.Reason, note.Error
		l.Attempts, _ = strconv.Atoi(note.Attempts)
		l.FirstFailed = timeOf(note.FirstFailed)
		l.LastFailed = timeOf(note.LastFailed)
	} else {
		l.Foreign = true
	}
	var d wire.Decoder
	envelope, refusal := d.Decode(&original)
	l.Envelope = envelope
	if refusal != nil {
		l.Refusal = &Refusal{Reason: string(refusal.Reason), Detail: detail(refusal)}
		l.Field = refusal.Field
	} else {
		l.Field = blamed(l.Reason, l.Error)
	}
	return l
}

func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

var (
	leading   = regexp.MustCompile(`^[A-Za-z]\w*(?:\.\w+)*: `)
	dataField = regexp.MustCompile(`\b(?:meta)?data(?:\.\w+)+`)
)

// blamed finds the field that an error's text names. That of an entry which
// was refused begins with it: "tenantId: bad_tenant (…)"; that of a handler
// may name it anywhere: "… data.userId: must be a string".
func blamed(reason, text string) string {
	switch reason {
	case delivery.ReasonPermanent, delivery.ReasonExhausted, delivery.ReasonCrashed:
		return dataField.FindString(text)
	}
	return strings.TrimSuffix(leading.FindString(text), ": ")
}

func (sel *DeadLetterSelection) selects(l *DeadLetter) (bool, error) {
	e := l.Envelope
	ok := among(sel.Reasons, l.Reason) &&
		among(sel.Tenants, e.Tenant) &&
		(among(sel.Types, e.TypeName()) || among(sel.Types, e.WireType)) &&
		(among(sel.Entities, e.Entity.ID) || among(sel.Entities, e.Entity.Type+"/"+e.Entity.ID))
	if !ok || sel.Match == nil {
		return ok, nil
	}
	return sel.Match(l)
}

func among(names []string, name string) bool {
	return len(names) == 0 || slices.Contains(names, name)
}

func (l *DeadLetter) isCalled(id string) bool {
	return id != "" && (id == l.ID || id == l.EntryID || isCalled(l.Envelope, id))
}

// isCalled tells whether an event has the id, whatever stream it is on.
func isCalled(e *events.Envelope, id string) bool {
	return slices.Contains(namesOf(e), id)
}

// namesOf returns the ids that an event may be called by.
func namesOf(e *events.Envelope) []string {
	names := []string{e.Identity}
	for f := range e.Fields.All() {
		switch f.Name {
		case "eventId", "acknowledgmentId", "messageId":
			var unquoted string // as it stands in era v0
			if json.Unmarshal([]byte(f.Value), &unquoted) == nil {
				names = append(names, unquoted)
			}
			names = append(names, f.Value)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}
