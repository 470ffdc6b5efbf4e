package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/freshet/freshet/inspect"
)

// span is a duration as people say it, in the one unit that says enough.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d >= time.Second:
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return "< 1 s"
}

// agoCell is how long ago something was; "-" where it never was.
func agoCell(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return span(now.Sub(at)) + " ago"
}

// rateCell is a number per second.
func rateCell(r inspect.Rate) string {
	switch {
	case r.Unknown != "":
		return "?"
	case r.PerSecond == 0:
		return "0"
	case r.PerSecond < 10:
		return strconv.FormatFloat(r.PerSecond, 'f', 1, 64)
	}
	return strconv.FormatFloat(r.PerSecond, 'f', 0, 64)
}

// countCell is a number of which -1 says that it is unknown.
func countCell(n int64) string {
	if n < 0 {
		return "?"
	}
	return strconv.FormatInt(n, 10)
}

// The parts of the JSON formats that several commands have.

type entryAtJSON struct {
	ID   string  `json:"id"`
	Time string  `json:"time"`
	Age  float64 `json:"age_seconds"`
}

func entryAt(id string, at, now time.Time) *entryAtJSON {
	if id == "" {
		return nil
	}
	return &entryAtJSON{ID: id, Time: stamp(at), Age: seconds(now.Sub(at))}
}

type unsettledJSON struct {
	Group string `json:"group"`
	entryAtJSON
	State string `json:"state"` // pending or unread
}

func unsettled(h *inspect.Hold, now time.Time) *unsettledJSON {
	if h == nil {
		return nil
	}
	return &unsettledJSON{Group: h.Group, entryAtJSON: *entryAt(h.ID, h.At, now), State: stateOfHold(h)}
}

func stateOfHold(h *inspect.Hold) string {
	if h.Pending {
		return "pending"
	}
	return "unread"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// seconds are exact to the millisecond: no server says more.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// known is a number, or null where -1 says that it is unknown.
func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func perSecond(r inspect.Rate) *float64 {
	if r.Unknown != "" {
		return nil
	}
	return &r.PerSecond
}
