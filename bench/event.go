package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/freshet/freshet/events"
)

// The event of every measurement: the guide's user_created, 11 fields and
// about 850 bytes.
const (
	userStream = "crm:sync:user:user_created"
	tenant     = "00000000-0000-0000-0000-000000000001"
	userPrefix = "c8e9f140-be15-4656-9046-"

	// number stands for the event's number, in hexadecimal: users are told
	// apart by it.
	number = "ffffffffffff"
)

// userID is the id of the n-th user.
func userID(n int) string { return fmt.Sprintf("%s%012x", userPrefix, n) }

// userNumber is n of userID(n), -1 when id is none.
func userNumber(id string) int {
	n, err := strconv.ParseInt(strings.TrimPrefix(id, userPrefix), 16, 64)
	if err != nil {
		return -1
	}
	return int(n)
}

// userFields are the event's fields on the wire, with data padded to at least
// so many bytes.
func userFields(stream string, dataBytes int) []events.Field {
	data := `{"userId":"` + userPrefix + number + `","email":"u` + number + `@example.com","firstName":"Augusta Ada",` +
		`"lastName":"Lovelace","name":"Augusta Ada Lovelace","isActive":true,"createdAt":"2025-12-04T10:00:00.000Z"}`
	if missing := dataBytes - len(data); missing > 0 {
		data = data[:len(data)-1] + `,"notes":"` + strings.Repeat("n", missing) + `"}`
	}
	return []events.Field{
		{Name: "streamId", Value: stream},
		{Name: "messageId", Value: "1764842400000-" + number},
		{Name: "timestamp", Value: "2025-12-04T10:00:00.000Z"},
		{Name: "sourceApp", Value: "wrapper-api"},
		{Name: "eventType", Value: "user_created"},
		{Name: "entityType", Value: "user"},
		{Name: "entityId", Value: userPrefix + number},
		{Name: "tenantId", Value: tenant},
		{Name: "action", Value: "created"},
		{Name: "data", Value: data},
		{Name: "metadata", Value: `{"correlationId":"user_` + userPrefix + number + `_1764842400000","version":"1.0",` +
			`"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","publishedBy":"user-service","priority":"normal",` +
			`"sourceTimestamp":"2025-12-04T10:00:00.000Z","sourceApp":"wrapper-api","environment":"production","region":"eu-central-1"}`},
	}
}

// template is the bytes of a command that publishes one event, whose number
// can be set in place.
type template struct {
	command []byte
	numbers []int // where the number is
}

func userTemplate(stream string, dataBytes int) *template {
	return templateOf(stream, userFields(stream, dataBytes))
}

func templateOf(stream string, fields []events.Field) *template {
	t := &template{command: appendCommand(nil, append([]string{"XADD", stream, "*"}, fieldValues(fields)...)...)}
	for from := 0; ; {
		at := bytes.Index(t.command[from:], []byte(number))
		if at < 0 {
			return t
		}
		t.numbers = append(t.numbers, from+at)
		from += at + len(number)
	}
}

// append appends the command for event n.
func (t *template) append(to []byte, n int) []byte {
	start := len(to)
	to = append(to, t.command...)
	digits := fmt.Appendf(nil, "%012x", n)
	for _, at := range t.numbers {
		copy(to[start+at:], digits)
	}
	return to
}

// fieldValues are fields as clients take them: names and values in turn.
func fieldValues(fields []events.Field) []string {
	values := make([]string, 0, 2*len(fields))
	for _, f := range fields {
		values = append(values, f.Name, f.Value)
	}
	return values
}

// size is the bytes of names and values.
func size(fields []events.Field) int {
	n := 0
	for _, v := range fieldValues(fields) {
		n += len(v)
	}
	return n
}

// numbered returns the fields of event n.
func numbered(fields []events.Field, n int) []events.Field {
	fields = slices.Clone(fields)
	for i := range fields {
		fields[i].Value = strings.ReplaceAll(fields[i].Value, number, fmt.Sprintf("%012x", n))
	}
	return fields
}

// fill describes entries to publish before a measurement.
type fill struct {
	db        int
	streams   []string
	entries   int // in all, dealt to the streams in turn
	entities  int // users that they are about; 0: each its own
	dataBytes int // of data at least
}

// fill publishes, in pipelines.
func (s *server) fill(f fill) error {
	c, err := dial(s.Addr(), f.db)
	if err != nil {
		return err
	}
	defer c.close()
	templates := make([]*template, len(f.streams))
	for i, stream := range f.streams {
		templates[i] = userTemplate(stream, f.dataBytes)
	}
	const pipeline = 500
	for from := 0; from < f.entries; from += pipeline {
		n := min(pipeline, f.entries-from)
		for i := from; i < from+n; i++ {
			user := i
			if f.entities > 0 {
				user = i % f.entities
			}
			c.out = templates[i%len(templates)].append(c.out, user)
		}
		if err := c.flush(); err != nil {
			return err
		}
		for range n {
			if _, err := c.skip(); err != nil {
				return fmt.Errorf("fill: %w", err)
			}
		}
	}
	return nil
}
