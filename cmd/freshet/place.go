package main

import (
	"time"

	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/internal/wire"
)

// placeUsage says what parsePlace reads.
const placeUsage = "an entry id, a time such as 2026-01-02T15:04:05Z or '2026-01-02 15:04', or how long ago, such as 15m or 2d"

// zonedTime is how tables show a time.
const zonedTime = "2006-01-02 15:04:05Z07:00"

var timeLayouts = []string{time.RFC3339, zonedTime, time.DateTime, "2006-01-02 15:04", time.DateOnly}

// parsePlace reads a place in streams and returns it as an entry id. Times
// without a zone are local.
func parsePlace(flag, text string, now time.Time) (string, error) {
	if id, err := wire.ParseID(text); err == nil {
		return id.String(), nil
	}
	at, ok := parseTime(text, now)
	if !ok || at.UnixMilli() < 0 {
		return "", usageError("%s %q: must be %s", flag, text, placeUsage)
	}
	return wire.ID{Ms: uint64(at.UnixMilli())}.String(), nil
}

func parseTime(text string, now time.Time) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, true
		}
	}
	ago, err := daemon.ParseDuration(text)
	return now.Add(-ago), err == nil && ago > 0
}

// parseEnd is parsePlace for the last entry of a range: of a time, the whole
// millisecond is in it.
func parseEnd(flag, text string, now time.Time) (string, error) {
	id, err := parsePlace(flag, text, now)
	if err != nil {
		return "", err
	}
	if _, isTime := parseTime(text, now); isTime {
		parsed, _ := wire.ParseID(id) // as it was just written
		parsed.Seq = ^uint64(0)
		return parsed.String(), nil
	}
	return id, nil
}
