package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Why an edited dead letter is not redriven.
var (
	ErrGone      = errors.New("the dead letter is no longer there: redriven or dropped by somebody else")
	ErrNotLetter = errors.New("the record is no dead letter")
)

// Problem says why fields that somebody wrote are not those of an event.
type Problem struct{ Reason, Field, Detail string }

func (p *Problem) Error() string {
	text := p.Reason
	if p.Field != "" {
		text = p.Field + ": " + text
	}
	if p.Detail != "" {
		text += " (" + p.Detail + ")"
	}
	return text
}

// CheckFields returns a *[Problem] when the fields do not decode as an event of
// the stream.
func CheckFields(stream, entryID string, fields []events.Field) error {
	id, err := wire.ParseID(entryID)
	if err != nil {
		return err
	}
	var d wire.Decoder
	if _, refusal := d.Decode(&wire.Entry{Stream: stream, ID: id, Fields: events.FieldsOf(fields...)}); refusal != nil {
		return &Problem{string(refusal.Reason), refusal.Field, refusal.Detail}
	}
	return nil
}

// RedriveEdited gives a dead letter once more to the group that failed, with
// these fields in the place of the original's, in one atomic step. The entry
// in the stream stays as it was published. Fields that do not decode are a
// *[Problem], and the dead letter stays.
func (r *Repairer) RedriveEdited(ctx context.Context, ref inspect.DeadLetterRef, fields []events.Field) error {
	if err := CheckFields(ref.Stream, ref.EntryID, fields); err != nil {
		return fmt.Errorf("redrive edited: %w", err)
	}
	id, err := wire.ParseID(ref.ID)
	if err != nil {
		return fmt.Errorf("redrive edited: %w", err)
	}
	switch moved, err := r.client.RedriveEdited(ctx, ref.Stream, ref.Group, id, fields); {
	case err != nil:
		return err
	case moved == redisstream.Gone:
		return ErrGone
	case moved == redisstream.Foreign:
		return ErrNotLetter
	}
	return nil
}
