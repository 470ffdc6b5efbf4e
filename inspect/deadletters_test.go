package inspect_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

// letter is a dead letter as a consumer stores it.
type letter struct {
	stream, group, id       string // of the original
	reason, err             string
	firstFailed, lastFailed string
	fields                  []string
	as                      string // id of the letter; any by default
}

// put stores a dead letter and returns its id.
func (l letter) put(t *testing.T, s *redistest.Server) string {
	t.Helper()
	fields := append(slices.Clone(l.fields),
		"freshet-stream", l.stream, "freshet-id", l.id, "freshet-group", l.group, "freshet-consumer", "c-1", "freshet-attempts", "8",
		"freshet-reason", l.reason, "freshet-error", l.err, "freshet-first-failed", l.firstFailed, "freshet-last-failed", l.lastFailed)
	return xadd(t, s, "{"+l.stream+"}:dlq:"+l.group, cmp.Or(l.as, "*"), fields...)
}

func userLetter(group, id, user, reason, err string) letter {
	return letter{
		stream: users, group: group, id: id, reason: reason, err: err,
		firstFailed: "2026-01-02T03:04:05.678Z", lastFailed: "2026-01-02T03:05:05.678Z",
		fields: []string{"messageId", "m-" + user, "eventType", "user_created", "tenantId", "acme", "data", fmt.Sprintf(`{"userId":%q}`, user)},
	}
}

func deadLetters(t *testing.T, i *inspect.Inspector, sel inspect.DeadLetterSelection) (found []*inspect.DeadLetter) {
	t.Helper()
	err := i.DeadLetters(t.Context(), sel, func(l *inspect.DeadLetter) error {
		found = append(found, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestDeadLetterIsReadAsTheEntryItWas(t *testing.T) {
	i, server, _ := open(t)
	l := userLetter("g", "7-1", "u-1", "max_attempts", "save user u-1: data.email: no")
	id := l.put(t, server)
	found := deadLetters(t, i, inspect.DeadLetterSelection{})
	if len(found) != 1 {
		t.Fatalf("%d dead letters", len(found))
	}
	got, e := found[0], found[0].Envelope
	if want := (inspect.DeadLetterRef{Stream: users, Group: "g", ID: id, EntryID: "7-1"}); got.DeadLetterRef != want {
		t.Errorf("%+v, want %+v", got.DeadLetterRef, want)
	}
	if got.Consumer != "c-1" || got.Attempts != 8 || got.Reason != "max_attempts" || got.Error != l.err || got.Field != "data.email" || got.Foreign || got.Refusal != nil {
		t.Errorf("%+v", got)
	}
	if !got.FirstFailed.Equal(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)) || got.LastFailed.Sub(got.FirstFailed) != time.Minute {
		t.Errorf("failed from %v to %v", got.FirstFailed, got.LastFailed)
	}
	if e.Stream != users || e.ID != "7-1" || e.Identity != "m-u-1" || e.Entity.ID != "u-1" || e.Fields.Len() != 4 || len(got.Record) != 13 {
		t.Errorf("envelope %+v", e)
	}
}

func TestFieldToBlame(t *testing.T) {
	i, server, _ := open(t)
	bad := userLetter("g", "1-1", "u-1", "bad_json", "data: bad_json (at byte 1)")
	bad.fields[7] = "{"
	unknown := userLetter("g", "2-1", "u-1", "unknown_type", "eventType: not in the catalogue")
	unknown.fields[3] = "user_promoted"
	for _, test := range []struct {
		letter letter
		field  string
	}{
		{bad, "data"},
		{unknown, "eventType"},
		{userLetter("g", "3-1", "u-1", "permanent", "replica: a/1-1: user_created: data.userId: must be text"), "data.userId"},
		{userLetter("g", "4-1", "u-1", "crashed", "attempt 8 of 8 did not end"), ""},
		{userLetter("g", "5-1", "u-1", "max_attempts", "connection: refused"), ""},
	} {
		id := test.letter.put(t, server)
		found, err := i.FindDeadLetters(t.Context(), inspect.DeadLetterSelection{}, id)
		if err != nil || len(found) != 1 || found[0].Field != test.field || (found[0].Refusal != nil) != (test.letter.reason == "bad_json") {
			t.Errorf("%s: %+v, %v, want field %q", test.letter.err, found, err, test.field)
		}
	}
}

func TestDeadLettersAreSelected(t *testing.T) {
	i, server, _ := open(t)
	userLetter("a", "1-0", "u-1", "max_attempts", "no").put(t, server)
	userLetter("a", "2-0", "u-2", "permanent", "no").put(t, server)
	userLetter("b", "3-0", "u-1", "max_attempts", "no").put(t, server)
	letter{stream: "credit-events", group: "a", id: "4-0", reason: "permanent", err: "no", fields: []string{
		"eventId", "evt_1", "eventType", "credit_allocated", "tenantId", "globex", "entityId", "o-1", "amount", "7"}}.put(t, server)
	letter{stream: users, group: "a", id: "5-0", reason: "missing_field", err: "eventType: missing_field", fields: []string{"x", "y"}}.put(t, server)
	xadd(t, server, "{"+users+"}:dlq:c", "*", "x", "y")
	xadd(t, server, "{"+users+"}:retry:a", "*", "x", "y")
	xadd(t, server, users+":dlq", "*", "x", "y")
	server.Do("SET", "{x}:dlq:a", "no stream")

	odd := func(l *inspect.DeadLetter) (bool, error) {
		return l.EntryID == "1-0" || l.EntryID == "3-0", nil
	}
	for _, test := range []struct {
		name string
		sel  inspect.DeadLetterSelection
		want []string
	}{
		{"all", inspect.DeadLetterSelection{}, []string{"4-0", "1-0", "2-0", "5-0", "3-0", ""}},
		{"group", inspect.DeadLetterSelection{Groups: []string{"b", "c"}}, []string{"3-0", ""}},
		{"stream", inspect.DeadLetterSelection{Streams: []string{"credit-events"}}, []string{"4-0"}},
		{"reason", inspect.DeadLetterSelection{Reasons: []string{"permanent", "missing_field"}}, []string{"4-0", "2-0", "5-0"}},
		{"tenant", inspect.DeadLetterSelection{Tenants: []string{"globex"}}, []string{"4-0"}},
		{"type by name", inspect.DeadLetterSelection{Types: []string{"credit.allocated"}}, []string{"4-0"}},
		{"type on the wire", inspect.DeadLetterSelection{Types: []string{"credit_allocated"}}, []string{"4-0"}},
		{"entity", inspect.DeadLetterSelection{Entities: []string{"u-1"}}, []string{"1-0", "3-0"}},
		{"entity with type", inspect.DeadLetterSelection{Entities: []string{"credit/o-1", "user/u-2", "role/u-1"}}, []string{"4-0", "2-0"}},
		{"both", inspect.DeadLetterSelection{Groups: []string{"a"}, Reasons: []string{"max_attempts"}}, []string{"1-0"}},
		{"match", inspect.DeadLetterSelection{Match: odd, Groups: []string{"b"}}, []string{"3-0"}},
		{"nothing", inspect.DeadLetterSelection{Groups: []string{"d"}}, nil},
	} {
		var got []string
		for _, l := range deadLetters(t, i, test.sel) {
			got = append(got, l.EntryID)
			if l.Foreign != (l.EntryID == "") {
				t.Errorf("%s: foreign %t: %+v", test.name, l.Foreign, l)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	no := errors.New("no")
	err := i.DeadLetters(t.Context(), inspect.DeadLetterSelection{Match: func(*inspect.DeadLetter) (bool, error) { return true, no }}, func(*inspect.DeadLetter) error { return nil })
	if !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
}

func TestDeadLettersOfMoreThanAPage(t *testing.T) {
	i, server, _ := open(t)
	for n := range 1100 {
		userLetter("g", fmt.Sprintf("%d-0", n+1), "u", "permanent", fmt.Sprint("user ", n, ": no")).put(t, server)
	}
	found := deadLetters(t, i, inspect.DeadLetterSelection{})
	for n, l := range found {
		if l.EntryID != fmt.Sprintf("%d-0", n+1) {
			t.Fatalf("number %d is %s", n, l.EntryID)
		}
	}
	if len(found) != 1100 {
		t.Errorf("%d dead letters", len(found))
	}
	var clusters inspect.DeadLetterClusters
	for _, l := range found {
		clusters.Add(l)
	}
	if list := clusters.List(); len(list) != 1 || list[0].Count != 1100 || list[0].Example != found[1099].ID || list[0].Error != "user <n>: no" {
		t.Errorf("clusters %+v", list)
	}
}

func TestFindDeadLetters(t *testing.T) {
	i, server, _ := open(t)
	put := func(l letter, as string) string {
		l.as = as
		return l.put(t, server)
	}
	first := put(userLetter("a", "1-0", "u-1", "permanent", "no"), "100-0")
	second := put(userLetter("b", "1-0", "u-1", "permanent", "no"), "101-0")
	quoted := userLetter("a", "2-0", "u-2", "permanent", "no")
	quoted.fields = []string{"messageId", `"m-quoted"`, "eventType", `"user_created"`, "tenantId", `"acme"`, "data", `{"userId":"u-2"}`}
	third := put(quoted, "102-0")
	fourth := put(letter{stream: "credit-events", group: "a", id: "3-0", fields: []string{"eventId", "evt_1", "eventType", "credit.allocated", "tenantId", "acme",
		"entityId", "o-1", "amount", "7", "metadata", `{"allocationId":"al-1"}`}}, "103-0")
	xadd(t, server, "{"+users+"}:dlq:c", "104-0", "x", "y")
	for id, want := range map[string][]string{
		first:      {first},
		second:     {second},
		"1-0":      {first, second},
		"m-u-1":    {first, second},
		"m-quoted": {third},
		"2-0":      {third},
		"al-1":     {fourth},
		"evt_1":    {fourth},
		"104-0":    {"104-0"},
		"u-1":      nil,
		"":         nil,
	} {
		found, err := i.FindDeadLetters(t.Context(), inspect.DeadLetterSelection{}, id)
		var got []string
		for _, l := range found {
			got = append(got, l.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q means %q, %v, want %q", id, got, err, want)
		}
	}
	found, err := i.FindDeadLetters(t.Context(), inspect.DeadLetterSelection{Groups: []string{"b"}}, "1-0")
	if err != nil || len(found) != 1 || found[0].ID != second {
		t.Errorf("of group b: %v, %v", found, err)
	}
}

func TestClustersOfDeadLetters(t *testing.T) {
	i, server, _ := open(t)
	early := userLetter("a", "2-0", "u-2", "permanent", "user 2: no")
	early.firstFailed, early.lastFailed = "2025-01-01T00:00:00.000Z", ""
	userLetter("a", "1-0", "u-1", "permanent", "user 1: no").put(t, server)
	newest := early.put(t, server)
	other := userLetter("b", "1-0", "u-1", "permanent", "user 1: no").put(t, server)
	var clusters inspect.DeadLetterClusters
	for _, l := range deadLetters(t, i, inspect.DeadLetterSelection{}) {
		clusters.Add(l)
	}
	want := []inspect.DeadLetterCluster{
		{
			Stream: users, Group: "a", Reason: "permanent", Error: "user <n>: no", Count: 2, Example: newest,
			FirstSeen: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), LastSeen: time.Date(2026, 1, 2, 3, 5, 5, 678e6, time.UTC),
		},
		{
			Stream: users, Group: "b", Reason: "permanent", Error: "user <n>: no", Count: 1, Example: other,
			FirstSeen: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC), LastSeen: time.Date(2026, 1, 2, 3, 5, 5, 678e6, time.UTC),
		},
	}
	if got := clusters.List(); !slices.Equal(got, want) {
		t.Errorf("clusters\n%+v, want\n%+v", got, want)
	}
}
