package repair

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Record is a dead letter as it is exported, on one line of JSON:
//
//	{"stream":"…","group":"…","fields":[["eventType","user_created"],…]}
//
// The fields are those of the stored record, byte for byte and in order. Text
// that is not UTF-8 stands as {"base64":"…"} in the place of a string.
type Record struct {
	Stream, Group string
	Fields        []events.Field

	entryID string // of the original
}

// RecordOf returns the record of a dead letter.
func RecordOf(l *inspect.DeadLetter) Record {
	return Record{l.Stream, l.Group, l.Record, l.EntryID}
}

type recordJSON struct {
	Stream Text     `json:"stream"`
	Group  Text     `json:"group"`
	Fields [][]Text `json:"fields"`
}

// MarshalJSON writes the form that ParseRecord reads.
func (r Record) MarshalJSON() ([]byte, error) {
	return marshal(recordJSON{Text(r.Stream), Text(r.Group), Pairs(r.Fields)})
}

// Pairs returns fields as they are written in JSON: a list of pairs of name
// and value.
func Pairs(fields []events.Field) [][]Text {
	pairs := make([][]Text, len(fields))
	for i, f := range fields {
		pairs[i] = []Text{Text(f.Name), Text(f.Value)}
	}
	return pairs
}

// ParseRecord reads a line of an export. What is wrong is told without values.
func ParseRecord(line []byte) (Record, error) {
	var from recordJSON
	if !utf8.Valid(line) {
		return Record{}, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&from); err != nil {
		return Record{}, jsonProblem(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Record{}, errors.New("something stands behind the object")
	}
	r := Record{Stream: string(from.Stream), Group: string(from.Group)}
	for i, pair := range from.Fields {
		if len(pair) != 2 {
			return Record{}, fmt.Errorf("fields: number %d is no pair of name and value", i+1)
		}
		r.Fields = append(r.Fields, events.Field{Name: string(pair[0]), Value: string(pair[1])})
	}
	return r, r.check()
}

// check makes sure that the record is a dead letter, of the stream and group
// that it names.
func (r *Record) check() error {
	stream, group, _ := redisstream.SplitDeadLetterKey(redisstream.DeadLetterKey(r.Stream, r.Group))
	_, note, isLetter := redisstream.SplitLetter(r.Fields)
	id, idErr := wire.ParseID(note.ID)
	attempts, attemptsErr := strconv.Atoi(note.Attempts)
	switch {
	case r.Stream == "" || r.Group == "":
		return errors.New("stream and group are required")
	case stream != r.Stream || group != r.Group:
		return errors.New("stream: not possible as a key")
	case len(r.Fields) > redisstream.MaxLetterFields:
		return fmt.Errorf("fields: %d, at most %d", len(r.Fields), redisstream.MaxLetterFields)
	case !isLetter:
		return errors.New("fields: must end with the fields of a dead letter, from freshet-stream to freshet-last-failed")
	case note.Stream != r.Stream:
		return errors.New("freshet-stream: not the same as stream")
	case note.Group != r.Group:
		return errors.New("freshet-group: not the same as group")
	case idErr != nil:
		return errors.New("freshet-id: must be an entry id")
	case attemptsErr != nil || attempts < 0:
		return errors.New("freshet-attempts: must be a number")
	case !validTime(note.FirstFailed):
		return errors.New("freshet-first-failed: must be a time")
	case !validTime(note.LastFailed):
		return errors.New("freshet-last-failed: must be a time")
	}
	r.entryID = id.String()
	return nil
}

// validTime takes "" for a time that a letter does not know.
func validTime(s string) bool {
	_, err := time.Parse(time.RFC3339Nano, s)
	return s == "" || err == nil
}

func jsonProblem(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("bad JSON at byte %d", syntax.Offset)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("bad JSON: ends too early")
	case errors.As(err, &kind) && kind.Field == "":
		return errors.New("must be an object")
	case errors.As(err, &kind):
		return fmt.Errorf("%s: must be a list of pairs of name and value", kind.Field)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// Text is a string that keeps its bytes in JSON: one that is not UTF-8 becomes
// an object with its base64.
type Text string

type binary struct {
	Base64 []byte `json:"base64"`
}

var errText = errors.New(`text must be a string or {"base64":"…"}`)

// MarshalJSON implements [json.Marshaler].
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return marshal(string(t))
	}
	return marshal(binary{[]byte(t)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Text) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil || replaced(raw, s) {
			return errText
		}
		*t = Text(s)
		return nil
	case '{':
		var b binary
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&b); err != nil || b.Base64 == nil {
			return errText
		}
		*t = Text(b.Base64)
		return nil
	}
	return errText
}

// replaced tells whether decoding put U+FFFD for half a surrogate pair.
func replaced(raw []byte, s string) bool {
	return strings.ContainsRune(s, utf8.RuneError) &&
		!bytes.ContainsRune(raw, utf8.RuneError) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`))
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
