package events_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet/freshet/events"
)

// ParseTime takes what AppendTime writes, for the same time that package time
// takes it for, and nothing that package time does not take.
func TestParseTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
		want := time.UnixMilli(rapid.Int64Range(first.UnixMilli(), last.UnixMilli()).Draw(t, "ms")).UTC()
		text := events.AppendTime(nil, want)
		if got, ok := events.ParseTime(string(text)); !ok || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %v, %v", text, got, ok)
		}
		for range 2 {
			at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			text[at] = rapid.SampledFrom([]byte("0123456789-:.,TZ+ \x00\xff")).Draw(t, "byte")
		}
		got, ok := events.ParseTime(string(text))
		want, err := time.Parse(time.RFC3339Nano, string(text))
		if ok && (err != nil || !reflect.DeepEqual(got, want)) {
			t.Fatalf("%q: %v, want %v, %v", text, got, want, err)
		}
	})
	for _, text := range []string{
		"", "2025-12-04", "2025-12-04T10:00:00Z", "2025-12-04T10:00:00.0000Z", "2025-12-04T10:00:00.000+", "2025-12-04T10:00:00.000z",
		"0000-12-04T10:00:00.000Z", "2025-00-04T10:00:00.000Z", "2025-13-04T10:00:00.000Z", "2025-12-00T10:00:00.000Z", "2025-12-32T10:00:00.000Z",
		"2025-02-29T10:00:00.000Z", "1900-02-29T10:00:00.000Z", "2025-04-31T10:00:00.000Z", "2025-12-04T24:00:00.000Z",
		"2025-12-04T10:60:00.000Z", "2025-12-04T10:00:60.000Z", "2025-12-04T10:00:00.00:Z", "2025-12-04T10:00:00./00Z", "2025-12-04 10:00:00.000Z",
	} {
		if got, ok := events.ParseTime(text); ok {
			t.Errorf("%q: taken for %v", text, got)
		}
	}
	for _, text := range []string{"2024-02-29T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"} {
		if _, ok := events.ParseTime(text); !ok {
			t.Errorf("%q: not taken", text)
		}
	}
}

// Every month's first and last day, and what would come after it.
func TestParseTimeKnowsTheCalendar(t *testing.T) {
	for month := time.Date(1, 1, 1, 23, 59, 58, 987e6, time.UTC); month.Year() < 10_000; month = month.AddDate(0, 1, 0) {
		last := month.AddDate(0, 1, -1)
		for _, want := range []time.Time{month, last} {
			if got, ok := events.ParseTime(want.Format("2006-01-02T15:04:05.000Z")); !ok || !reflect.DeepEqual(got, want) {
				t.Fatalf("%v, %v, want %v", got, ok, want)
			}
		}
		if text := fmt.Sprintf("%s%02dT00:00:00.000Z", last.Format("2006-01-"), last.Day()+1); last.Day() < 31 {
			if got, ok := events.ParseTime(text); ok {
				t.Fatalf("%s: taken for %v", text, got)
			}
		}
	}
}
