package redisstream

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

var (
	//go:embed lua/redrive.lua
	redriveText string
	//go:embed lua/redrive_edited.lua
	redriveEditedText string
	//go:embed lua/store_letters.lua
	storeLettersText string

	redriveScript       = newScript(redriveText)
	redriveEditedScript = newScript(redriveEditedText)
	storeLettersScript  = newScript(storeLettersText)
)

// MaxLetterFields bounds the fields of a dead letter, its own included: Lua
// passes 8000 arguments at most.
const MaxLetterFields = maxFields + 9

// LetterNote is what a dead letter says about itself: the text of its own
// fields.
type LetterNote struct {
	Stream, ID              string // of the original entry
	Group, Consumer         string // that could not handle it
	Attempts                string
	Reason, Error           string
	FirstFailed, LastFailed string // "2025-12-04T10:00:00.000Z"; "" when there was no such time
}

// fields returns the letter's own fields. They stand behind the original's,
// in this order; redrive.lua counts on it.
func (n LetterNote) fields() []events.Field {
	return []events.Field{
		{Name: "freshet-stream", Value: n.Stream},
		{Name: "freshet-id", Value: n.ID},
		{Name: "freshet-group", Value: n.Group},
		{Name: "freshet-consumer", Value: n.Consumer},
		{Name: "freshet-attempts", Value: n.Attempts},
		{Name: "freshet-reason", Value: n.Reason},
		{Name: "freshet-error", Value: n.Error},
		{Name: "freshet-first-failed", Value: n.FirstFailed},
		{Name: "freshet-last-failed", Value: n.LastFailed},
	}
}

// SplitLetter parts the fields of a dead letter into the original's and what
// the letter says about itself. ok is false for an entry that is no dead
// letter of ours.
func SplitLetter(fields []events.Field) (original []events.Field, note LetterNote, ok bool) {
	own := note.fields()
	at := len(fields) - len(own)
	if at < 0 {
		return nil, LetterNote{}, false
	}
	for i, f := range fields[at:] {
		if f.Name != own[i].Name {
			return nil, LetterNote{}, false
		}
		own[i].Value = f.Value
	}
	note = LetterNote{
		own[0].Value, own[1].Value, own[2].Value, own[3].Value, own[4].Value,
		own[5].Value, own[6].Value, own[7].Value, own[8].Value,
	}
	return fields[:at:at], note, true
}

// DeadLetterKeys returns the streams of dead letters that there are, of all
// streams and groups, sorted.
func (c *Client) DeadLetterKeys(ctx context.Context) ([]string, error) {
	found := map[string]bool{}
	err := c.eachStream(ctx, func(key string) {
		if _, _, ok := SplitDeadLetterKey(key); ok {
			found[key] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("scan for dead letters: %w", err)
	}
	keys := make([]string, 0, len(found))
	for key := range found {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys, nil
}

// SplitDeadLetterKey undoes [DeadLetterKey].
func SplitDeadLetterKey(key string) (stream, group string, ok bool) {
	rest, braced := strings.CutPrefix(key, "{")
	stream, group, marked := strings.Cut(rest, "}:dlq:")
	return stream, group, braced && marked && stream != "" && group != ""
}

// Redriven is what became of a dead letter that was to be redriven.
type Redriven int64

// What may become of it. Foreign is a record without a dead letter's own
// fields; it stays.
const (
	Foreign Redriven = -1
	Gone    Redriven = 0
	Moved   Redriven = 1
)

// Redrive moves dead letters of a group to the stream that the group alone
// reads beside the original one, in the order given, at most a hundred at a
// time. Each is moved in one atomic step; those before one that fails have
// been moved.
func (c *Client) Redrive(ctx context.Context, stream, group string, ids []wire.ID) ([]Redriven, error) {
	keys := []string{DeadLetterKey(stream, group), RetryKey(stream, group)}
	answers, err := c.run(ctx, redriveScript, keys, texts(ids)...).AsIntSlice()
	if err == nil && len(answers) != len(ids) {
		err = fmt.Errorf("script answered for %d dead letters of %d", len(answers), len(ids))
	}
	if err != nil {
		return nil, fmt.Errorf("redrive dead letters of %s to group %s: %w", stream, group, err)
	}
	results := make([]Redriven, len(ids))
	for i, n := range answers {
		results[i] = Redriven(n)
	}
	return results, nil
}

// RedriveEdited is Redrive of one dead letter with fields in the place of the
// original's.
func (c *Client) RedriveEdited(ctx context.Context, stream, group string, id wire.ID, fields []events.Field) (Redriven, error) {
	args := make([]string, 0, 1+2*len(fields))
	args = append(args, id.String())
	for _, f := range fields {
		args = append(args, f.Name, f.Value)
	}
	keys := []string{DeadLetterKey(stream, group), RetryKey(stream, group)}
	answer, err := c.run(ctx, redriveEditedScript, keys, args...).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("redrive an edited dead letter of %s to group %s: %w", stream, group, err)
	}
	return Redriven(answer), nil
}

// DropLetters deletes dead letters of a group and returns how many were there.
func (c *Client) DropLetters(ctx context.Context, stream, group string, ids []wire.ID) (int64, error) {
	n, err := c.do(ctx, c.rc.B().Xdel().Key(DeadLetterKey(stream, group)).Id(texts(ids)...).Build()).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("drop dead letters of %s of group %s: %w", stream, group, err)
	}
	return n, nil
}

// StoreLetters stores dead letters, each with at most MaxLetterFields fields.
// seen is the last one that the caller knows; when there are later ones, it
// stores nothing and ok is false. last is the id of the last one stored.
func (c *Client) StoreLetters(ctx context.Context, stream, group string, seen wire.ID, letters [][]events.Field) (last wire.ID, ok bool, err error) {
	args := []string{next(seen).String()}
	for _, fields := range letters {
		args = append(args, strconv.Itoa(2*len(fields)))
		for _, f := range fields {
			args = append(args, f.Name, f.Value)
		}
	}
	text, err := c.run(ctx, storeLettersScript, []string{DeadLetterKey(stream, group)}, args...).ToString()
	switch {
	case err == nil && text == "":
		return wire.ID{}, false, nil
	case err == nil:
		last, err = wire.ParseID(text)
	}
	if err != nil {
		return wire.ID{}, false, fmt.Errorf("store dead letters of %s of group %s: %w", stream, group, err)
	}
	return last, true, nil
}

func texts(ids []wire.ID) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return texts
}
